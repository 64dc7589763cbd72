"""Pages that a local server feeds: the server, and who may talk to it."""
