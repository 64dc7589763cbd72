"""Spectral representations of waveforms, and back. Pure functions over torch and torchaudio; no Lightning, no Hydra."""
