"""The bench of a GPU: what it runs, how it shares its time, and that no part takes the others with it."""

import importlib
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import bench_gpu
from scripts.gpu_page import added
from scripts.gpu_parts import plan, wheels
from scripts.gpu_parts.clock import Clock
from scripts.gpu_parts.plan import AT_THE_END, BY_NAME, LEAST, PARTS, Part, fills, limit, share, waves
from scripts.gpu_parts.training import SHARE_TO_TRAIN, Pace, growth, steps_per_second
from src.errors import ConfigError

ROOT = Path(__file__).parents[2]
# What the machine of a GPU has, with all that these need.
MACHINE = ("torch", "lightning", "numba", "numba-cuda", "numpy", "scipy")
FOR = {"python_version": "3.12", "python_full_version": "3.12.3", "extra": ""}
(NAMES,) = re.findall(r'^names="([^"]*)"', (ROOT / "scripts" / "gpu_wheels").read_text(encoding="utf-8"), re.MULTILINE)
CARRIED = set(NAMES.split())


# ----- the parts and their time


def test_every_part_is_a_function_and_is_listed(capsys, monkeypatch):
    assert len(BY_NAME) == len(PARTS)
    for part in (bench_gpu.PROBE, *PARTS):
        module, _, function = part.measure.rpartition(".")
        assert callable(getattr(importlib.import_module(f"scripts.gpu_parts.{module}"), function))
    monkeypatch.setattr(sys, "argv", ["bench_gpu.py", "--list"])
    assert bench_gpu.main() == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [part.name for part in PARTS]


def test_all_shares_fit_into_the_time_and_the_trainings_have_what_their_goals_say():
    shares = {wave[0].name: share(wave) for wave in waves(PARTS) if not fills(wave)}
    assert sum(shares.values()) + AT_THE_END <= bench_gpu.TOTAL
    assert [shares[name] for name in ("envelope", "basic", "resonance")] == [180, 60, 60]
    assert [part.name for part in waves(PARTS)[0]] == ["parity", "tests", "data"]


@pytest.mark.parametrize("seconds", [60.0, 200.0, 480.0, 900.0])
@pytest.mark.parametrize("taken", [0.3, 1.0])
def test_parts_that_take_a_share_of_their_time_leave_the_others_theirs(seconds, taken):
    left, granted = seconds, {}
    for wave in waves(PARTS):
        granted[wave[0].name] = limit(wave, PARTS, seconds, left)
        left -= taken * granted[wave[0].name]
    assert left >= AT_THE_END - 1e-6
    cut = min(1.0, (seconds - AT_THE_END) / 469)
    for wave in waves(PARTS)[:-1]:
        assert granted[wave[0].name] == pytest.approx(cut * share(wave) if cut * share(wave) >= LEAST else 0.0)
    rest = left + taken * granted["memory"] - AT_THE_END
    assert granted["memory"] == pytest.approx(min(300.0, rest) if rest >= LEAST else 0.0)


def test_a_part_alone_has_all_the_time_that_it_may_have():
    memory, steps = [BY_NAME["memory"]], [BY_NAME["steps"]]
    assert limit(memory, memory, 330.0, 330.0) == 300.0
    assert limit(memory, memory, 100.0, 95.0) == 95.0 - AT_THE_END
    assert limit(steps, steps, 480.0, 480.0) == 30.0
    assert limit(steps, steps, 480.0, 480.0, stretched=True) == 480.0 - AT_THE_END
    assert limit(steps, steps, 480.0, LEAST + AT_THE_END - 0.1) == 0.0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "steps,stpes"], "--only stpes: there is no such part. There are parity, "),
        (["--seconds", "nan"], "--seconds nan: too few for anything. Give 20 or more."),
        (["--seconds", "5"], "--seconds 5: too few for anything. Give 20 or more."),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_written(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_gpu.py", "--output", str(tmp_path / "out"), *arguments])
    assert bench_gpu.main() == 1
    assert capsys.readouterr().err.startswith(says)
    assert not (tmp_path / "out").exists()


# ----- what becomes of a part

FAULTS = """
import os, signal, subprocess, sys, time

def machine(place):
    yield "machine", {"cores": 2}

def good(place):
    yield "one", {"rate": 1.5}
    yield "two", {"rate": 2}

def crash(place):
    yield "before", {"rate": 1}
    raise RuntimeError("CUDA error: \\x1b[31man illegal memory access")

def hang(place):
    yield "before", {"rate": 1}
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)

def killed(place):
    yield "before", {"rate": 1}
    os.kill(os.getpid(), signal.SIGKILL)

def garbage(place):
    sys.stdout.buffer.write(bytes(range(256)))
    yield "before", {"rate": 1}
    with (place.directory / "garbage.rows").open("ab") as file:
        file.write(b"\\xff\\x00{\\n[1]\\n{}\\n" + b'{"name": 3, "figures": [4]}\\n')
    yield "after", {"rate": 2}

def orphan(place):
    child = subprocess.Popen(["sleep", "600"])
    yield "child", {"pid": child.pid}
"""


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    """Runs the bench with parts that do harm side by side, some seconds at the most; gives exit code and JSON."""
    (tmp_path / "scripts" / "gpu_parts").mkdir(parents=True)
    (tmp_path / "scripts" / "gpu_parts" / "faults.py").write_text(FAULTS)

    def run(*names, seconds=20.0, each=5.0):
        parts = tuple(Part(name, name, f"faults.{name}", each, beside=True) for name in names)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # both directories are of one namespace package
        monkeypatch.setenv("OUT", str(tmp_path / "second"))
        monkeypatch.setattr(bench_gpu, "PARTS", parts)
        monkeypatch.setattr(bench_gpu, "BY_NAME", {part.name: part for part in parts})
        monkeypatch.setattr(bench_gpu, "PROBE", Part("machine", "", "faults.machine", 20.0))
        monkeypatch.setattr(plan, "LEAST", 0.5)
        monkeypatch.setattr(
            sys, "argv", ["bench_gpu.py", "--output", str(tmp_path / "out"), "--device=cpu", f"--seconds={seconds}"]
        )
        code = bench_gpu.main()
        return code, json.loads((tmp_path / "out" / "gpu.json").read_text())

    return run


def test_a_part_that_fails_leaves_the_others_and_what_it_had_found(faulty, tmp_path):
    code, content = faulty("good", "crash", "hang", "killed", "garbage", "orphan")
    parts = content["parts"]
    before = {"before": {"rate": 1}}
    assert code == 1
    assert {name: part["state"] for name, part in parts.items()} == {
        **dict.fromkeys(("good", "garbage", "orphan"), "done"),
        **{"crash": "failed", "killed": "failed", "hang": "stopped"},
    }
    assert parts["good"]["found"] == {"one": {"rate": 1.5}, "two": {"rate": 2}}
    assert [parts[name]["found"] for name in ("crash", "hang", "killed")] == [before] * 3
    assert parts["garbage"]["found"] == before | {"after": {"rate": 2}}
    assert parts["crash"]["message"] == r"RuntimeError: CUDA error: \x1b[31man illegal memory access"
    assert parts["killed"]["message"] == "It ended with the code -9."
    assert parts["hang"]["seconds"] < 60
    assert not is_running(parts["orphan"]["found"]["child"]["pid"])
    for directory in ("out", "second"):
        assert sorted(os.listdir(tmp_path / directory)) == ["gpu.json", "gpu.log"]
    assert (tmp_path / "second" / "gpu.json").read_bytes() == (tmp_path / "out" / "gpu.json").read_bytes()
    assert "===== crash\n" in (log := (tmp_path / "out" / "gpu.log").read_text())
    assert "\x1b" not in log


def is_running(pid):
    """Whether a process is there, and is not one that was killed and waits for its parent."""
    for _ in range(100):
        found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
        if found.returncode or found.stdout.startswith("Z"):
            return False
        time.sleep(0.05)
    return True


def test_the_json_says_what_ran_where_and_for_how_long(faulty):
    code, content = faulty("good")
    assert code == 0
    assert set(content) == {"seconds", "small", "machine", "parts", "took"}
    assert (content["seconds"], content["small"], content["machine"]) == (20.0, False, {"cores": 2})
    assert set(content["parts"]["good"]) == {"state", "seconds", "found"}
    assert 0 < content["parts"]["good"]["seconds"] <= content["took"] < 20


def test_a_part_for_which_no_time_is_left_is_left_out(faulty, monkeypatch):
    monkeypatch.setattr(bench_gpu, "limit", lambda *arguments, **options: 0.0)
    code, content = faulty("good")
    assert code == 0
    assert content["parts"]["good"]["state"] == "left out"
    assert content["parts"]["good"]["found"] == {}


def test_a_machine_that_cannot_be_used_is_one_sentence(faulty, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(bench_gpu, "run_wave", lambda *arguments: iter([(None, {"state": "failed", "message": "No."})]))
    with pytest.raises(FileNotFoundError):
        faulty("good")
    assert capsys.readouterr().err == "No.\n"


# ----- wheels


def wheel(directory, name, version, *needs, files=()):
    """A wheel with some text in its files."""
    path = directory / f"{name}-{version}-py3-none-any.whl"
    metadata = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
        *(f"Requires-Dist: {need}" for need in needs),
    ]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(metadata) + "\n")
        for file in files:
            archive.writestr(file, "text")
    return path


@pytest.fixture
def project(tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text('[project]\ndependencies = ["numpy>=1", "rich~=99.0"]\noptional-dependencies.dev = ["pytest>=1"]\n')
    return path


def test_only_what_is_missing_or_does_not_serve_is_taken(tmp_path, project):
    found = [
        wheel(tmp_path, "numpy", "99.0"),  # the one that is there serves
        wheel(tmp_path, "rich", "99.1"),  # the one that is there is too old for the project
        wheel(tmp_path, "pytest", "99.0"),
        wheel(tmp_path, "nowhere_to_be_found", "1.0", "jinja2>=98", 'scipy>=98; extra == "more"'),
        wheel(tmp_path, "jinja2", "98.0"),  # too old for another wheel
        wheel(tmp_path, "scipy", "98.0"),
    ]
    assert [wheels.name_of(path) for path in wheels.needed(found, project)] == ["rich", "nowhere-to-be-found", "jinja2"]


def test_packages_are_unpacked_and_lose_what_was_compiled_for_another_torch(tmp_path):
    files = ("torchaudio/__init__.py", "torchaudio/lib/_torchaudio.so", "torchaudio/lib/other.so")
    wheels.unpack([wheel(tmp_path, "torchaudio", "1.0", files=files)], tmp_path / "packages")
    there = [path.name for path in (tmp_path / "packages" / "torchaudio").rglob("*") if path.is_file()]
    assert sorted(there) == ["__init__.py", "other.so"]


def test_a_damaged_wheel_is_one_sentence(tmp_path, project):
    path = tmp_path / "some-1.0-py3-none-any.whl"
    path.write_bytes(b"half")
    with pytest.raises(ConfigError, match=r"some-1.0-py3-none-any.whl: is damaged .* scripts/gpu_wheels"):
        wheels.needed([path], project)


def needs_of(name):
    """Packages that a package of the environment needs on a machine with a GPU; none of one that is not here."""
    try:
        found = [Requirement(line) for line in requires(name) or ()]
    except PackageNotFoundError:
        return set()
    return {canonicalize_name(need.name) for need in found if need.marker is None or need.marker.evaluate(FOR)}


def with_needs(names):
    """Packages, and all that they need."""
    found, new = set(), set(names)
    while new:
        found |= new
        new = set().union(*map(needs_of, new)) - found
    return found


SERVED = with_needs(MACHINE) | CARRIED  # all else is absent


def test_every_package_that_is_taken_along_finds_what_it_needs():
    for name in CARRIED:
        assert needs_of(name) - SERVED - NOT_IMPORTED == set(), name


# Of packages that are taken along, for what is not done with them there.
NOT_IMPORTED = {"grpcio", "tensorboard-data-server"}
BLOCKED = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def without(name, path=None, target=None):
    return None if name.partition(".")[0] in {names!r} else find(name, path, target)
PathFinder.find_spec = without
import src.tasks.train, src.tasks.generate, src.callbacks.audio_examples, src.callbacks.head_figures
import src.callbacks.overview, src.callbacks.gradient_stats, tests.conftest
import scripts.gpu_parts.steps, scripts.gpu_parts.generation, scripts.gpu_parts.speed
"""


@pytest.mark.slow
def test_trainings_import_nothing_but_what_is_there_or_taken_along():
    by_module = packages_distributions()
    names = {
        module
        for module, packages in by_module.items()
        if not {canonicalize_name(package) for package in packages} & (SERVED | {"neural-spectral-modeling"})
    }
    assert {"sklearn", "selenium", "starlette", "grpc"} <= names
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED.format(names=names)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# ----- trainings


class FakeTrainer:
    global_step = 7
    should_stop = False


def test_the_clock_notes_steps_and_memory_and_stops_a_training_at_its_end(tmp_path):
    trainer, clock = FakeTrainer(), Clock(str(tmp_path / "notes"), end=time.monotonic() + 1000)
    clock.on_train_epoch_start(trainer, None)
    clock.on_train_epoch_end(trainer, None)
    assert not trainer.should_stop
    clock.end = 0.0
    clock.on_train_epoch_end(trainer, None)
    clock.on_train_end(trainer, None)
    assert trainer.should_stop
    first, last = map(json.loads, (tmp_path / "notes").read_text().splitlines())
    assert first["steps"] == last["steps"] == 7
    assert first["time"] <= last["time"]
    assert first["host"] > 1e7
    assert first["device"] == 0


def note(seconds, steps=0, host=0.0, device=0.0):
    return {"time": seconds, "steps": steps, "host": 2**20 * host, "device": 2**20 * device}


def test_the_pace_leaves_out_the_first_and_the_last_epoch():
    assert steps_per_second([note(0, 0), note(50, 10), note(52, 20), note(54, 30), note(99, 40)]) == 5.0


def test_the_epochs_of_a_pace_fill_the_time():
    pace = Pace(sounds_per_second=1000.0, overhead=20.0)
    epochs = pace.epochs(120.0, 500)
    assert epochs * 500 / 1000 + 20 <= 20 + SHARE_TO_TRAIN * 100 < (epochs + 1) * 500 / 1000 + 20
    assert pace.epochs(1.0, 500) == 1


def test_memory_that_grows_in_a_straight_line_has_its_slope_after_it_has_settled():
    settled = [note(60.0 * n, host=1000 + 3 * n, device=500) for n in range(2, 10)]
    found = growth([note(0.0), note(60.0), *settled])
    assert found["samples"] == 8
    assert found["seconds"] == pytest.approx(420.0)
    assert found["host_mib_per_minute"] == pytest.approx(3.0)
    assert found["device_mib_per_minute"] == pytest.approx(0.0)
    assert (found["host_mib"], found["device_mib"]) == (1027.0, 500.0)


# ----- all of it


@pytest.mark.slow
def test_a_rehearsal_on_the_cpu_runs_every_part_and_is_no_measurement(tmp_path):
    command = [
        sys.executable,
        "scripts/bench_gpu.py",
        "--device=cpu",
        "--small",
        "--seconds=5400",
    ]  # of which it takes two minutes where nothing else runs
    done = subprocess.run(
        [*command, f"--output={tmp_path / 'out'}"], cwd=ROOT, capture_output=True, text=True, timeout=5500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert set(content["parts"]) == {part.name for part in PARTS if not part.needs_gpu}
    assert all(part["found"] for part in content["parts"].values())
    assert content["parts"]["envelope"]["found"]["training envelope cnn_64k"]["sounds"] == 512
    with pytest.raises(ConfigError, match="is of a rehearsal, and no measurement"):
        added(tmp_path / "out" / "gpu.json")
