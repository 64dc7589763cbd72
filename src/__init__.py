"""Neural spectral modeling: small networks that read synthesizer parameters from spectrograms."""

import os
import sys

__version__ = "0.1.0"

# Datasets and runs are locked, renamed and flushed by what POSIX offers, and programs end at its signals.
if sys.platform == "win32":
    raise SystemExit("Windows is not supported. Use Linux in WSL 2, by the same commands: wsl --install")

# Threads that wait by spinning make small networks many times slower as soon as another process needs a core. OpenMP
# reads this when PyTorch loads it, so it must stand here, before any module can import that.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
