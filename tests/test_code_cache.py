"""Whatever happens to the files of numba's cache, functions compute the same, and what was found wrong is said once."""

import errno
import importlib.util
import io
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from src import code_cache

ROOT = Path(__file__).parents[1]
MODULE = """
from src.code_cache import CodeCache
compiled = CodeCache(nogil=True)

@compiled
def eightfold(x):
    return 8 * x
"""
numbers = itertools.count()


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    code_cache.log_once.cache_clear()
    path = tmp_path / "module.py"
    path.write_text(MODULE)
    return path


def start(source, argument=5):
    """What a new process would do: import the module, call a function. Returns the module."""
    spec = importlib.util.spec_from_file_location(f"module_{next(numbers)}", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.eightfold(argument) == 8 * argument
    module.compiled.keep()
    return module


def was_loaded(module):
    return not any(function.stats.cache_misses for function in module.compiled.functions)


def is_compiled_anew(module):
    return not any(function.stats.cache_hits for function in module.compiled.functions)


def cache_files(source, suffix=".nb[ic]"):
    return sorted((source.parent / "__pycache__").glob(f"*{suffix}"))


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 0x10
    path.write_bytes(content)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    **{f"flipped at {place}": lambda path, place=place: flip(path, place) for place in (0, 0.7)},
}


def test_what_was_compiled_is_loaded(source, caplog):
    assert is_compiled_anew(start(source))
    assert was_loaded(start(source))
    assert caplog.messages == []


@pytest.mark.parametrize("suffix", ["eightfold*.nbi", "eightfold*.nbc"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_noticed_said_once_and_gone(source, caplog, suffix, damage):
    start(source)
    (path,) = cache_files(source, suffix)
    damage(path)
    assert not was_loaded(start(source))
    (message,) = caplog.messages
    assert path.name in message
    assert "compiled again" in message
    assert was_loaded(start(source))
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_list_costs_time_alone(source, damage):
    start(source)
    damage(source.parent / "__pycache__" / "module.sha256")
    start(source)
    assert was_loaded(start(source))


def test_files_without_a_list_are_not_loaded(source, caplog):
    start(source)
    (source.parent / "__pycache__" / "module.sha256").unlink()
    for path in cache_files(source):
        flip(path, 0.5)
    assert is_compiled_anew(start(source))
    assert was_loaded(start(source))
    assert caplog.messages == []


def test_files_that_are_gone_are_no_damage(source, caplog):
    start(source)
    for path in cache_files(source):
        path.unlink()
    assert is_compiled_anew(start(source))
    assert was_loaded(start(source))
    assert caplog.messages == []


def test_another_type_is_listed_with_the_first(source, caplog):
    start(source, 5)
    assert not was_loaded(start(source, 0.5))
    assert was_loaded(start(source, 5))
    assert was_loaded(start(source, 0.5))
    assert caplog.messages == []


def test_a_changed_source_is_no_damage(source, caplog):
    start(source)
    source.write_text(f"{MODULE}\n# changed")
    assert is_compiled_anew(start(source))
    assert was_loaded(start(source))
    assert caplog.messages == []


def test_a_process_may_lose_its_files_to_another(source):
    first, second = start(source), start(source)
    for path in cache_files(source, ""):
        path.unlink()
    first.eightfold(0.5)
    second.eightfold(0.5)
    first.compiled.keep()
    second.compiled.keep()
    start(source)
    start(source, 0.5)
    assert was_loaded(start(source))
    assert was_loaded(start(source, 0.5))


@pytest.fixture
def nowhere(source, monkeypatch):
    """No directory can be made below a file, not even by root."""
    (source.parent / "__pycache__").write_text("a file")
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(source / "below"))
    return source


def test_without_a_place_everything_works_and_says_so_once(nowhere, caplog):
    for _ in range(2):
        assert start(nowhere).compiled.directory is None
    (message,) = caplog.messages
    assert "NUMBA_CACHE_DIR" in message


class FullFile(io.BytesIO):
    def __init__(self, **_):
        super().__init__()

    def write(self, _):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_without_room_everything_works_and_says_so_once(source, caplog, monkeypatch):
    monkeypatch.setattr(code_cache.tempfile, "TemporaryFile", FullFile)
    assert start(source).compiled.directory is None
    (message,) = caplog.messages
    assert "No space left" in message
    assert cache_files(source) == []


def test_empty_means_that_everything_is_yet_to_be_compiled(source):
    spec = importlib.util.spec_from_file_location("module_empty", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.compiled.is_empty
    module.eightfold(1)
    assert not module.compiled.is_empty
    assert not start(source).compiled.is_empty


# ----- the generator


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the project whose kernels are not compiled."""
    tree = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("src", "configs"):
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    for name in ("generate_vimh.py", ".project-root"):
        shutil.copy(ROOT / name, tree / name)
    return tree


def generate(tree, name, **environment):
    """The dataset that the program makes there, name of each file to its bytes, and what it prints."""
    output = tree / name
    command = [sys.executable, "generate_vimh.py", "dataset.size=8", f"output_dir={output}", "dataset.name=saw"]
    variables = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"} | environment
    done = subprocess.run(
        [*command, f"hydra.run.dir={output}/run"], cwd=tree, env=variables, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = {path.name: path.read_bytes() for path in (output / "saw").iterdir() if path.suffix != ".json"}
    return found, done.stdout + done.stderr


@pytest.mark.slow
def test_the_generator_survives_damage_and_a_place_that_is_gone(tree):
    whole, printed = generate(tree, "whole")
    assert "Compiling" in printed
    again, printed = generate(tree, "again")
    assert again == whole
    assert "ompil" not in printed
    for path in (tree / "src" / "synth" / "__pycache__").glob("kernels.saw_group*.nbc"):
        flip(path, np.random.default_rng(0).random())
    after_damage, printed = generate(tree, "damage")
    assert after_damage == whole
    assert printed.count("damaged") == 1
    _, printed = generate(tree, "healed")
    assert "ompil" not in printed
    shutil.rmtree(tree / "src" / "synth" / "__pycache__")
    (tree / "src" / "synth" / "__pycache__").write_text("a file")
    below = str(tree / "generate_vimh.py" / "below")
    without, printed = generate(tree, "without", HOME=below, XDG_CACHE_HOME=below)
    assert without == whole
    assert printed.count("cannot be kept") == 1


@pytest.mark.slow
def test_processes_that_compile_at_the_same_time_disturb_nobody(tree, tmp_path):
    command = [sys.executable, "generate_vimh.py", "dataset.size=8", "dataset.name=saw"]
    variables = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    runs = [
        subprocess.Popen(
            [*command, f"output_dir={tmp_path / str(n)}", f"hydra.run.dir={tmp_path}/run{n}"],
            cwd=tree,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for n in range(3)
    ]
    printed = [run.communicate(timeout=300)[0].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], printed
    assert len({(tmp_path / str(n) / "saw" / "train").read_bytes() for n in range(3)}) == 1
    _, printed = generate(tree, "afterwards", NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert "ompil" not in printed
