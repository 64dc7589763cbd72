"""What the objects of the Python interface show of themselves: tables, sounds and pictures, as text and as HTML.

Everything that came out of a file is escaped.
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from src.api.places import as_path
from src.errors import ConfigError
from src.files import write_atomically
from src.pages.encoding import as_text, encode_wav
from src.pictures.plots import png
from src.programs.output import PlainTable, console
from src.text import name_of, one_line, printable

MOST_ROWS = 60  # of a table that is shown
MOST_CHARACTERS = 80  # of a line
LONGEST = 60.0  # s of a sound that a page contains


@dataclass(frozen=True)
class TextTable:
    """A table that prints as text and shows itself in a notebook.

    Attributes:
        header: The headings.
        rows: A cell for each heading.
        texts: The headings of columns with texts, which stand to the left; numbers stand to the right.
        title: Lines above it.
        caption: Lines below it.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: tuple[str, ...] = ()
    title: str = ""
    caption: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        table = PlainTable(collapse_padding=True, pad_edge=False, header_style="")
        for heading in self.header:
            table.add_column(heading, justify="left" if heading in self.texts else "right", no_wrap=True)
        for row in self.rows[:MOST_ROWS]:
            table.add_row(*(one_line(cell, MOST_CHARACTERS) for cell in row))
        stream = io.StringIO()
        console(file=stream, width=sum(max(map(len, column)) + 6 for column in self._columns())).print(table)
        lines = (line.rstrip() for line in stream.getvalue().splitlines())
        return "\n".join([*_lines(self.title), *lines, *_lines(self._more()), *_lines(self.caption)])

    def _columns(self) -> Iterable[tuple[str, ...]]:
        """The texts of every column, none of them empty."""
        return zip(self.header, *(tuple(printable(cell) for cell in row) for row in self.rows[:MOST_ROWS]), strict=True)

    def _more(self) -> str:
        """How many rows are not shown."""
        left = len(self.rows) - MOST_ROWS
        return f"… and {left:,} more rows" if left > 0 else ""

    def _repr_html_(self) -> str:
        sides = ["left" if heading in self.texts else "right" for heading in self.header]
        sides = [f"{side}; white-space: nowrap" for side in sides]
        head = "".join(_cell("th", text, side) for text, side in zip(self.header, sides, strict=True))
        rows = (
            "".join(_cell("td", text, side) for text, side in zip(row, sides, strict=True))
            for row in self.rows[:MOST_ROWS]
        )
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        below = "\n".join(filter(None, (self._more(), self.caption)))
        return f"{paragraphs(self.title)}<table><tr>{head}</tr>{body}</table>{paragraphs(below)}"


@dataclass(frozen=True, eq=False)
class Audio:
    """A sound to listen to.

    `np.asarray(audio)` is its waveform.

    Attributes:
        waveform: Full scale is 1, float32, `(time,)`.
        sample_rate: Hz.
        name: Of the sound.
    """

    waveform: np.ndarray
    sample_rate: int
    name: str = ""

    @property
    def duration(self) -> float:
        """Length, s."""
        return len(self.waveform) / self.sample_rate

    def save(self, path: str | Path) -> Path:
        """Write a WAV file of 16 bits. A sound beyond full scale is lowered to it.

        Args:
            path: The file; one that is there is replaced.

        Raises:
            ConfigError: If it cannot be written.
        """
        path = as_path(path, "path")
        try:
            write_atomically(path, self._wav())
        except OSError as error:
            raise ConfigError(f"{name_of(path)}: cannot be written ({error.strerror}). Choose another file.") from error
        return path

    def __len__(self) -> int:
        return len(self.waveform)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.waveform, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        return f"{one_line(self.name, MOST_CHARACTERS)}: {self.duration:g} s at {self.sample_rate:,} Hz".lstrip(": ")

    def _repr_html_(self) -> str:
        label = f"<small>{escaped(self.name)}</small><br>" if self.name else ""
        if self.duration > LONGEST:
            return (
                f"<div>{label}{self.duration:g} s are too long for a page; <code>save(path)</code> writes them.</div>"
            )
        source = f"data:audio/wav;base64,{as_text(self._wav())}"
        return f'<div>{label}<audio controls preload="none" src="{source}"></audio></div>'

    def _wav(self) -> bytes:
        return encode_wav(self.waveform / max(1.0, float(np.abs(self.waveform).max(initial=0.0))), self.sample_rate)


def image(figure: Figure, description: str) -> str:
    """A figure as HTML."""
    source = f"data:image/png;base64,{base64.b64encode(png(figure)).decode()}"
    return f'<img alt="{escaped(description)}" src="{source}">'


def escaped(content: str) -> str:
    """Text as HTML in one line: escaped, with what a terminal would obey visible."""
    return escape(one_line(content))


def paragraphs(lines: str) -> str:
    """Lines as HTML."""
    return "".join(f"<div>{escaped(line)}</div>" for line in _lines(lines))


def side_by_side(parts: Iterable[str]) -> str:
    """Pieces of HTML beside each other as far as there is room."""
    style = "display: flex; flex-wrap: wrap; gap: 1em; margin: 0.5em 0"
    return f'<div style="{style}">{"".join(parts)}</div>'


def facts(title: str, entries: Mapping[str, str]) -> str:
    """A title and a line for each fact."""
    width = max(map(len, entries))
    return "\n".join([one_line(title), *(f"  {name:<{width}}  {one_line(entry)}" for name, entry in entries.items())])


def facts_html(title: str, entries: Mapping[str, str]) -> str:
    """The same as HTML."""
    rows = "".join(
        f"<tr>{_cell('th', name, 'left')}{_cell('td', entry, 'left')}</tr>" for name, entry in entries.items()
    )
    return f"<div><b>{escaped(title)}</b></div><table>{rows}</table>"


def dataframe(columns: Mapping[str, Sequence[Any] | np.ndarray]) -> Any:
    """Columns as a DataFrame of pandas.

    Raises:
        ConfigError: If pandas is not installed.
    """
    try:
        import pandas  # noqa: PLC0415  # an optional package
    except ImportError as error:
        raise ConfigError("pandas is not installed. Install it with: pip install pandas") from error
    return pandas.DataFrame(dict(columns))


def _cell(tag: str, content: str, side: str) -> str:
    shown = escape(one_line(content, MOST_CHARACTERS))
    return f'<{tag} style="text-align: {side}; padding: 0 0.6em">{shown}</{tag}>'


def _lines(block: str) -> list[str]:
    """The lines of a text, each as it can be shown."""
    return [one_line(line) for line in block.split("\n")] if block else []
