import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TARGETS = re.findall(r"^## (\S+) (\S+): (.+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
# What the seed's README calls them.
EXPECTED = [
    *("h", "hh", "sds", "sdl", "ex", "etms", "etts", "etml", "ettl", "etall", "tr", "trq", "trs", "trl"),
    *("sdma", "emb", "eme", "emr", "emall", "evitms", "evitts", "evitml", "evittl", "evitall", "etmsr", "evitmsr"),
    *("emer", "emvitb", "emvite", "emvitr", "emvit", "emvitgta"),
    *("t", "ta", "c", "dc", "cl", "uc", "f", "tb", "lc", "bench", "bg", "bm", "td", "tds", "tdl", "onnx"),
    *("ddr", "dds", "ddl", "rn", "cmp", "ae", "pr", "ed", "tv", "ew", "st", "stq", "cg"),
    *("pe", "bu", "rob", "str", "sc", "wd", "sdsf", "ep", "ef", "pp", "fam"),
]
# Targets that only call others, and how many commands they run.
COLLECTIONS = {"etall": 4, "evitall": 4, "sdma": 3, "emall": 6, "emvit": 3, "emvitgta": 6}
NEED_NO_ENVIRONMENT = {"h", "hh", "c", "dc", "cl", "uc"}


def make(*arguments, cwd=ROOT, **variables):
    # As from a shell: the tests may have been started by make itself, which sets these variables for its children.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    }
    command = ["make", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment | variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def fresh(tmp_path):
    """A directory that holds the Makefile alone, as of a clone without an environment."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.txt", "setup.sh"):
        (tmp_path / name).touch()
    return tmp_path


def test_help_lists_every_target_with_both_names():
    listed = [tuple(line.split(maxsplit=2)) for line in make("hh").splitlines()]
    assert listed == TARGETS
    assert set(EXPECTED) <= {short for short, _, _ in TARGETS}


def test_the_short_help_is_the_targets_to_begin_with():
    listed = [tuple(line.split(maxsplit=2)) for line in make("h").splitlines()]
    first = re.search(r"^FIRST = (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)[1].split()
    wanted = [(short, long, re.sub(r" \(.*\)$", "", meaning)) for short, long, meaning in TARGETS if short in first]
    assert listed == wanted
    assert len(listed) == len(first) and {"h", "hh", "ex"} <= {*first}


def test_every_rule_is_documented():
    rules = re.findall(r"^([a-z][a-z -]*):(?!=)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert [tuple(rule.split()) for rule in rules] == [(short, long) for short, long, _ in TARGETS]


def test_the_environment_is_made_with_the_interpreter_that_is_asked_for(fresh):
    assert "PYTHON='python3.12' sh setup.sh" in make("-n", "tr", cwd=fresh, PYTHON="python3.12")
    assert "PYTHON='' sh setup.sh" in make("-n", "tr", cwd=fresh)


def test_help_comes_first():
    assert make() == make("help")


@pytest.mark.parametrize(("short", "long", "meaning"), TARGETS)
def test_both_names_do_the_same_and_no_file_stands_in_their_way(fresh, short, long, meaning):
    for name in (short, long):
        (fresh / name).touch()
    commands = make("-n", short, cwd=fresh)
    assert commands == make("-n", long, cwd=fresh)
    assert "up to date" not in commands


@pytest.mark.parametrize("short", EXPECTED)
def test_what_needs_the_environment_makes_it_first(fresh, short):
    makes_it = "sh setup.sh" in make("-n", short, cwd=fresh)
    assert makes_it == (short not in NEED_NO_ENVIRONMENT)


def test_an_environment_that_is_there_is_used(fresh):
    stamp = fresh / ".venv" / ".installed"
    stamp.parent.mkdir()
    stamp.touch()
    assert "setup.sh" not in make("-n", "tr", cwd=fresh)
    (fresh / "requirements.txt").touch()
    assert "sh setup.sh" in make("-n", "tr", "-W", "requirements.txt", cwd=fresh)


def test_overrides_are_passed_on(fresh):
    runs_programs = [short for short in EXPECTED if "ARGS" in rule(short) or short in COLLECTIONS]
    assert {*EXPECTED} - {*runs_programs} == {"h", "hh", "f", "tb"}
    for short in set(runs_programs) - NEED_NO_ENVIRONMENT:
        commands = make("-n", short, "ARGS=seed=1 trainer.max_epochs=3", cwd=fresh).splitlines()
        own = [line for line in commands if "setup.sh" not in line and "touch" not in line]
        assert len(own) == COLLECTIONS.get(short, 1)
        assert all(line.endswith(" seed=1 trainer.max_epochs=3") for line in own)


def rule(short):
    """The text of a target's rule."""
    return re.search(rf"^{short} [a-z-]+:.*\n((?:\t.*\n)*)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)[1]


@pytest.mark.parametrize("short", EXPECTED)
def test_every_script_and_option_that_a_target_names_exists(fresh, short):
    commands = make("-n", short, cwd=fresh)
    for script in re.findall(r"(?:scripts|src)/[\w.]+|generate_vimh\.py|display_vimh\.py", commands):
        assert (ROOT / script).is_file(), script
    for group, option in re.findall(r" (experiment|model|data|loss)=(\w+)", commands):
        assert (ROOT / "configs" / group / f"{option}.yaml").is_file(), option


NASTY = [
    *("a $HOME.wav", "a $$x ${y} $(z).wav", "q'u\"o`t`e\\ #:~*;&|<>!", "漢 ü\nnew line"),
    *("epoch=3-step=90.ckpt ", "@-+%"),
]


@pytest.mark.parametrize("path", NASTY)
@pytest.mark.parametrize(
    ("short", "variable", "argument"),
    [("pr", "AUDIO", "audio="), ("au", "DIR", ""), ("ae", "RUN", "run="), ("onnx", "RUN", "run=")],
)
def test_a_path_reaches_its_program_character_for_character(fresh, path, short, variable, argument):
    python = fresh / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nshift\nprintf "%s\\0" "$@"\n')
    python.chmod(0o755)
    (fresh / ".venv" / ".installed").touch()
    printed = make("-s", short, f"{variable}={path}", 'ARGS="a b" $$ seed=1', cwd=fresh)
    assert printed.split("\0")[:2] == [f"{argument}{path}", "a b"]
    assert printed.split("\0")[3] == "seed=1"


def test_a_target_that_does_not_exist_is_answered_by_a_sentence(fresh):
    done = subprocess.run(["make", "exmaple"], cwd=fresh, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == "There is no target or file exmaple. make hh lists the targets."
