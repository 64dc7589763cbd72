"""Recordings as datasets: the layouts of corpora, and how audio files become samples."""
