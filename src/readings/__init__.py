"""What a network reads from a sound, and how far to trust it; for `predict.py` and the Python interface."""
