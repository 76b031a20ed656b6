"""The page: say it, see it, find it. `python app.py`."""
