"""Discriminators that several families share."""
