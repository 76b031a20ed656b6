"""What people use: the terminal."""
