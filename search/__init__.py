"""Search: an index of a set's pictures and captions in an encoder's space, and the nearest of them to a query."""
