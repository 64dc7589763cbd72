"""Text out of files and from users, fit to be shown: nothing in it is obeyed, and no stream fails to take it.

Names, units, descriptions, file names and messages that quote them may contain anything. A terminal obeys control
characters, and text that changes the direction of writing reads as something else.
"""

import codecs
import io
import logging
import os
import re
import sys
import traceback
import unicodedata
from collections.abc import Iterable
from types import TracebackType
from typing import Any

# Control characters but for tab and line feed, what ends a line or turns its direction, and bytes of a file name that
# are no UTF-8 (PEP 383).
_OBEYED = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # bytes of a file name, in Python's strings (PEP 383)

# For encodings without these characters.
_ASCII = {
    **{"…": "...", "–": "-", "—": "-", "−": "-", "‐": "-", "·": ".", "•": "*", "×": "x", "±": "+/-", "°": " deg"},
    **{"→": "->", "←": "<-", "↑": "^", "↓": "v", "≤": "<=", "≥": ">=", "≈": "~", "µ": "u", "μ": "u", "′": "'"},
    **{"‘": "'", "’": "'", "“": '"', "”": '"'},
}
_BOX = {"HORIZONTAL": "-", "VERTICAL": "|"}  # BOX DRAWINGS LIGHT HORIZONTAL and so on; everything else is a corner
C_LOCALES = ("C", "POSIX")
IN_ASCII, LETTERS_AS_BYTES = "in_ascii", "letters_as_bytes"  # error handlers, for `str.encode` and streams


def printable(text: str) -> str:
    """Text in which what a terminal would obey is visible as an escape; line feeds and tabs stay."""
    return _OBEYED.sub(lambda match: _escaped(match[0]), text)


def one_line(text: str, most: int | None = None) -> str:
    """The same in one line, for a cell of a table or a label, cut after some characters if `most` says how many."""
    line = printable(text if most is None else text[: most + 1]).replace("\n", r"\n").replace("\t", r"\t")
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"


def name_of(path: str | os.PathLike[str]) -> str:
    r"""A path in one line; bytes that are not UTF-8 are escapes as well (`\xff`)."""
    return one_line(_NOT_UTF8.sub(lambda match: f"\\x{ord(match[0]) - 0xDC00:02x}", os.fsdecode(path)))


def names_below(files: Iterable[str]) -> list[str]:
    """Names of files as seen from the directory that holds all of them; one file is enough."""
    files = list(files)
    place = os.path.commonpath([os.path.dirname(file) for file in files])
    return [os.path.relpath(file, place or os.curdir) for file in files]


def all_printable(content: Any) -> Any:
    """Nested plain data with every text `printable`; anything else, text that is HTML already too, stays."""
    if isinstance(content, dict):
        return {key: all_printable(entry) for key, entry in content.items()}
    if isinstance(content, list | tuple):
        return [all_printable(entry) for entry in content]
    return printable(content) if type(content) is str else content


def say(*texts: object) -> None:
    """Print a line to standard output for each text."""
    for text in texts:
        print(printable(str(text)))


def complain(message: object) -> None:
    """Write a message to standard error."""
    print(printable(str(message)), file=sys.stderr)


def prepare_streams() -> None:
    """Have everything that a process prints, logs or warns of shown as `printable` and without an encoding's errors.

    Characters that the encoding of standard output or standard error lacks are written in ASCII: µ as u, others as
    escapes. A program does this first.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding, errors = _stream_options()
            stream.reconfigure(encoding=encoding, errors=errors)
    logging.setLogRecordFactory(PrintableRecord)
    sys.excepthook = _show_exception


class PrintableRecord(logging.LogRecord):
    """A message of a log, of this project or of another package."""

    def getMessage(self) -> str:
        """The message with its arguments."""
        return printable(super().getMessage())


def _stream_options() -> tuple[str | None, str]:
    """Encoding of a stream, None: as it is, and what happens to letters that it lacks.

    Python writes UTF-8 where a user asks for C, the locale of ASCII (PEP 540).
    """
    asks_for_ascii = os.environ.get("LC_ALL") in C_LOCALES
    if asks_for_ascii and not {"PYTHONUTF8", "PYTHONIOENCODING"} & os.environ.keys():
        return "ascii", LETTERS_AS_BYTES
    return None, IN_ASCII


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """An error handler: what an encoding lacks in ASCII, by the same sign or as an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_ascii, error.object[error.start : error.end])), error.end


def _letters_as_bytes(error: UnicodeError) -> tuple[bytes, int]:
    """The same, but letters stay in UTF-8, so that the name of a file can be copied: what `ls` does in that locale."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    chars = error.object[error.start : error.end]
    text = "".join(char if _is_of_a_word(char) and char not in _ASCII else _ascii(char) for char in chars)
    return text.encode(), error.end


def _ascii(char: str) -> str:
    """A character in ASCII."""
    name = unicodedata.name(char, "")
    if name.startswith("BOX DRAWINGS"):
        return _BOX.get(name.split()[-1], "+")
    return _ASCII.get(char, _escaped(char))


def _is_of_a_word(char: str) -> bool:
    """Whether a character is a letter, an accent or a digit."""
    return unicodedata.category(char)[0] in "LMN"


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _show_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of an error that nothing has caught."""
    sys.stderr.write(printable("".join(traceback.format_exception(kind, error, trace))))


codecs.register_error(IN_ASCII, _in_ascii)
codecs.register_error(LETTERS_AS_BYTES, _letters_as_bytes)
