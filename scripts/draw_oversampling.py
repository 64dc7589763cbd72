"""Draws what oversampling the Moog voice gains and measures what it costs: the picture and the table of docs/synths.md.

python scripts/draw_oversampling.py [--output docs/oversampling.png]
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from scipy.signal import resample_poly, stft  # noqa: E402

from scripts.pages import table  # noqa: E402
from scripts.setups import seconds_of  # noqa: E402
from src.files import atomic_file  # noqa: E402
from src.synth.voices import MoogVoice  # noqa: E402
from src.text import prepare_streams, say  # noqa: E402

SAMPLE_RATE, DURATION = 8000, 2.0
REFERENCE = 32
N_VOICES = 64
# A resonant sweep, from four octaves above 200 Hz down, driven at full velocity.
SWEEP = {
    "note_number": 52.3,
    "note_velocity": 127.0,
    "log10_decay_time": 1.0,
    "filter_cutoff": 200.0,
    "filter_resonance": 0.9,
    "filter_env_attack": 0.0,
    "filter_env_decay": 1.8,
    "filter_env_sustain": 0.0,
    "filter_env_amount": 4.0,
}


def render(oversample: int, n_voices: int = 1, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """The sweep, `(voice, time)`."""
    voice = MoogVoice(sample_rate, DURATION, oversample=oversample)
    return voice.render({name: np.full(n_voices, value) for name, value in SWEEP.items()})


def magnitude_error_db(waveform: np.ndarray, target: np.ndarray) -> float:
    """Difference of magnitude spectrograms below 0.4 of the sample rate, under the reference, dB."""
    *_, ours = stft(waveform, SAMPLE_RATE, nperseg=1024)
    *_, theirs = stft(target, SAMPLE_RATE, nperseg=1024)
    n = int(0.8 * len(ours))
    error = np.abs(np.abs(ours[:n]) - np.abs(theirs[:n]))
    return float(20 * np.log10(np.linalg.norm(error) / np.linalg.norm(theirs[:n])))


def seconds_per_voice(oversample: int) -> float:
    """Smallest of five times, over 64 voices, after one that does not count."""
    times = [seconds_of(lambda: render(oversample, N_VOICES)) for _ in range(6)]
    return min(times[1:]) / N_VOICES


def draw(sounds: dict[str, np.ndarray], path: Path) -> None:
    """Spectrograms side by side, dB under the maximum of each, on one scale."""
    figure, axes = plt.subplots(1, len(sounds), figsize=(12, 3.6), layout="constrained", sharey=True)
    for axis, (name, waveform) in zip(axes, sounds.items(), strict=True):
        *_, spectrum = stft(waveform, SAMPLE_RATE, window=("kaiser", 14.0), nperseg=1024, noverlap=896)
        power = np.abs(spectrum) ** 2
        level = 10 * np.log10(power / power.max() + 1e-12)
        extent = (0, DURATION, 0, SAMPLE_RATE / 2)
        picture = axis.imshow(level, "magma", aspect="auto", vmin=-100, vmax=0, origin="lower", extent=extent)
        axis.set(title=name, xlabel="time (s)")
    axes[0].set_ylabel("frequency (Hz)")
    figure.colorbar(picture, ax=axes, label="level (dB)")
    with atomic_file(path) as file:
        figure.savefig(file, dpi=110)


def main() -> None:
    """Draw, measure, print a Markdown table."""
    prepare_streams()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "oversampling.png")
    output = parser.parse_args().output
    # The reference: at 32 times the rate, decimated by a long filter.
    fine = render(1, sample_rate=SAMPLE_RATE * REFERENCE)[0].astype(np.float64)
    target = resample_poly(fine, 1, REFERENCE, window=("kaiser", 12.0))
    sounds = {oversample: render(oversample)[0] for oversample in (1, 2, 4)}
    draw({"1x": sounds[1], "4x": sounds[4], "32x, reference": target}, output)
    base = seconds_per_voice(1)
    rows = [
        (f"{times}", f"{magnitude_error_db(sound, target):.1f} dB", f"{seconds_per_voice(times) / base:.1f}")
        for times, sound in sounds.items()
    ]
    say(*table(("oversample", "difference from the 32x reference", "time, of 1x"), rows))
    say(output)


if __name__ == "__main__":
    main()
