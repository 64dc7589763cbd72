"""Pages to listen to."""
