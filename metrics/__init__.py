"""Scores as pure functions of NumPy arrays, computed in float64.

They know nothing of models, files or data sets: `evaluate.py` collects the arrays and states the protocol.
"""
