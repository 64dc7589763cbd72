"""A fork begins in one command: what is left stands by itself, and speaks of nothing that went."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import start
from scripts.forks import lines, prose
from scripts.forks.fork import Fork, title_of
from scripts.forks.parts import BY_NAME, GOVERNED, KEPT, PARTS, TEMPLATE, owned, parts_to_remove, with_needs
from scripts.forks.python_code import Cutter, Source, unreferenced, without_remarks
from src.errors import ConfigError

ROOT = Path(__file__).parents[2]
LISTED = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
PATHS = [path for path in LISTED.split("\0") if path and (ROOT / path).exists()]


def speaks(text):
    return re.search(r"(?i)moog|\bvit", text) is not None


def cut(text, path="src/some.py", gone=None):
    return Cutter(
        Source(path, text), re.compile(r"(?i)moog|\bvit"), gone or {}, (), {"src.voices": "src/voices.py"}
    ).cut()


# ----- the table of parts


@pytest.mark.parametrize("part", [*PARTS, TEMPLATE], ids=lambda part: part.name)
def test_every_pattern_of_a_part_is_of_a_file_there_is(part):
    for pattern in part.paths:
        assert owned(type(part)("", "", (pattern,), ""), PATHS), pattern
    assert set(part.needs) <= BY_NAME.keys()


def test_every_file_of_the_governed_rooms_is_of_one_part_or_kept():
    kept = owned(type(TEMPLATE)("", "", KEPT, ""), PATHS)
    for path in PATHS:
        if path.startswith(tuple(f"{room}/" for room in GOVERNED)):
            owners = [part.name for part in PARTS if owned(part, [path])]
            assert len(owners) + (path in kept) == 1, f"{path}: {owners}"


def test_no_file_is_of_two_parts():
    for path in PATHS:
        assert len([part.name for part in PARTS if owned(part, [path])]) <= 1, path


def test_what_is_kept_keeps_what_it_needs():
    assert with_needs(["study"]) >= {"study", "moog", "wave", "channels", "vit"}
    assert [part.name for part in parts_to_remove(BY_NAME)] == ["template"]


# ----- Python


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('NAMES = ["saw", "moog"]\n', 'NAMES = ["saw"]\n'),
        ('NAMES = ("saw", "moog", "vit")\n', 'NAMES = ("saw", )\n'),
        ('NAMES = ("moog", "saw")\n', 'NAMES = ("saw",)\n'),
        ('NAMES = {"saw": Saw, "moog": Moog}\n', 'NAMES = {"saw": Saw}\n'),
        ("KINDS: type[Saw | Moog] = Saw\n", "KINDS: type[Saw] = Saw\n"),
        ('ALL = inside("a", "saw.Saw moog.Moog vit.Vit")\n', 'ALL = inside("a", "saw.Saw")\n'),
        ('ALL = inside("a", "moog.Moog saw.Saw")\n', 'ALL = inside("a", "saw.Saw")\n'),
        ("from a import Moog, Saw\n", "from a import Saw\n"),
        ("x = a(1) if is_moog(y) else b(2)\n", "x = b(2)\n"),
        ("if moog(x) or saw(x):\n    pass\n", "if saw(x):\n    pass\n"),
        ("if moog(x):\n    a()\nelif saw(x):\n    b()\n", "if saw(x):\n    b()\n"),
        (
            "if saw(x):\n    a()\nelif moog(x):\n    b()\nelif c(x):\n    d()\n",
            "if saw(x):\n    a()\nelif c(x):\n    d()\n",
        ),
        ("if saw(x):\n    a()\nelif moog(x):\n    b()\nelse:\n    d()\n", "if saw(x):\n    a()\nelse:\n    d()\n"),
        ("if saw(x):\n    a()\nelif moog(x):\n    b()\n", "if saw(x):\n    a()\n"),
        ('KINDS = {(Moog, "a"): 1, (Saw, "b"): 2}\n', 'KINDS = {(Saw, "b"): 2}\n'),
        ("def f():\n    if moog(x):\n        return 1\n    return 2\n", "def f():\n    return 2\n"),
        ("MOOG = 1\ndef f():\n    return MOOG\ndef g():\n    return f()\nx = 1\n", "x = 1\n"),
    ],
)
def test_what_speaks_of_a_part_goes_and_what_depends_on_it(before, after):
    assert cut(before) == after


def test_tests_go_as_a_whole_and_cases_one_by_one():
    cases = '@pytest.mark.parametrize("k", ["saw", "moog"])\ndef test_a(k):\n    assert k\n'
    test = "def test_b():\n    x = 1\n    assert moog(x)\n"
    assert cut(cases + test, "tests/test_x.py") == cases.replace(', "moog"', "")


def test_names_that_another_file_lost_are_lost():
    text = "from src.voices import gone, left\nx = left()\ny = gone()\n"
    assert cut(text, gone={"src/voices.py": {"gone"}}) == "from src.voices import left\nx = left()\n"


def test_what_nothing_refers_to_is_found():
    code = {
        "src/a.py": "def used(): pass\ndef dead():\n    dead()\n",
        "src/b.py": "from src import a\nx = a.used()\ny = x\n",
    }
    assert unreferenced(code, []) == {"src/a.py": {"dead"}, "src/b.py": {"y"}}


def test_comments_and_docstrings_lose_their_sentences():
    text = '"""Synths.\n\nA saw is one. A Moog is another.\n"""\n\n# A saw rises. A Moog falls.\nx = 1  # Moog\n'
    assert without_remarks(text, speaks) == '"""Synths.\n\nA saw is one.\n"""\n\n# A saw rises.\nx = 1\n'


# ----- texts


def test_pages_lose_sentences_rows_items_and_sections():
    page = """# Synths

A saw is one. The Moog is another. Both are loud.

| synth | what |
|---|---|
| saw | a saw |
| moog | a ladder |

- saw: rises
- moog: falls

## Moog

All of this.

### Below

And this.

## End

The commands of it:

```bash
make saw
make moog
```
"""
    assert (
        prose.without_markdown(page, speaks)
        == """# Synths

A saw is one. Both are loud.

| synth | what |
|---|---|
| saw | a saw |

- saw: rises

## End

The commands of it:

```bash
make saw
```
"""
    )


def test_a_target_goes_with_those_that_need_it():
    makefile = (
        "## a all: Everything\na all: m s\n\n## m moog: One\nm moog:\n\techo m\n\n## s saw: Another\ns saw:\n\techo s\n"
    )
    assert lines.without_targets(makefile, speaks).strip() == "## s saw: Another\ns saw:\n\techo s"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('names = [\n    "saw",\n    "moog",\n]\nb = 1\n', 'names = [\n    "saw",\n]\nb = 1\n'),
        ('moog = [\n    "saw",\n]\nb = 1\n', "b = 1\n"),
        ("a:\n  moog:\n    b: 1\n  saw: 2\n", "a:\n  saw: 2\n"),
        ("a: 1\n# a ladder\nmoog: 1\n", "a: 1\n"),
    ],
)
def test_an_entry_goes_with_what_is_in_it_and_not_with_what_it_is_in(before, after):
    assert lines.without_entries(before, speaks) == after


# ----- the program


@pytest.mark.parametrize("name", ["-a", "a b", "a/b", "1a", "a-", "ä", "a" * 101, "../a"])
def test_what_no_distribution_can_be_called_is_refused(name):
    with pytest.raises(ConfigError, match="NAME is"):
        start.check_name(name)


def test_a_title_is_the_words_of_a_name():
    assert title_of("my-synth_project") == "My synth project"


def test_without_a_name_the_parts_are_listed(capsys):
    assert start.main([]) == 1
    shown = capsys.readouterr()
    assert all(part.name in shown.out and part.what in shown.out for part in PARTS)
    assert shown.err == "Error: The project has no name yet. Name it: make start NAME=my-project\n"


def test_an_unknown_part_is_refused_by_name(capsys):
    assert start.main(["a", "--keep", "moog,organ"]) == 1
    assert "'organ', which is none of the parts: moog, vit" in capsys.readouterr().err


# ----- a fork


def git(root, *arguments):
    names = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *names, *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """This tree as a checkout of its own, clean, with the environment of this one."""
    root = tmp_path_factory.mktemp("original")
    for path in PATHS:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, root / path)
    git(root, "init", "-q")
    (root / ".git" / "info" / "exclude").write_text(".venv\n")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "The template")
    (root / ".venv").symlink_to((ROOT / ".venv").resolve())
    return root


def run(root, *command, **variables):
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    }
    environment |= {"COLUMNS": "80"} | variables
    return subprocess.run(
        command,
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.slow
def test_nothing_changes_unasked_or_over_changes(original):
    program = [sys.executable, "scripts/start.py", "my-project"]
    unasked = run(original, *program)
    assert unasked.returncode == 1
    assert unasked.stderr == ("Error: Nothing was changed: no terminal to ask at. Add --yes (make: ARGS=--yes).\n")
    assert "Remove  moog" in unasked.stdout and "Rename" in unasked.stdout
    (original / "new").touch()
    dirty = run(original, *program, "--yes")
    (original / "new").unlink()
    assert dirty.returncode == 1
    assert dirty.stderr.startswith("Error: new is not as git has it")
    assert git(original, "status", "--porcelain") == ""


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["", "moog vit"])
def test_a_fork_stands_by_itself(original, tmp_path, keep):
    root = tmp_path / "fork"
    shutil.copytree(original, root, symlinks=True)
    done = run(root, sys.executable, "scripts/start.py", "my-project", "--keep", keep, "--yes")
    assert done.returncode == 0, done.stderr
    assert "Look first at" in done.stdout
    git(root, "add", "-A")
    git(root, "commit", "-qm", "A project")
    fork = Fork.of(ROOT, parts_to_remove(with_needs(keep.split())))
    fork.texts = {path: text for path in git(root, "ls-files").split() if (text := read(root / path)) is not None}
    assert list(fork.leftovers()) == []
    assert "eural-spectral-modeling" not in (root / "pyproject.toml").read_text()
    assert (root / "configs" / "experiment" / "moog_cnn_basic.yaml").exists() == ("moog" in keep)
    # The stamp of the environment is older than the files here, and the environment is not made again.
    make = ["make", "-o", ".venv/.installed"]
    for command in (
        ["scripts/lint"],
        [*make, "docs"],
        [*make, "ex", "ARGS=trainer.max_epochs=2"],
        [*make, "t", "ARGS=-q --durations=0"],
    ):
        done = run(root, *command, TEST_WORKERS="2")
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"


def read(path):
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
