"""The faults of the campaign: what is tried, and what must hold (`scripts/campaign.py` makes the tries).

An attempt gets an empty directory and a generator of random numbers, does harm, and raises `AssertionError` where the
documentation promises something else than what came of it.
"""

import filecmp
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from scripts.faults.hostile import (
    complaint,
    hostile_checkpoints,
    hostile_pickles,
    use_checkpoint,
    use_pickle,
)
from scripts.faults.mutations import assert_refused_or_read_truly, mutate
from scripts.faults.recordings import odd_recordings
from src.recordings import RecordingError, read_recording
from src.vimh.reader import VIMHReader

ROOT = Path(__file__).parents[2]
N_SAMPLES = 3_000  # of the set that is generated and killed: about a second of work
EPOCHS = 4
N_OPERATIONS = 46  # on files, that a generation makes at most
SHORT, LONG = 30.0, 240.0  # s that a try may take
SEED, STRIDE = 0, 7  # of the hostile files: which damages there are, and every how many is tried
MEMORY = 1.5e9  # bytes that reading one file may add
SIGNALS = {signal.SIGKILL: 137, signal.SIGINT: 130, signal.SIGTERM: 143}
START_UP = 0.2  # s in which Python itself starts, and reports a signal in its own way
SAW = "--config-name=synth/generate_simple_saw"


@dataclass(frozen=True)
class Fixtures:
    """What tries begin with; none of them changes it.

    Attributes:
        dataset: A small set with pickle copies.
        large: The set that is generated and killed, as it is when nothing happens.
        older: Another set of the same name, which is overwritten.
        run: The directory of a training that nothing happened to.
        generate_seconds: Time that making `large` took.
        train_seconds: Time that this training took.
    """

    dataset: Path
    large: Path
    older: Path
    run: Path
    generate_seconds: float
    train_seconds: float

    @property
    def checkpoint(self) -> Path:
        """The last epoch of that training."""
        return self.run / "checkpoints" / "last.ckpt"


@dataclass(frozen=True)
class Try:
    """One try of a row.

    Attributes:
        number: Its number in the row.
        rng: Decides what is random in it.
        place: An empty directory of its own.
        fixtures: What it may begin with.
    """

    number: int
    rng: np.random.Generator
    place: Path
    fixtures: Fixtures


@dataclass(frozen=True)
class Row:
    """A kind of fault.

    Attributes:
        name: What is tried.
        law: What must hold.
        tries: Number of tries at the scale 1.
        limit: s that a try may take.
        attempt: Makes a try; raises where the law does not hold.
        grows: Whether there are more tries at a larger scale.
    """

    name: str
    law: str
    tries: int
    limit: float
    attempt: Callable[[Try], None]
    grows: bool = True


def expect(holds: bool, text: str) -> None:
    """Raise unless something holds."""
    if not holds:
        raise AssertionError(text)


# ----- programs


@dataclass(frozen=True)
class Ended:
    """A program that has ended.

    Attributes:
        command: What was run.
        code: Its exit code, as shells count: 128 and the number of the signal that ended it.
        output: What it printed.
    """

    command: tuple[str, ...]
    code: int
    output: str

    def __str__(self) -> str:
        return f"exit code {self.code} of {' '.join(self.command)}\n{self.output[-6000:]}"


def start(*command: str, env: Mapping[str, str | None] | None = None, cwd: Path = ROOT) -> subprocess.Popen:
    """Start a program of this project; a variable that is None is not set for it."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    return subprocess.Popen(
        command if command[0].startswith("/") or command[0] == "unshare" else [sys.executable, *command],
        cwd=cwd,
        env={name: text for name, text in variables.items() if text is not None},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=False,
    )


def end(process: subprocess.Popen) -> Ended:
    """Wait for a program."""
    output, _ = process.communicate()
    code = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return Ended(tuple(map(str, process.args)), code, output.decode("utf-8", "backslashreplace"))


def run(*command: str, **settings: Any) -> Ended:
    """Run a program of this project."""
    return end(start(*command, **settings))


def succeeds(*command: str, **settings: Any) -> Ended:
    """Run a program that must end with exit code 0."""
    ended = run(*command, **settings)
    expect(ended.code == 0, str(ended))
    return ended


def generate_command(place: Path, *overrides: str) -> list[str]:
    """The command that makes the large set in a directory."""
    return ["generate_vimh.py", SAW, f"dataset.size={N_SAMPLES}", "dataset.name=set", f"output_dir={place}", *overrides]


def train_command(place: Path, dataset: Path, *overrides: str) -> list[str]:
    """The command of a short training whose runs are in a directory."""
    return [
        "src/train.py",
        "experiment=trivial_small",
        "model=cnn_micro",
        f"data.data_dir={dataset}",
        "data.make_dataset=null",
        f"trainer.max_epochs={EPOCHS}",
        f"paths.log_dir={place / 'logs'}",
        *overrides,
    ]


def is_clean(ended: Ended, *codes: int) -> None:
    """Refuse a program that ended in another way than one of these, or with a traceback."""
    expect(ended.code in codes, f"one of {codes} was expected, but: {ended}")
    expect("Traceback (most recent call last)" not in ended.output, f"a traceback: {ended}")


def make_fixtures(place: Path) -> Fixtures:
    """What every campaign begins with."""
    small = ["generate_vimh.py", SAW, "dataset.size=96", "dataset.name=small", f"output_dir={place}", "pickle=true"]
    succeeds(*small)
    succeeds(*generate_command(place / "before", f"dataset.size={N_SAMPLES // 10}"))
    began = time.monotonic()
    succeeds(*generate_command(place))
    generate_seconds = time.monotonic() - began
    began = time.monotonic()
    succeeds(*train_command(place, place / "small"))
    train_seconds = time.monotonic() - began
    (checkpoint,) = (place / "logs").rglob("last.ckpt")
    return Fixtures(
        place / "small", place / "set", place / "before" / "set", checkpoint.parents[1], generate_seconds, train_seconds
    )


def same_files(first: Path, second: Path) -> None:
    """Refuse two datasets that differ in a byte of any file, or in their files."""
    names = sorted(path.name for path in first.iterdir())
    expect(names == sorted(path.name for path in second.iterdir()), f"{first} and {second} have other files")
    _, other, errors = filecmp.cmpfiles(first, second, names, shallow=False)
    expect(not other and not errors, f"{other + errors} differ in {first} and {second}")


# ----- files


def damaged_dataset(case: Try) -> None:
    """A dataset with one thing changed."""
    dataset = case.place / "set"
    shutil.copytree(case.fixtures.dataset, dataset)
    mutate(dataset, case.rng)
    assert_refused_or_read_truly(dataset)


def memory() -> int:
    """Most memory that this process has had so far, bytes."""
    with Path("/proc/self/status").open() as file:
        (line,) = (line for line in file if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


@cache
def hostile_files(kind: str, good: Path) -> list[tuple[str, bytes]]:
    """All hostile checkpoints or pickles that are made of a good one."""
    if kind == "checkpoints":
        return list(hostile_checkpoints(good, SEED))
    return list(hostile_pickles(good.read_bytes(), SEED))


def read_hostile(case: Try, kind: str, good: Path, path: Path, use: Callable[[Path], None]) -> None:
    """Read one of the hostile files: in words, with nothing made, and without much memory."""
    files = hostile_files(kind, good)
    name, content = files[STRIDE * case.number % len(files)]
    path.write_bytes(content)
    here = sorted(case.place.rglob("*"))
    before = memory()
    words = complaint(path, use)
    expect(words == "", f"{name}: {words}")
    expect(sorted(case.place.rglob("*")) == here, f"{name}: something was made")
    expect(memory() - before < MEMORY, f"{name}: {(memory() - before) / 1e9:.1f} GB were taken")


def hostile_checkpoint(case: Try) -> None:
    """A checkpoint that wants to run something, to take all memory, or to be taken for something else."""
    good = case.fixtures.checkpoint
    read_hostile(case, "checkpoints", good, case.place / "file.ckpt", use_checkpoint)


def hostile_pickle(case: Try) -> None:
    """A dataset whose pickle copy wants to."""
    dataset = case.place / "set"
    shutil.copytree(case.fixtures.dataset, dataset)
    good = case.fixtures.dataset / "train_batch"
    read_hostile(case, "pickles", good, dataset / "train_batch", use_pickle)


# ----- kills


def stop_at(process: subprocess.Popen, seconds: float, number: int) -> Ended:
    """Send a signal to a program after some time; it may have ended by then."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    return end(process)


def random_stop(case: Try, command: Sequence[str], seconds: float) -> Ended:
    """Run a program, and stop it by one of three signals at a random moment of the time that it usually takes."""
    number = list(SIGNALS)[case.number % len(SIGNALS)]
    ended = stop_at(start(*command), float(case.rng.uniform(START_UP, 1.05 * seconds)), number)
    is_clean(ended, 0, SIGNALS[number])
    return ended


def killed_generate(case: Try) -> None:
    """A generation that is stopped at a random moment, and made again, from the start or from where it was."""
    random_stop(case, generate_command(case.place), case.fixtures.generate_seconds)
    target = case.place / "set"
    if target.exists():
        same_files(target, case.fixtures.large)
    succeeds(*generate_command(case.place, f"resume={str(case.number % 2 == 0).lower()}"))
    same_files(target, case.fixtures.large)
    expect([path.name for path in case.place.iterdir()] == ["set"], f"left: {sorted(case.place.iterdir())}")


def killed_overwrite(case: Try) -> None:
    """A generation in the place of another set, stopped at a random moment: one of both is there, whole."""
    target = case.place / "set"
    shutil.copytree(case.fixtures.older, target)
    random_stop(case, generate_command(case.place, "overwrite=true"), case.fixtures.generate_seconds)
    is_old = len(VIMHReader(target).split("train")) < N_SAMPLES / 2
    same_files(target, case.fixtures.older if is_old else case.fixtures.large)
    succeeds(*generate_command(case.place, "overwrite=true"))
    same_files(target, case.fixtures.large)


def resumed_as_undisturbed(case: Try, command: Sequence[str]) -> None:
    """Resume a training that was stopped: its weights end as if nothing had happened."""
    ended = run(*command, "ckpt_path=last")
    is_clean(ended, 0, 1)
    if ended.code == 1:
        expect("no run in" in ended.output, str(ended))
        return
    (checkpoint,) = (case.place / "logs").rglob("last.ckpt")
    ours, theirs = (
        torch.load(path, weights_only=True)["state_dict"] for path in (checkpoint, case.fixtures.checkpoint)
    )
    expect(ours.keys() == theirs.keys(), "other weights")
    expect(all(torch.equal(ours[name], theirs[name]) for name in ours), "the weights differ from the undisturbed run's")


def killed_train(case: Try) -> None:
    """A training that is stopped at a random moment, and resumed."""
    command = train_command(case.place, case.fixtures.dataset)
    ended = random_stop(case, command, case.fixtures.train_seconds)
    stopped = ended.code in (130, 143)
    begun = "src.tasks.train" in ended.output  # before that the packages are imported, and there is nothing to resume
    expect(not (stopped and begun) or "nterrupted" in ended.output, f"no hint: {ended}")
    resumed_as_undisturbed(case, command)


def killed_at_an_operation(case: Try, part: str, program: Sequence[str]) -> None:
    """Run a program, and kill it before one of its operations on files whose paths hold a part."""
    tool = ["scripts/faults/file_operations.py", "--kill", str(case.number + 1), part]
    is_clean(run(*tool, *program), 0, SIGNALS[signal.SIGKILL])


def save_of_a_dataset(case: Try) -> None:
    """A generation that is killed at its n-th file operation, and made again."""
    overwrites = case.number >= N_OPERATIONS
    target = case.place / "set"
    if overwrites:
        shutil.copytree(case.fixtures.older, target)
    command = generate_command(case.place, f"overwrite={str(overwrites).lower()}")
    killed_at_an_operation(replace(case, number=case.number % N_OPERATIONS), f"{case.place}/", command)
    if overwrites:
        is_old = len(VIMHReader(target).split("train")) < N_SAMPLES / 2
        same_files(target, case.fixtures.older if is_old else case.fixtures.large)
    elif target.exists():
        same_files(target, case.fixtures.large)
    succeeds(*command)
    same_files(target, case.fixtures.large)
    expect([path.name for path in case.place.iterdir()] == ["set"], f"left: {sorted(case.place.iterdir())}")


def save_of_a_checkpoint(case: Try) -> None:
    """A training that is killed at its n-th file operation on checkpoints, and resumed."""
    command = train_command(case.place, case.fixtures.dataset)
    killed_at_an_operation(case, "/checkpoints", command)
    resumed_as_undisturbed(case, command)


# ----- several at once


def at_once(n: int, *command: str) -> list[Ended]:
    """Start several programs at the same instant, and wait for all."""
    processes = [start(*command) for _ in range(n)]
    found = [end(process) for process in processes]
    for ended in found:
        is_clean(ended, 0)
    return found


def runs_below(log_dir: Path, name: str) -> list[Path]:
    """Directories below one that hold a file of this name."""
    return sorted(path.parent for path in log_dir.rglob(name))


def trainings_at_once(case: Try) -> None:
    """Three trainings: three directories, each with a curve of its own."""
    at_once(3, *train_command(case.place, case.fixtures.dataset, "trainer.max_epochs=1"))
    expect(len(runs_below(case.place / "logs", "last.ckpt")) == 3, "not three runs")
    events = runs_below(case.place / "logs", "events.out.tfevents*")
    expect(len(set(events)) == 3, f"curves in {events}")


def predictions_at_once(case: Try) -> None:
    """Six predictions: six directories, each with its own."""
    command = ["src/predict.py", f"ckpt_path={case.fixtures.checkpoint}", f"dataset={case.fixtures.dataset}"]
    at_once(6, *command, f"paths.log_dir={case.place / 'logs'}")
    expect(len(runs_below(case.place / "logs", "predictions.csv")) == 6, "not six directories")


def sweeps_at_once(case: Try) -> None:
    """Two sweeps of two jobs: four runs."""
    at_once(2, *train_command(case.place, case.fixtures.dataset, "trainer.max_epochs=1", "seed=1,2", "--multirun"))
    expect(len(runs_below(case.place / "logs", "last.ckpt")) == 4, "not four runs")


def trainings_without_a_dataset(case: Try) -> None:
    """Three trainings of a set that is missing: one makes it, all train."""
    made = ["data.make_dataset.overrides=['dataset.size=96']", "data.make_dataset.name=new"]
    overrides = [*made, "trainer.max_epochs=1"]
    command = train_command(case.place, case.place / "new", *overrides)
    at_once(3, *(part for part in command if part != "data.make_dataset=null"))
    expect(len(runs_below(case.place / "logs", "last.ckpt")) == 3, "not three runs")
    VIMHReader(case.place / "new").validate()


def generations_at_once(case: Try) -> None:
    """Three generations of one set: it is there, whole."""
    at_once(3, *generate_command(case.place))
    same_files(case.place / "set", case.fixtures.large)


STARTS = (
    trainings_at_once,
    predictions_at_once,
    sweeps_at_once,
    trainings_without_a_dataset,
    generations_at_once,
)


def same_instant(case: Try) -> None:
    """Programs that start at the same instant."""
    STARTS[case.number % len(STARTS)](case)


# ----- recordings


def odd_recording(case: Try) -> None:
    """An odd recording, read by itself."""
    ((path, expected),) = odd_recordings(case.place, int(case.rng.integers(2**31)), 1)
    before = memory()
    try:
        found = read_recording(path, 8_000, 1.0)
    except RecordingError as error:
        expect(expected != "read", f"could be read, but: {error}")
    else:
        expect(expected != "skipped", f"{path} was read")
        expect(found.waveform.shape == (8_000,) and bool(np.isfinite(found.waveform).all()), f"{found.waveform}")
    expect(memory() - before < MEMORY, f"{(memory() - before) / 1e9:.1f} GB were taken")


def folder_of_recordings(case: Try) -> None:
    """A folder of odd recordings, predicted: what can be read is read, and each of the others has a line."""
    sounds = case.place / "sounds"
    sounds.mkdir()
    files = odd_recordings(sounds, int(case.rng.integers(2**31)), 25)
    command = ["src/predict.py", f"ckpt_path={case.fixtures.checkpoint}", f"audio={sounds}"]
    ended = run(*command, f"paths.log_dir={case.place / 'logs'}")
    is_clean(ended, 0, 2)
    if ended.code == 2:
        expect(not any(expected == "read" for _, expected in files), str(ended))
        return
    (found,) = (case.place / "logs").rglob("predictions.json")
    answers = json.loads(found.read_text(encoding="utf-8"))
    read, skipped = len(answers["recordings"]), len(answers["skipped"])
    wanted = sum(expected == "read" for _, expected in files)
    expect(read >= wanted, f"{read} of at least {wanted} recordings were read, {skipped} skipped")


# ----- environments


@dataclass(frozen=True)
class Environment:
    """A computer that is odd in one way.

    Attributes:
        name: The way.
        variables: Environment variables; None: not set. `{place}` stands for the directory of the try.
        inside: A shell command that runs before a program, in a namespace of its own where it may mount; `{place}`
            as above.
        refuses: Whether programs may refuse to run, in words.
        ascii: Whether only ASCII may be printed.
    """

    name: str
    variables: Mapping[str, str | None]
    inside: str | None = None
    refuses: bool = False
    ascii: bool = False


def full(directory: str, size: str) -> str:
    """The shell command that puts a small disk in the place of a directory."""
    return f"mkdir -p {{place}}/{directory} && mount -t tmpfs -o size={size} tmpfs {{place}}/{directory}"


def fixed(directory: str) -> str:
    """The shell command after which a directory cannot be written to."""
    return f"mkdir -p {{place}}/{directory} && mount -t tmpfs -o ro tmpfs {{place}}/{directory}"


PLAIN: tuple[Environment, ...] = (
    *(
        Environment(f"{name}={text}", {name: text}, ascii=is_ascii)
        for name, text, is_ascii in (
            ("LC_ALL", "C", False),
            ("PYTHONIOENCODING", "ascii", True),
            ("PYTHONIOENCODING", "latin-1", False),
            ("PYTHONUTF8", "0", False),
            ("TERM", "dumb", False),
            ("TERM", "", False),
            ("COLUMNS", "8", False),
            ("COLUMNS", "400", False),
            ("NO_COLOR", "1", False),
            ("FORCE_COLOR", "1", False),
            ("TMPDIR", "/nowhere", False),
            ("HOME", "/nowhere", False),
            ("HOME", None, False),
            ("USER", None, False),
            ("PATH", "", False),
            ("TZ", "Pacific/Chatham", False),
            ("PYTHONHASHSEED", "7", False),
            ("PYTHONOPTIMIZE", "2", False),
            ("PYTHONDEVMODE", "1", False),
            ("PYTHONUNBUFFERED", "1", False),
            ("PYTHONDONTWRITEBYTECODE", "1", False),
            ("OMP_NUM_THREADS", "64", False),
            ("NUMBA_NUM_THREADS", "1", False),
            ("NUMBA_CACHE_DIR", "/proc/nowhere", False),
            ("NUMBA_DISABLE_JIT", "0", False),
            ("CUDA_VISIBLE_DEVICES", "", False),
            ("MPLBACKEND", "TkAgg", False),
            ("MPLCONFIGDIR", "/proc/nowhere", False),
            ("HYDRA_FULL_ERROR", "0", False),
            ("GIT_DIR", "/nowhere", False),
            ("DISPLAY", ":99", False),
        )
    ),
    Environment("no file descriptors to spare", {}, "ulimit -n 128"),
    Environment("a strict umask", {}, "umask 0777", refuses=True),
    Environment("files of at most 100 kB", {}, "ulimit -f 100", refuses=True),
    Environment("a full disk for the logs", {}, full("logs", "300k"), refuses=True),
    Environment("a disk for the logs that is full at once", {}, full("logs", "4k"), refuses=True),
    Environment("logs that cannot be written", {}, fixed("logs"), refuses=True),
    Environment("a full disk for the sets", {}, full("sets", "20k"), refuses=True),
    Environment("sets that cannot be written", {}, fixed("sets"), refuses=True),
    Environment("temporary files on a full disk", {"TMPDIR": "{place}/tmp"}, full("tmp", "4k")),
    Environment("temporary files on another disk", {"TMPDIR": "{place}/tmp"}, full("tmp", "100m")),
    Environment("a home that cannot be written", {"HOME": "{place}/home"}, fixed("home")),
)


def odd_environment(case: Try) -> None:
    """The way from a set to an answer on an odd computer."""
    odd = PLAIN[case.number % len(PLAIN)]
    variables = {name: None if text is None else text.format(place=case.place) for name, text in odd.variables.items()}
    sound = case.place / "sound.wav"
    soundfile.write(sound, np.sin(np.arange(8_000) * 0.3) * np.linspace(1, 0, 8_000), 8_000)
    sets = case.place / "sets"
    generate = ["generate_vimh.py", SAW, "dataset.size=32", "dataset.name=small", f"output_dir={sets}"]
    log_dir = f"paths.log_dir={case.place / 'logs'}"
    train = train_command(case.place, case.fixtures.dataset, "trainer.max_epochs=1")
    predict = ["src/predict.py", f"ckpt_path={case.fixtures.checkpoint}", f"audio={sound}", log_dir]
    for program in (generate, train, predict):
        command = program
        if odd.inside is not None:
            line = f'{odd.inside.format(place=case.place)} && exec "$0" "$@"'
            namespace = ["unshare", "--map-root-user", "--mount"]
            command = [*namespace, "sh", "-c", line, sys.executable, *program]
        ended = run(*command, env=variables)
        is_clean(ended, *((0, 1, 2) if odd.refuses else (0,)))
        expect(not odd.ascii or ended.output.isascii(), f"{odd.name}: more than ASCII: {ended}")


ROWS = (
    Row("damaged datasets", "refused, or read as exactly what the bytes say", 10_000, SHORT, damaged_dataset),
    Row("hostile checkpoints", "read or refused; nothing is run, made or filled", 300, LONG, hostile_checkpoint),
    Row("hostile pickles", "read or refused; nothing is run, made or filled", 300, LONG, hostile_pickle),
    Row("kills of a generation", "made again, byte by byte the same", 60, LONG, killed_generate),
    Row("kills of an overwrite", "the old set or the new one is there, whole", 20, LONG, killed_overwrite),
    Row("kills at operations of sets", "made again, byte by byte the same", 92, LONG, save_of_a_dataset, False),
    Row(
        "kills at operations of checkpoints",
        "resumed, it ends with the same weights",
        60,
        LONG,
        save_of_a_checkpoint,
        False,
    ),
    Row("kills of a training", "resumed, it ends with equal weights", 40, LONG, killed_train),
    Row("starts at the same instant", "a directory each; one makes what is missing", 20, LONG, same_instant),
    Row("odd environments", "the same work, or one message", len(PLAIN), LONG, odd_environment, False),
    Row("odd recordings", "read, or refused in words", 200, SHORT, odd_recording),
    Row("folders of odd recordings", "what can be read is read, the rest is named", 8, LONG, folder_of_recordings),
)
