"""Runs as files: what a checkpoint holds, and how it is read."""
