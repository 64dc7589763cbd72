"""The measurements of `scripts/bench_gpu.py` as JSON, and as tables of docs/benchmarks.md and docs/results.md.

python scripts/gpu_page.py [--add DIR/gpu.json]

Without --add, the tables are made anew from docs/results/gpu.json. What was not measured yet stands there as such.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from scripts.gpu_parts.plan import BY_NAME  # noqa: E402
from scripts.pages import added, read_json, table, write_between  # noqa: E402
from src.errors import ConfigError  # noqa: E402
from src.programs.command_line import OptionParser, reporting  # noqa: E402
from src.text import one_line, prepare_streams, say  # noqa: E402

MEASURED = ROOT / "docs" / "results" / "gpu.json"
MARKS = "<!-- gpu: made by scripts/gpu_page.py -->\n", "<!-- end of gpu -->\n"
MISSING = "not measured yet"
BLOCKS = ("4,096", "16,384", "65,536")
OPERATIONS = 470  # of float32 for a sample of the ladder voice as it is compiled, a fused multiply-add being two
FLAT = 0.01  # of the memory in use, in five minutes
LOOP_SHARE = 0.9

# Set, network, seconds; accuracy and error to reach.
TRAININGS = {
    "envelope": ("cnn_64k", (0.91, 0.014)),
    "basic": ("cnn_tiny", (0.975, 0.0035)),
    "resonance": ("cnn_64k", (0.95, 0.008)),
}

Parts = Mapping[str, Mapping[str, Any]]


def figure(parts: Parts, part: str, row: str, key: str) -> Any:
    """What a part has found; None if it has not."""
    return parts.get(part, {}).get("found", {}).get(row, {}).get(key)


def shown(number: float | None, unit: str = "", digits: int = 3) -> str:
    """A number with some digits that count, thousands and beyond in words; or that it is missing."""
    if number is None:
        return MISSING
    for name, size in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if unit and abs(number) >= size:
            return f"{rounded(number / size, digits)} {name}{unit}"
    return f"{rounded(number, digits)} {unit}".strip()


def rounded(number: float, digits: int) -> str:
    """A number with so many digits that count, and no exponent unless it is very small."""
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    if abs(number) < 1e-3:
        return f"{number:.{digits - 1}e}"
    return f"{number:,.{max(0, digits - 1 - math.floor(math.log10(abs(number))))}f}"


def speed_tables(parts: Parts) -> list[str]:
    """Generation, parity, steps and memory: the section of docs/benchmarks.md."""
    return [
        *generation_table(parts),
        "",
        *limits(parts),
        "",
        *parity_table(parts),
        "",
        *steps_table(parts),
        "",
        *memory_table(parts),
    ]


def generation_table(parts: Parts) -> list[str]:
    """Sounds a second by the size of a block."""
    rows = (
        ("ladder voice, 1 s at 8 kHz", "voice ladder", "60 Gsamples/s"),
        ("swept ladder voice, 2 s at 8 kHz", "voice swept ladder", ""),
        ("saw voice, 1 s at 8 kHz", "voice saw", ""),
        ("basic, with its image", "image basic", "2.5 Msounds/s"),
        ("envelope, with its image", "image envelope", "0.9 Msounds/s"),
        ("resonance, with its image", "image resonance", ""),
    )
    lines = []
    for what, row, goal in rows:
        rates = [figure(parts, "generation", f"{row}, {block}", "sounds_per_second") for block in BLOCKS]
        samples = [figure(parts, "generation", f"{row}, {block}", "samples_per_second") for block in BLOCKS]
        best = shown(max(filter(None, samples), default=None), "samples/s") if row.startswith("voice") else ""
        lines.append((what, *(shown(rate, "sounds/s") for rate in rates), best, goal))
    columns = ("made together", *(f"{block} sounds" for block in BLOCKS), "samples, at best", "goal")
    return table(columns, lines)


def limits(parts: Parts) -> list[str]:
    """What the device could do at the most."""
    copied = figure(parts, "generation", "copy", "bytes_per_second")
    computed = figure(parts, "generation", "product", "operations_per_second")
    rendered = figure(parts, "generation", f"voice ladder, {BLOCKS[-1]}", "samples_per_second")
    operations = None if rendered is None else rendered * OPERATIONS
    rows = [
        ("copy within its memory, bytes read and written", shown(copied, "B/s"), "waveforms written, 4 bytes a sample"),
        ("product of float32 matrices", shown(computed, "FLOP/s"), ""),
        (f"ladder voice, about {OPERATIONS} operations a sample", shown(operations, "FLOP/s"), ""),
    ]
    if copied is not None:
        rows[0] = (*rows[0][:2], f"{rows[0][2]}: at most {shown(copied / 4, 'samples/s')}")
    return table(("limits of the device", "measured", "beside it"), rows)


def parity_table(parts: Parts) -> list[str]:
    """Sounds and images beside those of the CPU."""
    rows = []
    voices = ("saw", "saw, naive", "basic", "envelope", "resonance")
    for name in (*voices, "resonance, oversampled 2 times", "resonance, oversampled 4 times"):
        largest, rms = (figure(parts, "parity", f"voice {name}", key) for key in ("largest", "rms_relative"))
        beside = "" if rms is None else f"root mean square {shown(rms, digits=2)} of the sound's"
        rows.append((f"waveforms, {name}: largest difference", shown(largest, digits=2), beside))
    for name in TRAININGS:
        share, levels = (figure(parts, "parity", f"image {name}", key) for key in ("share_of_pixels", "levels"))
        beside = "" if levels is None else f"by {levels} levels at most"
        found = None if share is None else 100 * share
        rows.append((f"images, {name}: pixels that differ", shown(found, "%", digits=2), beside))
    kernels = figure(parts, "parity", "float64", "kernels")
    beside = "goal 0" if kernels is None else f"of {kernels} kernels, goal 0"
    rows.append(("float64 instructions", shown(figure(parts, "parity", "float64", "instructions")), beside))
    passed, failed = (figure(parts, "tests", "tests", key) for key in ("passed", "failed"))
    rows.append(("tests that need a GPU", MISSING if passed is None else f"{passed} passed, {len(failed)} failed", ""))
    return table(("beside the CPU", "measured", "beside it"), rows)


def steps_table(parts: Parts) -> list[str]:
    """Training steps, bare loops, and `src/train.py`."""
    rows = []
    for name, model in (("basic", "cnn_tiny"), ("envelope", "cnn_64k")):
        for batch in ("128", "2,048"):
            row = f"step {name} {model}, {batch}"
            eager, graph = (shown(figure(parts, "steps", row, f"{kind}_ms"), "ms") for kind in ("eager", "graph"))
            rate = shown(figure(parts, "steps", row, "graph_sounds_per_second"), "sounds/s")
            last = loop_cells(parts, name, model) if batch == "2,048" else ("", "", "")
            rows.append((f"{name}, `{model}`", batch, eager, graph, rate, *last))
    columns = (
        *("network", "batch", "step, eager", "step, captured", "captured"),
        *("bare loop", "`src/train.py`", "share of the loop"),
    )
    stored = figure(parts, "train", "stored basic cnn_tiny", "ms_per_step")
    return [
        *table(columns, rows),
        "",
        *table(
            ("stored sounds", "`src/train.py`", "goal"),
            [("basic, 16,384 sounds, `cnn_tiny`, batch 128: a step", shown(stored, "ms"), "1.4 ms")],
        ),
    ]


def loop_cells(parts: Parts, name: str, model: str) -> tuple[str, str, str]:
    """Bare loop, `src/train.py`, and the share of the one that the other reaches, with its goal."""
    loop = figure(parts, "steps", f"loop {name} {model}, 2,048", "sounds_per_second")
    trained = figure(parts, name, f"training {name} {model}", "sounds_per_second")
    trained = trained or figure(parts, "train", f"stream {name} {model}", "sounds_per_second")
    share = MISSING if loop is None or trained is None else f"{trained / loop:.2f}"
    return shown(loop, "sounds/s"), shown(trained, "sounds/s"), f"{share}, goal {LOOP_SHARE}"


def memory_table(parts: Parts) -> list[str]:
    """Memory of the longest stream of envelope that was measured."""
    row = "memory envelope cnn_64k"
    part = max(("envelope", "memory"), key=lambda name: figure(parts, name, row, "seconds") or 0.0)
    seconds = figure(parts, part, row, "seconds")
    rows = []
    for where, what in (("device", "of the GPU"), ("host", "of the process")):
        held, slope = (figure(parts, part, row, f"{where}_{key}") for key in ("mib", "mib_per_minute"))
        flat = "goal: flat over 5 minutes"
        if held is not None:
            flat = f"{'flat' if abs(5 * slope) <= FLAT * held else 'not flat'} over {seconds / 60:.1f} minutes; {flat}"
        rows.append((f"memory {what}", shown(held, "MiB"), shown(slope, "MiB/minute", digits=2), flat))
    return table(("stream of envelope, `cnn_64k`", "in use", "grows by", "beside it"), rows)


def trainings_table(parts: Parts) -> list[str]:
    """What trainings on streams reach: the section of docs/results.md."""
    rows = []
    for name, (model, goal) in TRAININGS.items():
        keys = ("parameters", "seconds", "sounds", "acc", "nmae", "steps")
        weights, seconds, sounds, acc, nmae, steps = (
            figure(parts, name, f"training {name} {model}", key) for key in keys
        )
        rows.append(
            (
                *(name, model, MISSING if weights is None else f"{weights:,}"),
                *(f"{BY_NAME[name].seconds:.0f}", MISSING if seconds is None else f"{seconds:.0f}"),
                *(shown(sounds, "sounds"), MISSING if acc is None else f"{acc:.3f}"),
                *(MISSING if nmae is None else f"{nmae:.4f}", MISSING if steps is None else f"{steps:.2f}"),
                verdict(goal, acc, nmae),
            )
        )
    columns = ("set", "network", "parameters", "budget, s", "seconds", "trained on", "accuracy", "error / range")
    return table((*columns, "error, grid steps", "goal"), rows)


def verdict(goal: tuple[float, float], acc: float | None, nmae: float | None) -> str:
    """A goal, and whether it was reached."""
    wanted = f"{goal[0]}, {goal[1]}"
    if acc is None or nmae is None:
        return wanted
    return f"{wanted}: {'reached' if acc >= goal[0] and nmae <= goal[1] else 'missed'}"


def on_what(parts: Parts) -> list[str]:
    """A sentence for each machine: what it is, and what was measured there."""
    places: dict[str, list[str]] = {}
    for name in BY_NAME:
        if name in parts:
            machine = parts[name]["machine"]
            versions = (f"{key.replace('_', '-')} {machine[key]}" for key in ("python", "torch", "numba", "numba_cuda"))
            places.setdefault(f"{machine['gpu']}, {machine['cores']} cores, {', '.join(versions)}", []).append(name)
    sentences = [f"Measured on {one_line(place)}: {', '.join(names)}." for place, names in places.items()]
    return sentences or ["Nothing was measured on a GPU yet; the goals are those for one H100 or H200."]


def pages(parts: Parts) -> Iterator[tuple[Path, str]]:
    """Pages, and the tables that go between their marks."""
    for name, make in (("benchmarks.md", speed_tables), ("results.md", trainings_table)):
        yield ROOT / "docs" / name, "\n".join(["", *on_what(parts), "", *make(parts), ""])


def measured(path: Path) -> Parts:
    """The parts of a measurement that found something, each with the machine that it ran on.

    Raises:
        ConfigError: If the file is none, or of a rehearsal.
    """
    content = read_json(path)
    if not isinstance(content.get("parts"), dict) or not isinstance(content.get("machine"), dict):
        raise ConfigError(f"{path}: is no gpu.json of scripts/bench_gpu.py.")
    if content.get("small") or "gpu" not in content["machine"]:
        raise ConfigError(f"{path}: is of a rehearsal, and no measurement. Run scripts/bench_gpu.py on a GPU.")
    return {
        name: part | {"machine": content["machine"]}
        for name, part in content["parts"].items()
        if name in BY_NAME and part["found"]
    }


def keep(new: Parts) -> None:
    """Add parts to those that were measured, and write the pages."""
    with added(new, MEASURED) as parts:
        for path, text in pages(parts):
            write_between(MARKS, text, path)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the tables."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--add", type=Path, help="measurements to add; they replace those of the same parts")
    arguments = parser.parse_args(argv)

    def work() -> int:
        keep({} if arguments.add is None else measured(arguments.add))
        say(*(f"Tables: {path}" for path, _ in pages({})))
        return 0

    return reporting(work)


if __name__ == "__main__":
    sys.exit(main())
