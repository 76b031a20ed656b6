"""The painted birds: species, drawing, captions, voices."""
