"""Neural spectral modeling: small networks that read synthesizer parameters from spectrograms."""

__version__ = "0.1.0"
