"""Text to picture: vocabularies, text and image encoders, DAMSM, and one file a family of generators."""
