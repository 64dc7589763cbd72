"""Draws every network as a picture, one SVG each: blocks, shapes, parameters and multiply-adds.

python scripts/draw_networks.py [MODEL …] [data=vimh_16kdss conditioning=film …] [--text | --list] [--output DIR]

Without overrides of train.py the networks are those of the small saw set, and the pictures those of docs/networks.
With some, pictures go to logs/networks.
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from html import escape
from importlib.util import find_spec
from math import log2
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from scripts.list_configs import CONFIGS, description, groups, is_complete, size  # noqa: E402
from scripts.network_structure import Network, Row, describe_network  # noqa: E402
from scripts.pages import table  # noqa: E402
from src.files import write_atomically  # noqa: E402
from src.pictures import plots  # noqa: E402
from src.programs.command_line import OptionParser, reporting  # noqa: E402
from src.text import prepare_streams, say  # noqa: E402

WIDTH, MARGIN, GAP = 840, 24, 18
BOX_X, BOX_WIDTH, PADDING = 96, 396, 12
COLUMNS = {"output": 612, "parameters": 712, "multiply-adds": 816}  # their right edges
BAR = 72  # width of the bars below numbers
ARROW = " → "
LANE, AUX_X = 28, 150  # where arrows run, and conditioning inputs begin, in a box
FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
INK, FAINT, LINE = "#1f2933", "#5b6770", "#d0d7de"
BLUE, BLUE_FILL = "#2a5d84", "#eef4f9"
ORANGE, ORANGE_FILL = "#a8481f", "#fcf1ea"


# ----- what SVG is made of


class Picture(list[str]):
    """Elements of an SVG, from the back to the front."""

    def text(
        self, x: float, y: float, content: str, size: float = 12, color: str = INK, bold: bool = False, anchor: str = ""
    ) -> None:
        """A line of text that begins at `x`, ends there (anchor `end`), or has its middle there (`middle`)."""
        style = ' font-weight="bold"' * bold + f' text-anchor="{anchor}"' * bool(anchor)
        self.append(f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{color}"{style}>{escape(content)}</text>')

    def box(self, x: float, y: float, width: float, height: float, fill: str, stroke: str, radius: float = 6) -> None:
        """A rounded rectangle."""
        place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}"'
        self.append(f'<rect {place} fill="{fill}" stroke="{stroke}"/>')

    def chips(self, x: float, y: float, lines: Sequence[Sequence[str]], color: str, fill: str) -> None:
        """Names in small frames, line by line; `y` is the upper edge."""
        for number, line in enumerate(lines):
            left, top = x, y + 26 * number
            for name in line:
                width = text_width(name, 11) + 16
                self.box(left, top, width, 20, fill, color, 10)
                self.text(left + width / 2, top + 14, name, 11, color, anchor="middle")
                left += width + 6

    def glyph(self, shape: Sequence[int], x: float, y: float) -> None:
        """A tensor to scale, its middle at `x`, `y`: a block of channels, a sheet of tokens, or a bar."""
        depth, width = 0.0, 5.0
        if len(shape) == 3:
            depth = 2 * log2(shape[0])
            height, width = (max(3.0, min(38.0, 38 * side / max(32, *shape[1:]))) for side in shape[1:])
        elif len(shape) == 2:
            height, width = (max(3.0, min(40.0, 9 * log2(side))) for side in shape)
        else:
            height = max(3.0, min(44.0, 6 * log2(shape[0])))
        shift = depth / 2
        left, right = x - (width + shift) / 2, x + (width - shift) / 2
        top, bottom = y - (height - shift) / 2, y + (height + shift) / 2
        back = [(left + shift, top - shift), (right + shift, top - shift), (right + shift, bottom - shift)]
        lid = [(left, top), *back, (right, bottom), (right, top)]
        front = [(left, top), (right, top), (right, bottom), (left, bottom)]
        for points, fill in [(lid, "#c9dceb")] * (depth > 0) + [(front, "#dfeaf3")]:
            corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            self.append(f'<polygon points="{corners}" fill="{fill}" stroke="{BLUE}" stroke-linejoin="round"/>')


def text_width(content: str, size: float, bold: bool = False) -> float:
    """Width of a text in DejaVu Sans, the widest of the fonts that a viewer may take, pixels."""
    return 72 * plots.text_width(content, size, bold)


def wrap(pieces: Sequence[str], width: float, size: float, gap: float) -> list[list[str]]:
    """Distribute pieces of text, `gap` pixels apart, over lines of a width."""
    lines: list[list[str]] = [[]]
    for piece in pieces:
        if lines[-1] and sum(text_width(word, size) + gap for word in [*lines[-1], piece]) - gap > width:
            lines.append([])
        lines[-1].append(piece)
    return lines


def document(picture: Picture, title: str, height: float) -> str:
    """A picture on a card, as a whole file."""
    card = Picture()  # light behind dark text, whatever the page
    card.box(0.5, 0.5, WIDTH - 1, height - 1, "#ffffff", LINE, 12)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:g}" viewBox="0 0 {WIDTH} {height:g}" '
        f'font-family="{FONT}" role="img">'
    )
    return "\n".join([head, f"<title>{escape(title)}</title>", *card, *picture, "</svg>"]) + "\n"


# ----- a picture


def draw(network: Network) -> str:
    """The picture of a network, SVG."""
    picture = Picture()
    picture.text(MARGIN, 42, network.model, 20, bold=True)
    picture.text(MARGIN, 62, f"{network.kind}, {totals(network)}", 12, FAINT)
    for name, right in COLUMNS.items():
        picture.text(right, 92, name, 11, FAINT, anchor="end")
    y = draw_inputs(picture, network, 104.0)
    for row in network.rows:
        y = draw_row(picture, row, network, y + GAP)
    return document(picture, f"{network.model}: {totals(network)}", y + MARGIN)


def totals(network: Network) -> str:
    """Parameters and multiply-adds in words."""
    return f"{network.n_parameters:,} parameters, {network.multiply_adds:,} multiply-adds for an image"


def draw_inputs(picture: Picture, network: Network, y: float) -> float:
    """Image and conditioning inputs; returns the lower edge."""
    lines = wrap(network.aux, BOX_WIDTH - 2 * PADDING - AUX_X - 16, 11, 22)
    height = max(48.0, 8 + 26 * len(lines))
    picture.glyph(network.image_shape, BOX_X / 2 + 4, y + height / 2)
    picture.box(BOX_X, y, BOX_WIDTH, height, "#ffffff", LINE)
    picture.text(BOX_X + PADDING, y + 21, "image", 13, bold=True)
    picture.text(BOX_X + PADDING, y + 38, "uint8 to -1 … 1", 11, FAINT)
    picture.text(COLUMNS["output"], y + 21, shape_text(network.image_shape), anchor="end")
    if network.aux:
        picture.text(BOX_X + PADDING + AUX_X - 34, y + 21, "aux", 13, ORANGE, bold=True)
        picture.chips(BOX_X + PADDING + AUX_X, y + 7, lines, ORANGE, ORANGE_FILL)
    return y + height


def draw_row(picture: Picture, row: Row, network: Network, y: float) -> float:
    """A block with its numbers, and bars of its shares of the network; returns the lower edge."""
    left = BOX_X + 2 * LANE if row.side else BOX_X  # beside the lane of the arrows
    color, fill = (ORANGE, ORANGE_FILL) if row.side else (BLUE, BLUE_FILL)
    inner = BOX_X + BOX_WIDTH - left - 2 * PADDING
    operations = wrap(row.operations, inner - text_width(ARROW, 11), 11, text_width(ARROW, 11))
    heads = network.heads.items() if row is network.rows[-1] else []
    names = wrap([f"{name}  {n_outputs}" for name, n_outputs in heads], inner - 16, 11, 22)
    height = 32.0 + 16 * len(operations) + 26 * len(names) * bool(heads)
    picture.box(left, y, BOX_X + BOX_WIDTH - left, height, fill, color)
    picture.text(left + PADDING, y + 20, row.name + f"  × {row.count}" * (row.count > 1), 13, color, bold=True)
    for number, line in enumerate(operations, 1):
        more = ARROW.rstrip() * (number < len(operations))
        picture.text(left + PADDING, y + 22 + 16 * number, ARROW.join(line) + more, 11)
    picture.chips(left + PADDING, y + 29 + 16 * len(operations), names, BLUE, "#ffffff")
    if row.joins:
        label = f"with {len(network.aux)} aux"
        x = BOX_X + BOX_WIDTH - PADDING - text_width(label, 11) - 16
        picture.chips(x, y + 5, [[label]], ORANGE, ORANGE_FILL)
    # The image goes by a block of conditioning inputs, and into any other one.
    end = f"V{y + height:g}" if row.side else f"V{y - 2:g}m-4 -4l4 4l4 -4"
    picture.append(f'<path d="M{BOX_X + LANE} {y - GAP:g}{end}" fill="none" stroke="{FAINT}"/>')
    if row.output:
        picture.glyph(row.output, BOX_X / 2 + 4, y + height / 2)
        picture.text(COLUMNS["output"], y + 20, shape_text(row.output), anchor="end")
    for name, part, whole in (
        ("parameters", row.n_parameters, network.n_parameters),
        ("multiply-adds", row.multiply_adds, network.multiply_adds),
    ):
        right, filled = COLUMNS[name], BAR * part / whole
        picture.text(right, y + 20, f"{part:,}", anchor="end")
        picture.append(
            f'<rect x="{right - BAR:g}" y="{y + 27:g}" width="{BAR}" height="4" fill="#edf0f2"/>'
            f'<rect x="{right - filled:.1f}" y="{y + 27:g}" width="{filled:.1f}" height="4" fill="{color}"/>'
        )
    return y + height


def shape_text(shape: Sequence[int]) -> str:
    """A shape as people write it."""
    return " × ".join(map(str, shape))


# ----- text


def summary(network: Network) -> str:
    """A network as a table of text."""
    lines = [
        f"{network.model}: {network.kind}, {totals(network)}",
        f"  {'image':<18} {shape_text(network.image_shape):>14}   aux: {', '.join(network.aux) or 'none'}",
    ]
    for row in network.rows:
        name = row.name + (f" × {row.count}" if row.count > 1 else "")
        lines.append(
            f"  {name:<18} {shape_text(row.output):>14} {row.n_parameters:>10,} {row.multiply_adds:>12,}   "
            + " → ".join(("with aux",) * row.joins + row.operations)
        )
    lines.append("  heads: " + ", ".join(f"{name} {n_outputs}" for name, n_outputs in network.heads.items()))
    return "\n".join(lines)


def index_page(networks: Sequence[Network]) -> str:
    """The page that shows all pictures, Markdown."""
    first = networks[0]
    lines = [
        "# Networks",
        "",
        f"Drawn by `make td`, for images of {shape_text(first.image_shape)} with "
        f"{', '.join(first.aux) or 'no conditioning inputs'}, and heads for {', '.join(first.heads)}.",
        "Networks for samples are drawn for the same sounds as 1 × 1 × 8000 samples, without conditioning inputs.",
        "Multiply-adds are those of convolutions and matrix products, attention included, for one image. Orange is",
        "what conditioning inputs (`aux`) go through; a bar is a block's share of the network.",
        "",
    ]
    rows = [
        (
            *(f"`{network.model}`", f"{network.n_parameters:,}", f"{network.multiply_adds:,}"),
            f"{shape_text(network.image_shape)}, {len(network.aux)} aux",
            f"[{network.model}.svg]({network.model}.svg)",
        )
        for network in networks
    ]
    lines += table(("model", "parameters", "multiply-adds", "input", "picture"), rows)
    for network in networks:
        lines += ["", f"## {network.model}", "", f"![{network.model}: {totals(network)}]({network.model}.svg)"]
    return "\n".join(lines) + "\n"


@functools.cache
def model_names() -> list[str]:
    """Every model that can be trained."""
    return [name for name in groups()["model"] if is_complete(name)]


def write_pictures(networks: Sequence[Network], output_dir: Path) -> None:
    """A picture per network, and the page that shows them."""
    for network in networks:
        write_atomically(output_dir / f"{network.model}.svg", draw(network).encode())
    write_atomically(output_dir / "index.md", index_page(networks).encode())


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, or print; returns the exit code."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="MODEL or KEY=VALUE")
    parser.add_argument("--text", action="store_true", help="print a summary and draw nothing")
    parser.add_argument("--list", action="store_true", help="list the models and draw nothing")
    parser.add_argument("--output", type=Path, help="directory of the pictures")
    chosen = parser.parse_args(arguments)
    overrides = [word for word in chosen.words if "=" in word]
    models = [word for word in chosen.words if "=" not in word]
    if unknown := set(models) - set(model_names()):
        parser.error(f"no such model: {', '.join(sorted(unknown))}. There are {', '.join(model_names())}.")
    models = models or model_names()
    if chosen.list:
        for name in models:
            say(f"{name:<14} {size('model', name)}  {description(CONFIGS / 'model' / f'{name}.yaml')}".rstrip())
        return 0
    networks = [describe_network(name, overrides) for name in models]
    if chosen.text:
        say("\n\n".join(summary(network) for network in networks))
        return 0
    output_dir = chosen.output or ROOT / ("logs" if overrides else "docs") / "networks"
    write_pictures(networks, output_dir)
    say(f"{len(networks)} pictures: {output_dir / 'index.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(reporting(main))
