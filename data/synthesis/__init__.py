"""Synthetic speech: engines behind one interface, texts to speak, and sets of spoken clips."""
