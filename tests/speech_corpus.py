"""A set of the layout of Speech Commands in which a word is the frequency of a tone, and a speaker its place."""

from pathlib import Path

import numpy as np
import soundfile

from scripts.speech_commands import LISTS, NOISE, SAMPLE_RATE, TEN

OTHERS = ("bed", "cat", "dog")
N_SPEAKERS = 10  # 0 to 6 train, 7 validates, 8 and 9 test
PART_OF = {7: "val", 8: "test", 9: "test"}


def make_corpus(directory: Path, words: tuple[str, ...] = (*TEN, *OTHERS)) -> Path:
    """Write the set: a sound of a second for each word and speaker, the lists, and a noise recording of 12 s."""
    time = np.arange(SAMPLE_RATE // 4) / SAMPLE_RATE
    listed: dict[str, list[str]] = {part: [] for part in LISTS}
    for number, word in enumerate(words):
        (directory / word).mkdir(parents=True)
        tone = 0.5 * np.sin(2 * np.pi * 200 * 1.3**number * time)
        for speaker in range(N_SPEAKERS):
            name = f"{word}/{speaker:08x}_nohash_0.wav"
            start = 1000 * speaker
            sound = np.pad(tone, (start, SAMPLE_RATE - len(tone) - start))
            soundfile.write(directory / name, sound, SAMPLE_RATE, subtype="PCM_16")
            if speaker in PART_OF:
                listed[PART_OF[speaker]].append(name)
    for part, name in LISTS.items():
        (directory / name).write_text("".join(f"{line}\n" for line in listed[part]))
    (directory / NOISE).mkdir()
    noise = 0.1 * np.random.default_rng(0).standard_normal(12 * SAMPLE_RATE)
    soundfile.write(directory / NOISE / "white_noise.wav", noise.clip(-1, 1), SAMPLE_RATE, subtype="PCM_16")
    return directory
