"""Recognisers that are not ours, one file each, opened by name (`registry`)."""
