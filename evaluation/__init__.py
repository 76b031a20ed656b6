"""What stands between a model and a score: pairs, pictures, features, the protocol, the command."""
