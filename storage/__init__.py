"""What survives the process: atomic files, model folders, safe pickles, and errors a person can act on.

The one room that every other room may import; it imports none of them.
"""
