"""Text and image encoders, one interface."""
