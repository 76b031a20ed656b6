"""Data sets: readers of the layouts the field uses, the painted birds and their voices, packed caches."""
