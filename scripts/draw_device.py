"""Draws how a block of sounds becomes weights on a GPU: the picture of docs/device.md, as SVG.

python scripts/draw_device.py [--output docs/device.svg]
"""

import argparse
import math
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from hydra import compose  # noqa: E402

from scripts import draw_networks  # noqa: E402
from scripts.draw_networks import BLUE, BLUE_FILL, FAINT, LINE, MARGIN, ORANGE, ORANGE_FILL  # noqa: E402
from src.checkpoints.trusted import instantiate_own  # noqa: E402
from src.files import write_atomically  # noqa: E402
from src.hydra_versions import initialize_configs  # noqa: E402
from src.recipe import LOUDEST, Recipe  # noqa: E402
from src.recipe.device import MOST_REPRESENTED, MOST_TOGETHER, SOUND_BYTES  # noqa: E402
from src.text import prepare_streams, say  # noqa: E402

BATCH_SIZE = 2048
LEFT, LEFT_WIDTH = float(MARGIN), 268.0  # the column of the CPU
RIGHT, RIGHT_WIDTH = 372.0, 410.0  # and that of the GPU
TOP, HEIGHT, GAP = 116.0, 54.0, 22.0
TITLE = "From numbers to weights"

Box = tuple[str, str, str]  # name, what it is, and how large


def on_cpu(recipe: Recipe) -> list[Box]:
    """What a thread does for a block."""
    n_parameters = len(recipe.space.varying)
    return [
        ("numbers", "seed · 2⁴⁰ + epoch · stream_size + place", f"{MOST_TOGETHER:,}"),
        ("values", "drawn by number, rounded to float32", size(4 * n_parameters * MOST_TOGETHER)),
        ("targets", "codes, classes, positions: as stored", size(16 * n_parameters * MOST_TOGETHER)),
    ]


def on_gpu(recipe: Recipe) -> list[Box]:
    """What the thread that trains does for it."""
    n_pixels = MOST_TOGETHER * math.prod(recipe.representation.image_shape)
    return [
        ("render", "render_cuda: a thread a voice, all at once", size(4 * recipe.n_samples * MOST_TOGETHER)),
        ("represent", f"STFT, dB, 8 bits: {MOST_REPRESENTED:,} at a time", size(n_pixels)),
        ("check", f"every peak at most {LOUDEST:g}: one look a block", f"{MOST_TOGETHER:,} peaks"),
        ("block", "image, aux, index, normalized, value", f"{MOST_TOGETHER:,} sounds"),
        ("batches", "views of the block, all of one size", f"{MOST_TOGETHER // BATCH_SIZE} of {BATCH_SIZE:,}"),
        ("steps", "forward, loss, backward, optimizer", "weights"),
    ]


def size(n_bytes: int) -> str:
    """Bytes as people write them."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def draw(recipe: Recipe, name: str) -> str:
    """The picture, SVG."""
    picture = draw_networks.Picture()
    picture.text(MARGIN, 40, TITLE, 20, bold=True)
    picture.text(
        MARGIN, 60, f"A block of {MOST_TOGETHER:,} sounds of the set {name}, in batches of {BATCH_SIZE:,}", 12, FAINT
    )
    picture.text(LEFT, TOP - 14, "CPU: a thread, one block ahead", 12, bold=True)
    picture.text(RIGHT, TOP - 14, "GPU: one stream, the thread that trains", 12, bold=True)
    boxes = on_gpu(recipe)
    draw_column(picture, on_cpu(recipe), LEFT, LEFT_WIDTH, ORANGE, ORANGE_FILL)
    draw_column(picture, boxes, RIGHT, RIGHT_WIDTH, BLUE, BLUE_FILL)
    other = middle(3) - HEIGHT / 2 + GAP
    picture.box(LEFT, other, LEFT_WIDTH, HEIGHT + 16, "#ffffff", LINE)
    picture.text(LEFT + 12, other + 21, "a synth without render_cuda", 13, bold=True)
    picture.text(LEFT + 12, other + 39, "renders here, on all cores but one;", 11, FAINT)
    picture.text(LEFT + 12, other + 55, f"its sounds travel, {size(SOUND_BYTES)} at a time", 11, FAINT)
    edge = LEFT + LEFT_WIDTH
    arrow(picture, f"M{edge:g} {middle(1):g}H{edge + 26:g}V{middle(0):g}H{RIGHT - 2:g}", "r")
    arrow(picture, f"M{edge:g} {middle(2):g}H{edge + 40:g}V{middle(3):g}H{RIGHT - 2:g}", "r")
    upper = middle(1) + 12
    arrow(picture, f"M{edge:g} {other + 30:g}H{edge + 60:g}V{upper:g}H{RIGHT - 2:g}", "r", dashed=True)
    outer = RIGHT + RIGHT_WIDTH
    last = middle(len(boxes) - 1)
    arrow(picture, f"M{outer:g} {last:g}H{outer + 22:g}V{middle(0):g}H{outer + 2:g}", "l")
    x, y = outer + 40, (middle(0) + last) / 2
    picture.append(f'<g transform="rotate(90 {x:g} {y:g})">')
    picture.text(x, y + 10, "the next block", 11, FAINT, anchor="middle")
    picture.append("</g>")
    return draw_networks.document(picture, f"{TITLE}: a block of sounds on a GPU", last + HEIGHT / 2 + MARGIN)


def draw_column(
    picture: draw_networks.Picture, boxes: list[Box], x: float, width: float, color: str, fill: str
) -> None:
    """Boxes one below the other, with arrows between them."""
    for row, (name, what, how_large) in enumerate(boxes):
        top = middle(row) - HEIGHT / 2
        picture.box(x, top, width, HEIGHT, fill, color)
        picture.text(x + 12, top + 22, name, 13, color, bold=True)
        picture.text(x + 12, top + 41, what, 11)
        picture.text(x + width - 12, top + 22, how_large, 12, anchor="end")
        if row:
            arrow(picture, f"M{x + width / 2:g} {top - GAP:g}V{top - 2:g}", "d")


def arrow(picture: draw_networks.Picture, path: str, way: str, dashed: bool = False) -> None:
    """A line with a head that points right, left or down (`way`: r, l, d)."""
    head = {"r": "m-4 -4l4 4l-4 4", "l": "m4 -4l-4 4l4 4", "d": "m-4 -4l4 4l4 -4"}[way]
    dashes = ' stroke-dasharray="4 3"' * dashed
    picture.append(f'<path d="{path}{head}" fill="none" stroke="{FAINT}"{dashes}/>')


def middle(row: int) -> float:
    """Height of the middle of a row."""
    return TOP + (HEIGHT + GAP) * row + HEIGHT / 2


def main() -> None:
    """Parse the arguments and draw."""
    prepare_streams()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "device.svg")
    arguments = parser.parse_args()
    with initialize_configs(ROOT / "configs"):
        config = compose("synth/generate_moog_basic")
    write_atomically(arguments.output, draw(Recipe.from_config(config, instantiate_own), "basic").encode())
    say(arguments.output)


if __name__ == "__main__":
    main()
