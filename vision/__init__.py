"""Pretrained networks as such: backbones that others learn from or look through, feature networks."""
