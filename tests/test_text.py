"""Nothing in a text is obeyed, and no stream fails to take it."""

import ast
import functools
import io
import logging
import os
import re
import subprocess
import sys
import unicodedata
import warnings
from pathlib import Path

import pytest
from hostile_texts import HOSTILE, hostile
from hypothesis import given
from hypothesis import strategies as st

from src import text as text_module
from src.text import IN_ASCII, all_printable, complain, names_below, one_line, prepare_streams, printable, say

ROOT = Path(__file__).parents[1]
TEXTS = st.text(st.characters(exclude_categories=())) | st.integers(0, 10_000).map(hostile)


def is_obeyed(char):
    """Whether it controls a terminal, or the direction or the lines of a text, or is none."""
    is_control = unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") and char not in "\n\t"
    return is_control or unicodedata.bidirectional(char) in (
        "LRE",
        "RLE",
        "LRO",
        "RLO",
        "PDF",
        "LRI",
        "RLI",
        "FSI",
        "PDI",
    )


@given(TEXTS)
def test_what_is_obeyed_is_an_escape_and_the_rest_stays(text):
    shown = printable(text)
    assert not any(map(is_obeyed, shown))
    shown.encode()
    assert shown == "".join(
        ascii(char)[1:-1] if is_obeyed(char) or char in "\u061c\u200e\u200f" else char for char in text
    )
    assert printable(shown) == shown


@given(TEXTS, st.integers(1, 80))
def test_one_line_is_one_line_of_a_length(text, most):
    assert len(one_line(text).splitlines()) <= 1
    assert len(one_line(text, most)) <= most
    assert one_line(text, len(one_line(text))) == one_line(text)


@given(TEXTS)
def test_every_encoding_takes_every_text(text):
    for encoding in ("ascii", "latin-1", "cp1252", "koi8-r"):
        assert text.encode(encoding, IN_ASCII).decode(encoding) is not None
    if text.isascii():
        assert text.encode("ascii", IN_ASCII).decode() == text


@pytest.mark.parametrize(
    ("text", "in_ascii"),
    [("5 µs ± 1 …", "5 us +/- 1 ..."), ("┃━╇─│", "|-+-|"), ("é", r"\xe9"), ("−3 → 4", "-3 -> 4")],
)
def test_signs_have_a_counterpart_in_ascii(text, in_ascii):
    assert text.encode("ascii", IN_ASCII).decode() == in_ascii


def test_what_an_encoding_has_stays():
    assert "µ±é…".encode("latin-1", IN_ASCII) == b"\xb5\xb1\xe9..."


def test_nested_data_is_printable_throughout():
    assert all_printable({"a": ["\x1b", ("\r", 1)], "b": None}) == {"a": [r"\x1b", [r"\r", 1]], "b": None}


def test_say_and_complain(capsys):
    say("a\x1b", Path("b"))
    complain(ValueError("c\x9b"))
    assert capsys.readouterr() == ("a\\x1b\nb\n", "c\\x9b\n")


# ----- a process


@pytest.fixture
def prepare(monkeypatch):
    """Prepares streams in ASCII and the hooks of a program; undone after the test."""
    factory = logging.getLogRecordFactory()

    def prepare():
        monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
        prepare_streams()

    yield prepare
    logging.setLogRecordFactory(factory)


def test_logs_warnings_and_tracebacks_obey_nothing(prepare, caplog):
    prepare()
    logging.getLogger("another package").warning("read %s", "\x1b[31m")
    assert caplog.messages == [r"read \x1b[31m"]
    assert r"\x1b" in warnings.formatwarning(UserWarning("\x1b"), UserWarning, "file.py", 1)
    sys.excepthook(ValueError, ValueError("\x1b[31m é"), None)
    sys.stderr.flush()
    assert sys.stderr.buffer.getvalue() == rb"ValueError: \x1b[31m \xe9" + b"\n"


def test_streams_take_what_they_cannot_encode(prepare):
    prepare()
    for stream in (sys.stdout, sys.stderr):
        stream.write("é … \udce9")
        stream.flush()
        assert stream.buffer.getvalue() == rb"\xe9 ... \udce9"


@pytest.mark.parametrize(
    ("environment", "printed"),
    [
        ({"PYTHONIOENCODING": "ascii"}, b"5 us \\xe9 +\n"),
        ({"PYTHONIOENCODING": "latin-1"}, b"5 \xb5s \xe9 +\n"),
        ({"PYTHONIOENCODING": "utf-8"}, "5 µs é ┏\n".encode()),
        ({"LC_ALL": "C"}, "5 us é +\n".encode()),  # letters are parts of names of files
        ({"LC_ALL": "C", "PYTHONUTF8": "1"}, "5 µs é ┏\n".encode()),
    ],
)
def test_the_environment_chooses_the_encoding(environment, printed):
    code = "from src.text import prepare_streams, say; prepare_streams(); say('5 µs é ┏')"
    variables = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ} | environment
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True, check=True)
    assert done.stdout == printed


# ----- laws over the source

FILES = [
    path
    for directory in (ROOT, ROOT / "src", ROOT / "scripts")
    for path in (directory.glob("*.py") if directory != ROOT / "src" else directory.rglob("*.py"))
]


@functools.cache
def nodes(path):
    """What a file consists of: its calls, and what it imports from."""
    found = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    calls = {ast.unparse(node.func) for node in found if isinstance(node, ast.Call)}
    return calls, {(node.module or "").split(".")[0] for node in found if isinstance(node, ast.ImportFrom)}


def calls(path):
    return nodes(path)[0]


@pytest.mark.parametrize("name", ["print", "sys.stderr.write", "sys.stdout.write"])
def test_one_module_writes_to_the_streams(name):
    assert {path for path in FILES if name in calls(path)} <= {Path(text_module.__file__)}


def test_one_module_makes_consoles_and_tables():
    assert {path for path in FILES if "rich" in nodes(path)[1]} == {ROOT / "src" / "programs" / "output.py"}


def test_programs_prepare_their_streams_first():
    programs = [path for path in FILES if '\nif __name__ == "__main__":' in path.read_text()]
    beginnings = {"prepare_streams", "program", "run_with_options"}
    called = re.findall(r"\$\((?:ANY_)?PYTHON\) ([\w/]+\.py)", (ROOT / "Makefile").read_text())
    assert {ROOT / path for path in called} <= {*programs}
    assert {"train.py", "generate_vimh.py", "display_vimh.py", "to_vimh.py"} <= {path.name for path in programs}
    assert [path.name for path in programs if not calls(path) & beginnings] == []


def test_hostile_texts_are_many_and_repeatable():
    assert len({hostile(seed) for seed in range(50)}) > 40
    assert hostile(3) == hostile(3)
    assert set(HOSTILE) >= {"a lone surrogate", "turned text", "colours"}


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["/a/b/1.wav"], ["1.wav"]),
        (["/a/b/1.wav", "/a/b/2.wav"], ["1.wav", "2.wav"]),
        (["/a/high/1.wav", "/a/low/1.wav"], ["high/1.wav", "low/1.wav"]),
        (["/a/1.wav", "/a/low/1.wav"], ["1.wav", "low/1.wav"]),
        (["1.wav", "low/1.wav"], ["1.wav", "low/1.wav"]),
        (["/1.wav", "/ab/\udce9.wav"], ["1.wav", "ab/\udce9.wav"]),
    ],
)
def test_files_are_named_as_seen_from_the_directory_of_all_of_them(files, names):
    assert names_below(files) == names
