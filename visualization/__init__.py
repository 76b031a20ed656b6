"""What is drawn for people: grids, attention overlays, spectrograms."""
