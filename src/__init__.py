"""Neural spectral modeling: small networks that read synthesizer parameters from spectrograms."""

import os

__version__ = "0.1.0"

# Threads that wait by spinning make small networks many times slower as soon as another process needs a core. OpenMP
# reads this when PyTorch loads it, so it must stand here, before any module can import that.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
