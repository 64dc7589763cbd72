"""What `predict.py` prints and writes as tables of recordings: one in full, a line for each of several, and CSV.

Everything is made of plain data, as `describe` has it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from src.evaluation.scoring import csv_cell, csv_text
from src.params import ParamSpec
from src.programs.output import WIDEST, PlainTable, Terminal, cells_of, fitted
from src.readings.network import GAIN
from src.readings.words import distance_text, gain_cell, probability_text, refined_line, spread_heading, value_cells
from src.text import names_below, one_line

SHORTEST_NAME, LONGEST_NAME = 14, 24  # characters that names of files are cut to in a table
HEADING = 12  # characters of a line of a heading
NARROW = 60  # characters of a terminal
MOST_FRAMES = 24  # lines of frames that are printed
LONGEST_LINE = 400  # characters of a sentence with names out of a file
CATEGORICAL = "categorical"
Entry = Mapping[str, Any]


# ----- CSV


def readings_csv(entries: Sequence[Entry], parameters: Sequence[ParamSpec]) -> str:
    """A line for each recording: its distance, and value, error bar and edge, or probabilities, of every parameter."""
    rows = [
        [entry["file"], *distance_cells(entry), csv_cell(entry["db_away"], 4), *answer_cells(entry, parameters)]
        for entry in entries
    ]
    return csv_text(["file", "distance", "zone", "db_away", *answer_columns(parameters)], rows)


def frames_csv(entries: Sequence[Entry], parameters: Sequence[ParamSpec]) -> str:
    """The same of the frames of each recording, a line for each."""
    rows = [
        [entry["file"], csv_cell(frame["start"]), *distance_cells(frame), *answer_cells(frame, parameters)]
        for entry in entries
        for frame in entry["frames"]
    ]
    return csv_text(["file", "start", "distance", "zone", *answer_columns(parameters)], rows)


def distance_cells(entry: Entry) -> list[str]:
    """Distance and zone."""
    return [csv_cell(entry["distance"], 4), entry["zone"] or ""]


def answer_columns(parameters: Sequence[ParamSpec]) -> list[str]:
    """Names of the columns of every parameter; of a category, `NAME=CLASS` is the probability of a class."""
    columns = []
    for spec in parameters:
        columns += [f"{spec.name}{end}" for end in ("", "_std", "_low", "_high", "_edge")]
        columns += [f"{spec.name}_probability", *(f"{spec.name}={name}" for name in spec.names)] * spec.categorical
    return columns


def answer_cells(entry: Entry, parameters: Sequence[ParamSpec]) -> list[str]:
    """The cells of these columns."""
    cells = []
    for spec in parameters:
        found = entry["parameters"][spec.name]
        cells += [csv_cell(found[key], 7) for key in ("value", "std", "low", "high")] + [found["edge"] or ""]
        if spec.categorical:
            shares = found["probabilities"] or {}
            cells += [csv_cell(share, 7) for share in (found["probability"], *map(shares.get, spec.names))]
    return cells


# ----- several recordings


def print_overview(entries: Sequence[Entry], terminal: Terminal) -> None:
    """Print a line for each recording, the nearest to the training first, and what it means.

    Args:
        entries: The recordings.
        terminal: As many parameters are shown as it has room for.
    """
    table, n_left = overview_table(entries, terminal.width)
    terminal.print(table)
    kinds = [found["kind"] for found in entries[0]["parameters"].values()]
    texts = ["distance: 95 % of the training's sounds are within 1; far answers mean little"]
    if any(kind != CATEGORICAL for kind in kinds):
        texts.append("±: half of a 90 % interval; ≤, ≥: at or beyond an end of the range")
    if CATEGORICAL in kinds:
        texts.append("behind a class: its probability")
    if n_left:
        texts.append(f"{n_left} more parameter{'s are' if n_left > 1 else ' is'} in the files below")
    for text in texts:
        terminal.print(text)


def overview_table(entries: Sequence[Entry], width: int) -> tuple[PlainTable, int]:
    """That table, and the number of parameters that it has no room for; arguments as for `print_overview`."""
    names = short_names([entry["file"] for entry in entries], SHORTEST_NAME if width < NARROW else LONGEST_NAME)
    known = [np.inf if entry["distance"] is None else entry["distance"] for entry in entries]
    order = np.argsort(known, kind="stable").tolist()
    title = f"{len(entries)} recordings, the nearest to the training first"
    return answers_table(title, {"file": names}, entries, order, width)


def answers_table(
    title: str, first: Mapping[str, Sequence[str]], entries: Sequence[Entry], order: Sequence[int], width: int
) -> tuple[PlainTable, int]:
    """A line for each answer: distance, zone and parameters, as many as fit, and the number of the others.

    Args:
        title: Above the table.
        first: Heading and cells of the first column.
        entries: The answers: `distance`, `zone` and `parameters`.
        order: Numbers of the lines.
        width: Of the terminal, characters.
    """
    ((heading, names),) = first.items()
    parameters = entries[0]["parameters"]
    cells = {name: [short_cell(entry["parameters"][name]) for entry in entries] for name in parameters}
    following = {
        f"{name}, next": [next_cell(entry["parameters"][name]) for entry in entries]
        for name, found in parameters.items()
        if len(found.get("probabilities") or ()) > 2  # or the rest to 1 says it
    }
    room = width - max(map(cells_of, [heading, *names])) - len("  distance  inside")
    shown = as_fits(cells | following, room)
    table = PlainTable(title, title_style="")
    table.collapse_padding, table.pad_edge = True, False
    for column in (heading, "distance", "zone"):
        table.add_column(column, justify="right" if column == "distance" else "left", no_wrap=True)
    for name in shown:
        table.add_column("\n".join(heading_lines(name)), justify="right", no_wrap=True)
    for n in order:
        distance, zone = entries[n]["distance"], entries[n]["zone"] or ""
        distance_cell = "" if distance is None else distance_text(distance)
        table.add_row(names[n], distance_cell, zone, *((cells | following)[name][n] for name in shown))
        table.rows[-1].style = "dim" if zone == "far" else ""
    return table, len(cells.keys() - shown)


def short_names(files: Sequence[str], most: int) -> list[str]:
    """Names of files as seen from the directory that holds all of them, of so many characters at most."""
    return [fitted(one_line(file), most) for file in names_below(files)]


def as_fits(cells: dict[str, list[str]], room: int) -> list[str]:
    """The first names of columns whose headings and cells fit beside each other into a width, `room`."""
    shown = []
    for name, texts in cells.items():
        room -= 2 + max(map(cells_of, [*heading_lines(name), *texts]))
        if room < 0:
            break
        shown.append(name)
    return shown


def heading_lines(name: str) -> list[str]:
    """The name of a parameter in lines of a word or two."""
    lines = [""]
    for word in fitted(name, WIDEST).split("_"):
        if lines[-1] and cells_of(lines[-1]) + cells_of(word) >= HEADING:
            lines.append("")
        lines[-1] += f"{'_' if lines[-1] else ''}{word}"
    return lines


def short_cell(found: Mapping[str, Any]) -> str:
    """A value with half of its 90 % interval, or a class with its probability, in few characters."""
    if not found["active"]:
        return "–"
    if found["std"] is None:
        return f"{fitted(found['value'], HEADING)} {probability_text(found['probability'])}".rstrip()
    half = (found["high"] - found["low"]) / 2
    digits = max(0, -math.floor(math.log10(half))) if half > 0 else 2
    sign = {"low": "≤", "high": "≥", None: ""}[found["edge"]]
    return f"{sign}{found['value']:.{0 if found['kind'] == 'integer' else digits}f} ±{half:.{digits}f}"


def next_cell(found: Mapping[str, Any]) -> str:
    """The second likeliest class of a category, with its probability."""
    if not found["probabilities"]:
        return ""
    name, probability = list(found["probabilities"].items())[1]
    return f"{fitted(name, HEADING)} {probability_text(probability)}"


# ----- one recording


def print_reading(title: str, entry: Entry, terminal: Terminal) -> None:
    """Print a recording in full, and its frames if there are several.

    Args:
        title: Its name, and what it says of the recording.
        entry: The recording.
        terminal: As many parameters of the frames are shown as it has room for.
    """
    terminal.print(reading_table(title, entry))
    for ridge in entry["ridges"]:
        terminal.print(one_line(ridge["words"], LONGEST_LINE), style="italic")
    frames = entry.get("frames", ())
    if len(frames) < 2:
        return
    shown = frames[:MOST_FRAMES]
    starts = [f"{frame['start']:.2f}" for frame in shown]
    table, _ = answers_table("Its frames", {"from s": starts}, shown, range(len(shown)), terminal.width)
    terminal.print(table)
    if len(frames) > len(shown):
        terminal.print(f"{len(frames) - len(shown):,} more frames are in frames.csv")


def reading_table(title: str, entry: Entry) -> PlainTable:
    """Values of a recording with 90 % intervals or probabilities, for a terminal; arguments as for `print_reading`."""
    parameters = entry["parameters"]
    table = PlainTable(title, title_style="", show_edge=True)
    kinds = [found["kind"] for found in parameters.values()]
    spread = spread_heading(kinds, joint=entry["together"] is not None)
    for column in ("parameter", "value", spread, "units", f"steps/{GAIN:g} dB"):
        table.add_column(
            column, justify="left" if column in ("parameter", "units") else "right", no_wrap=True, max_width=WIDEST
        )
    for name, found in parameters.items():
        table.add_row(name, *value_cells(found), gain_cell(found))
        table.rows[-1].style = "dim" if entry["zone"] == "far" else ""
    if entry["refinement"] is not None:
        table.caption = refined_line(entry["refinement"])
    return table
