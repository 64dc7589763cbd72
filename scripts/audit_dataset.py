"""Audits a dataset: does every parameter show in the image, and what do images and sounds leave open of it?

python scripts/audit_dataset.py DIR [--samples 256] [--posteriors 32] [--snr 60] [--seed 0] [--output DIR]

Renders all sounds of the set again, compares them with the stored bytes, and moves every parameter of some by one step.
Samples the posterior of some sounds given their pictures, and finds the information in these sounds under noise. Prints
tables, and writes audit.json and audit.png. A posterior takes about a second of a core, of many parameters several.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import matplotlib  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

from scripts.pages import table as markdown_table  # noqa: E402
from src.checkpoints.trusted import instantiate_trusted  # noqa: E402
from src.errors import VIMHError  # noqa: E402
from src.evaluation.audit import audit, observe  # noqa: E402
from src.evaluation.information import RANGE_OF_SNR, SNR, Information, information_under_noise  # noqa: E402
from src.evaluation.posterior import CONVERGED, Posterior, posterior, why_no_posterior  # noqa: E402
from src.files import atomic_file, write_atomically  # noqa: E402
from src.programs.command_line import OptionParser, reporting  # noqa: E402
from src.programs.output import PlainTable, console, progress, say_where  # noqa: E402
from src.recipe import Recipe  # noqa: E402
from src.spectral.representation import SpectralRepresentation  # noqa: E402
from src.text import prepare_streams, say  # noqa: E402
from src.vimh.reader import VIMHReader  # noqa: E402

CHUNK = 256
# Tables: heading to the key of an entry and the format of its figure.
STEP = {
    "classes": ("n_classes", "d"),
    "levels RMS": ("level_rms", ".2f"),
    "levels max": ("level_max", ".1f"),
    "spec_min dB": ("spec_min_db", ".3f"),
    "spec_max dB": ("spec_max_db", ".3f"),
    "invisible": ("invisible", ".1%"),
}
LEFT_OPEN = {
    "std mean": ("std_mean", ".2g"),
    "std median": ("std_median", ".2g"),
    "std 90 %": ("std_high", ".2g"),
    "error": ("error", ".2g"),
    "accuracy": ("accuracy", ".4f"),
    "width inner": ("interval_inner", ".2g"),
    "width linear": ("interval_linear", ".2g"),
}
IN_NOISE = {
    "std mean": ("noise_mean", ".2g"),
    "std median": ("noise_median", ".2g"),
    "std 90 %": ("noise_high", ".2g"),
    "converged": ("noise_converged", ".0%"),
}
HYPHENATED = {
    "classes": "clas-\nses",
    "invisible": "invis-\nible",
    "accuracy": "accu-\nracy",
    "converged": "con-\nverged",
}
UNKNOWN = "–"
Columns = Mapping[str, tuple[str, str]]
Entry = dict[str, Any]


class Audit(NamedTuple):
    """What was found of a set.

    Attributes:
        entries: Of each parameter, figures by their keys: medians, means and 90th percentiles over sounds, grid steps.
            None where there is none; infinite where nothing tells the parameter.
        posterior: Of some sounds; None where there is none.
        why_not: Why there is none.
        information: Of the same sounds, under noise.
        n_same: Sounds whose bytes were made again.
    """

    entries: list[Entry]
    posterior: Posterior | None
    why_not: str
    information: Information
    n_same: int


def compare_stored_bytes(reader: VIMHReader, recipe: Recipe) -> int:
    """Render every sound again from its stored values, and compare records.

    Returns:
        Number of sounds compared.

    Raises:
        VIMHError: If the set has no exact values, or a byte differs.
    """
    with progress(recipe.size, "Rendering again", "samples") as advance:
        for name, split in (("train", reader.train), ("test", reader.test)):
            start = recipe.first_number(name, reader.info.shard)
            if split.exact is None:
                raise VIMHError(
                    f"{split.path}_values.npy: is missing; without exact values the set cannot be made again."
                )
            for first in range(0, len(split), CHUNK):
                stored = split.read(slice(first, first + CHUNK))
                made = recipe.samples(stored.value, start + first)
                same = (
                    (made.image == stored.image).all(axis=(1, 2, 3))
                    & (made.code == stored.code).all(axis=1)
                    & (made.spec_range == stored.spec_range).all(axis=1)
                )
                if not same.all():
                    number = first + int(np.flatnonzero(~same)[0])
                    raise VIMHError(
                        f"{split.path}: record {number} is not what its values render to. The set was made by another "
                        "version or on another type of machine, or labels and images do not belong together."
                    )
                advance(len(stored.value))
    return recipe.size


def audit_dataset(
    data_dir: Path,
    n_samples: int,
    seed: int,
    trusted_modules: Sequence[str] = (),
    n_posteriors: int = 1,
    snr: float = SNR,
) -> Audit:
    """The audit of some sounds of a set, and of fewer of them posterior and information."""
    reader = VIMHReader(data_dir)
    with progress(len(reader.train) + len(reader.test), "Validating", "samples") as advance:
        finding = reader.validate(advance)
    say(f"Validation: {finding}")
    if "config" not in (reader.info.generator or {}):
        raise VIMHError(f"{data_dir}: was not made by this generator, so that its sounds cannot be rendered again.")
    instantiate = partial(instantiate_trusted, trusted_modules=trusted_modules)
    recipe = Recipe.from_config(reader.info.generator["config"], instantiate)
    if not isinstance(recipe.representation, SpectralRepresentation):
        raise VIMHError(
            f"{data_dir}: holds samples, and the audit is for spectrograms: audit a set of the "
            "same configuration with representation=stft or representation=mel."
        )
    n_same = compare_stored_bytes(reader, recipe)
    numbers = np.random.default_rng(seed).permutation(len(reader.train))[:n_samples]
    value = reader.train.read(np.sort(numbers)).value
    steps = audit(value, reader.info.parameters, partial(observe, recipe))
    some = reader.train.read(np.sort(numbers[:n_posteriors])).value
    found, why_not = None, why_no_posterior(recipe)
    if not why_not:
        with progress(len(some), "Finding what the pictures leave open", "sounds") as advance:
            found = posterior(recipe, some, seed=seed, advance=advance)
    with progress(len(some), "Finding the information in noise", "sounds") as advance:
        information = information_under_noise(recipe, some, snr, advance)
    acts = recipe.space.active(some.astype(np.float64))
    entries = [
        asdict(step) | left_open(found, p, spec.step) | in_noise(information, p, acts[:, p])
        for p, (step, spec) in enumerate(zip(steps, reader.info.parameters, strict=True))
    ]
    return Audit(entries, found, why_not, information, n_same)


def left_open(found: Posterior | None, p: int, step: float) -> Entry:
    """Figures of the posterior of the parameter number `p`, whose grid step is `step`."""
    keys = [key for key, _ in LEFT_OPEN.values()]
    acts = np.zeros(0, dtype=bool) if found is None else ~np.isnan(found.absolute[:, p])
    if found is None or not acts.any():
        return dict.fromkeys(keys)
    std = found.std[acts, p]
    figures = (
        *(std.mean(), np.median(std), np.quantile(std, 0.9)),
        *(found.absolute[acts, p].mean(), found.accuracy[acts, p].mean()),
        *(np.median(found.high[acts, p] - found.low[acts, p]) / step, np.median(found.linear[acts, p])),
    )
    return {key: None if np.isnan(figure) else float(figure) for key, figure in zip(keys, figures, strict=True)}


def in_noise(information: Information, p: int, acts: np.ndarray) -> Entry:
    """Figures of the information about the parameter number `p`, from the sounds on which it acts, `(sound,)`."""
    figures = information.figures(p, acts) or (None, None, None)
    converged = float(information.converged[acts, p].mean()) if acts.any() else None
    return dict(zip((key for key, _ in IN_NOISE.values()), (*figures, converged), strict=True))


def cell(entry: Entry, key: str, form: str) -> str:
    """A figure of a parameter."""
    figure = entry[key]
    if figure is None:
        unsteady = key.startswith("noise") and (entry["noise_converged"] or 0) < 1
        return "not converged" if unsteady and key == "noise_mean" else UNKNOWN
    return "∞" if figure == math.inf else format(figure, form)


def table(entries: list[Entry], columns: Columns, title: str, caption: str) -> PlainTable:
    """A row per parameter."""
    result = PlainTable(title, padding=(0, 1, 0, 0))
    result.caption = caption
    result.add_column("parameter", no_wrap=True)
    for heading in columns:
        result.add_column(HYPHENATED.get(heading, heading.replace(" ", "\n", 1)), justify="right", no_wrap=True)
    for entry in entries:
        result.add_row(entry["name"], *(cell(entry, *column) for column in columns.values()))
    return result


def tables(found: Audit, title: str) -> Iterator[PlainTable]:
    """What is shown of an audit, at 80 columns."""
    yield table(found.entries, STEP, title, "What one grid step changes of the image")
    n_sounds = len(found.information.std)
    if found.posterior is not None:
        yield table(
            found.entries, LEFT_OPEN, f"Posterior given the picture, {n_sounds} sounds", caption(found.posterior)
        )
    snr = f"Information in noise at {found.information.snr:g} dB, {n_sounds} sounds"
    yield table(found.entries, IN_NOISE, snr, "Grid steps, from the waveform;\ngain and phase unknown")


def caption(found: Posterior) -> str:
    """How far the posterior can be trusted."""
    n_effective = np.median(np.nanmin(found.n_effective, axis=1))
    return (
        "Grid steps; error: expected, of the best answer; width: median.\n"
        f"R-hat below {CONVERGED} in {found.converged.mean():.0%} of the sounds, {n_effective:.0f} effective draws; "
        f"{(found.n_cells > 1).sum()} with\nseveral solutions, searched from {found.n_starts} starts each."
    )


def markdown(found: Audit) -> str:
    """The same for a page of the documentation."""
    parts = []
    for columns in (STEP, LEFT_OPEN, IN_NOISE):
        chosen = {heading: column for heading, column in columns.items() if heading != "spec_min dB"}
        rows = ([entry["name"], *(cell(entry, *column) for column in chosen.values())] for entry in found.entries)
        parts.append("\n".join(markdown_table(("parameter", *chosen), rows)))
    return "\n\n".join(parts + ([] if found.posterior is None else [caption(found.posterior)]))


def draw(found: Audit, path: Path) -> None:
    """Standard deviations of all sounds, a box per parameter, with half a step as the line that a class needs."""
    matplotlib.use("Agg")
    names = [entry["name"] for entry in found.entries]
    std = found.information.std if found.posterior is None else found.posterior.std
    what = "under noise" if found.posterior is None else "of the posterior given the picture"
    figure, axis = plt.subplots(figsize=(8, 1.2 + 0.45 * len(names)), layout="constrained")
    finite = [np.clip(column[np.isfinite(column)], 1e-7, 1e2) for column in std.T]
    axis.boxplot(finite, orientation="horizontal", tick_labels=names, whis=(5, 95), sym="")
    axis.axvline(0.5, color="#c44e2b", linewidth=1)
    axis.text(0.5, 1.01, "half a step", color="#c44e2b", ha="center", va="bottom", transform=axis.get_xaxis_transform())
    axis.set(xscale="log", xlabel=f"std {what} (grid steps): 5, 25, 50, 75, 95 % of the sounds")
    axis.invert_yaxis()
    with atomic_file(path) as file:
        figure.savefig(file, dpi=110)
    plt.close(figure)


def count_of(text: str) -> int:
    """The option `--posteriors`."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return int(text)


def snr_of(text: str) -> float:
    """The option `--snr`."""
    snr = float(text)
    if not RANGE_OF_SNR[0] <= snr <= RANGE_OF_SNR[1]:
        raise argparse.ArgumentTypeError("{} dB is not from {:g} to {:g} dB".format(text, *RANGE_OF_SNR))
    return snr


def main() -> int:
    """Audit, print, write."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path, metavar="DIR")
    parser.add_argument("--samples", type=int, default=256, help="sounds that parameters are moved in")
    parser.add_argument(
        "--posteriors", type=count_of, default=32, help="sounds whose posterior is sampled; 500 for figures"
    )
    parser.add_argument("--snr", type=snr_of, default=SNR, metavar="DB", help="of the sounds in noise, 20 to 80 dB")
    parser.add_argument("--seed", type=int, default=0, help="chooses them")
    parser.add_argument("--output", type=Path, help="where audit.json and audit.png go; default logs/audit/NAME")
    parser.add_argument("--markdown", action="store_true", help="print the table for a page of the documentation")
    parser.add_argument("--trusted-modules", nargs="+", default=(), metavar="PACKAGE", help="whose classes it may name")
    arguments = parser.parse_args()
    found = audit_dataset(
        arguments.data_dir,
        arguments.samples,
        arguments.seed,
        arguments.trusted_modules,
        arguments.posteriors,
        arguments.snr,
    )
    output = arguments.output or ROOT / "logs" / "audit" / arguments.data_dir.resolve().name
    plain = [{key: "infinite" if item == math.inf else item for key, item in entry.items()} for entry in found.entries]
    write_atomically(output / "audit.json", (json.dumps(plain, indent=2, allow_nan=False) + "\n").encode())
    draw(found, output / "audit.png")
    if arguments.markdown:
        say(markdown(found))
    else:
        for part in tables(found, arguments.data_dir.resolve().name):
            console().print(part)
    if found.why_not:
        say(f"No posterior given the picture: {found.why_not}.")
    say(f"{found.n_same:,} sounds were rendered again from their values: every byte is as stored.")
    say_where(Figures=output / "audit.json", Picture=output / "audit.png")
    return 0


if __name__ == "__main__":
    sys.exit(reporting(main))
