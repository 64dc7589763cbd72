"""The spoken set, with a synthesizer of this test in place of espeak-ng, and the table of the networks for words."""

import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from scripts import words
from scripts.pages import read_json
from scripts.speech_commands import LISTS, NOISE, SAMPLE_RATE, read_corpus
from scripts.words import (
    ESPEAK,
    MARKS,
    PAGE,
    RESULTS,
    ROOT,
    WORDS,
    Voice,
    cells,
    colored,
    family_of,
    placed,
    run_espeak,
    speak,
    tables,
    write_page,
)
from src.errors import NSMError

VARIANTS = ("Andy", "AnxiousAndy", "f1", "f2", "gene", "gene2", "Mr serious", "adam", "boris", "copy")
LISTING = "Pty Language       Age/Gender VoiceName          File                 Other Languages\n" + "".join(
    f" 5  variant         --/M      {name:<18} !v/{name:<18}{' (en-us 5)' * (name == 'adam')}\n" for name in VARIANTS
)


def hum(*options):
    """What a synthesizer without words would write: a tone that the options decide; copy says what f1 says."""
    if options == ("--voices=variant",):
        return LISTING.encode()
    text = " ".join(options).replace("copy", "f1")
    tone = 0.3 * np.sin(2 * np.pi * (200 + words.number_of(text) % 2000) * np.arange(6000) / 22_050)
    file = io.BytesIO()
    soundfile.write(file, tone, 22_050, format="WAV", subtype="PCM_16")
    return file.getvalue()


@pytest.fixture
def hummed(monkeypatch, tmp_path):
    """A set that was spoken so."""
    monkeypatch.setattr(words, "run_espeak", hum)
    monkeypatch.setattr(words, "NOISE_SECONDS", 1)
    speak(tmp_path / "words", 2, ("yes", "bed"))
    return tmp_path / "words"


# ----- voices


@pytest.mark.parametrize(
    ("variant", "family"),
    [
        ("gene2", "gene"),
        ("Gene", "gene"),
        ("AnxiousAndy", "andy"),
        ("f1", "f1"),
        ("m8", "m8"),
        ("Mr serious", "mr serious"),
    ],
)
def test_variants_of_one_author_are_a_family(variant, family):
    assert family_of(variant) == family


def test_a_family_is_in_one_part_and_a_name_decides_everything():
    assert Voice.of("gene").part == Voice.of("gene2").part == Voice.of("Gene").part
    assert Voice.of("f1") == Voice.of("f1")
    assert len({Voice.of(f"f{number}").speaker for number in range(100)}) == 100
    parts = [Voice.of(f"voice {name}").part for name in map(chr, range(0x4E00, 0x4E00 + 2000))]
    for part, share in {"train": 0.7, "val": 0.1, "test": 0.2}.items():
        assert parts.count(part) / 2000 == pytest.approx(share, abs=0.04)


def test_voices_are_those_that_differ(monkeypatch):
    monkeypatch.setattr(words, "run_espeak", hum)
    assert [voice.variant for voice in words.voices()] == sorted({*VARIANTS} - {"f1"})  # of alike ones the first


def test_without_espeak_ng_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(words, "which", lambda name: None)
    with pytest.raises(NSMError, match=r"^espeak-ng is not installed.*apt-get install espeak-ng"):
        run_espeak("--version")


def test_what_espeak_ng_complains_of_is_passed_on(monkeypatch):
    monkeypatch.setattr(words, "ESPEAK", shutil.which("ls"))
    with pytest.raises(NSMError, match=r"ls /no/such/place failed with exit code \d+: .*/no/such/place"):
        run_espeak("/no/such/place")


# ----- sounds


def test_the_set_has_the_layout_of_the_corpus(hummed):
    corpus = read_corpus(hummed)
    assert {spoken.word for spoken in corpus} == {"yes", "bed"}
    assert len(corpus) == 2 * 2 * (len(VARIANTS) - 1)
    assert all(re.fullmatch(r"[0-9a-f]{8}_nohash_[01]\.wav", spoken.source.name) for spoken in corpus)
    parts = {part: {spoken.speaker for spoken in corpus if spoken.part == part} for part in ("train", "val", "test")}
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == len(VARIANTS) - 1
    for spoken in corpus:
        info = soundfile.info(spoken.source)
        assert (info.samplerate, info.frames, info.subtype) == (SAMPLE_RATE, SAMPLE_RATE, "PCM_16")
    assert len(list((hummed / NOISE).glob("*.wav"))) == 3


def test_what_is_missing_is_spoken_again_to_the_same_bytes_and_nothing_else_is_touched(hummed, monkeypatch):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in hummed.rglob("*.wav")}
    lost, kept = sorted(before)[5], sorted(before)[6]
    lost.unlink()
    speak(hummed, 2, ("yes", "bed"))
    assert {path: path.read_bytes() for path in hummed.rglob("*.wav")} == {path: b for path, (b, _) in before.items()}
    assert kept.stat().st_mtime_ns == before[kept][1]
    assert {path.name for path in hummed.iterdir()} == {"yes", "bed", NOISE, *LISTS.values()}


@pytest.mark.parametrize("n_samples", [1, 4000, SAMPLE_RATE, 2 * SAMPLE_RATE])
def test_a_word_lies_within_a_second_over_a_floor_of_noise(n_samples):
    rng = np.random.default_rng(0)
    for _ in range(10):
        sound = placed(np.full(n_samples, 0.2), rng)
        assert len(sound) == SAMPLE_RATE
        peak = np.abs(sound).max()
        assert 10 ** (-20 / 20) * 0.9 <= peak <= 1
        quiet = sound[np.abs(sound) < peak / 2]
        assert n_samples >= SAMPLE_RATE or 0 < quiet.std() < peak * 10 ** (-24 / 20)


@pytest.mark.parametrize("exponent", [0, 1, 2])
def test_the_power_of_noise_falls_with_a_power_of_the_frequency(exponent):
    noise = colored(np.random.default_rng(0), 2**18, exponent)
    power = np.abs(np.fft.rfft(noise)) ** 2
    frequency = np.fft.rfftfreq(2**18, 1 / SAMPLE_RATE)
    low, high = (power[(frequency > f) & (frequency < 2 * f)].mean() for f in (300, 3000))
    assert low / high == pytest.approx(10**exponent, rel=0.1)
    assert noise.std() == pytest.approx(1)


# ----- the table


def measured(accuracy):
    metrics = {"test/acc": accuracy, "test/balanced_acc": accuracy - 0.01}
    sounds = {"training_sounds": 1500, "test_sounds": 430}
    return {"seconds": 90.0, "epochs": 20, "parameters": 9232, "metrics": metrics, **sounds}


def test_every_network_is_trained_on_both_sets_of_classes_as_spoken_and_perturbed_by_three_seeds():
    found = list(cells())
    assert len({cell.key for cell in found}) == len(found) == 2 * 2 * 2 * 3


def test_the_table_says_what_is_not_measured_and_how_much_seeds_differ():
    assert tables({}).count("not measured yet") == 2 * 8
    shown = tables({"12, bc_resnet_9k, seed 42": measured(0.9), "12, bc_resnet_9k, seed 1": measured(0.94)})
    assert "| 12 | `bc_resnet_9k` (BC-ResNet-1) | as spoken | 9,232 | 92.0 ± 2.8 | 91.0 ± 2.8 | 2 | 1.5 |" in shown
    assert "12 classes: 1,500 training sounds, 430 test sounds, 20 epochs." in shown


def test_the_page_is_what_the_results_say(tmp_path):
    page = tmp_path / PAGE.name
    page.write_bytes(PAGE.read_bytes())
    write_page(read_json(RESULTS), page)
    assert page.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
    assert all(page.read_text(encoding="utf-8").count(mark) == 1 for mark in MARKS)


def test_the_words_are_those_of_the_corpus():
    assert len({*WORDS}) == 35


# ----- with espeak-ng


@pytest.mark.slow
@pytest.mark.espeak
def test_words_are_spoken_packed_trained_on_and_known(tmp_path):
    results = tmp_path / "words.json"
    command = [
        sys.executable,
        "scripts/words.py",
        "--takes",
        "1",
        "--epochs",
        "3",
        "--only",
        "12, bc_resnet_5k, seed 42",
    ]
    command += ["--data", str(tmp_path), "--results", str(results)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr
    first = results.read_text()
    (entry,) = json.loads(first).values()
    assert entry["parameters"] == 4585
    assert entry["metrics"]["test/acc"] > 2 / 12
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert again.returncode == 0, again.stderr
    assert results.read_text() == first
    assert len(list((tmp_path / "words" / "yes").iterdir())) == len({*words.voices()})


@pytest.mark.espeak
def test_espeak_ng_says_the_same_every_time():
    command = ("-v", "en-us+f2", "-z", "--stdout", "yes")
    assert run_espeak(*command) == run_espeak(*command) != b""
    assert shutil.which(ESPEAK)
