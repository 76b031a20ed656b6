"""Encoders of speech: log-mel frames to embeddings, one file an encoder, chosen by name (`registry`)."""
