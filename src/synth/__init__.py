"""Synthesizers: parameters in natural units to waveforms."""

from src.synth.base import Synth
from src.synth.voices import MoogVoice, SawVoice

__all__ = ["MoogVoice", "SawVoice", "Synth"]
