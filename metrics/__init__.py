"""Scores as pure functions of NumPy arrays, computed in float64; a file has the metric's name on the command line.

They know nothing of models, files or data sets: `evaluation` collects the arrays and states the protocol.
("is" is a keyword of Python; its file is `inception_score`.)
"""
