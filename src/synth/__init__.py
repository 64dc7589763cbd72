"""Synthesizers: parameters in natural units to waveforms."""

from src.synth.base import Synth
from src.synth.voices import SawVoice

__all__ = ["SawVoice", "Synth"]
