"""One file a family of generators."""
