"""Writes docs/summary.md: what was asked, what was found, and under which budget, from the results that are there.

python scripts/summary.py

Every number comes from the files below docs/results; what is not in them says "not measured yet".
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import numpy as np  # noqa: E402

from scripts import budgets_page, families, peers, references, robustness  # noqa: E402
from scripts.pages import read_json, table, write_between  # noqa: E402
from scripts.results_page import spread  # noqa: E402
from src.text import prepare_streams, say  # noqa: E402

PAGE = ROOT / "docs" / "summary.md"
MARKS = "<!-- summary: made by scripts/summary.py -->\n", "<!-- end of summary -->\n"
MISSING = "not measured yet"
PITCH_GOALS = {"clean": 0.980, "10 dB": 0.980, "0 dB": 0.970}
FAMILY_GOAL = 0.60
CLEAN_GOAL = 1.2  # of the error, for a network of perturbed sounds

Results = Mapping[str, Any]


class Found(NamedTuple):
    """An answer.

    Attributes:
        question: What was asked, or hoped.
        answer: With its numbers.
        budget: Under which it holds.
        place: Page with all of it.
    """

    question: str
    answer: str
    budget: str
    place: str


def networks(minutes: int) -> Iterator[Found]:
    """What networks reach beside their goals."""
    runs = read_json(budgets_page.RUNS)
    for name, model in budgets_page.NETWORKS.items():
        cells = (budgets_page.Cell(name, model, budgets_page.BEST, minutes, seed) for seed in budgets_page.SEEDS)
        there = [runs[cell.key] for cell in cells if "acc" in runs.get(cell.key, {})]
        acc, error = budgets_page.GOALS[name, minutes]
        scores = (spread([run[key] for run in there], digits) for key, digits in (("acc", 3), ("nmae", 4)))
        question = f"`{model}` on {name}: accuracy {acc}, error {error} of the range"
        budget = f"{minutes} minutes of one core, 131,072 sounds, {n_seeds(len(there))}"
        yield Found(question, ", ".join(scores) if there else MISSING, budget, "results.md")


def n_seeds(count: int) -> str:
    """So many seeds, in words."""
    return "one seed" if count == 1 else f"{count} seeds"


def classical() -> Iterator[Found]:
    """The best of the classical methods beside the best network, on each set."""
    found, runs = read_json(references.RESULTS), read_json(budgets_page.RUNS)
    for name, model in budgets_page.NETWORKS.items():
        alone = {
            cell.method: found[cell.key]
            for cell in references.cells()
            if cell.set == name and cell.minutes == 3 and cell.key in found and cell.method in references.METHODS
        }
        network = runs.get(budgets_page.Cell(name, model, budgets_page.BEST, 3).key, {})
        answer = MISSING
        if alone and "acc" in network:
            best = min(alone, key=lambda method: alone[method]["nmae"])
            one = alone[best]
            answer = (
                f"{best}: {one['acc']:.3f}, {one['nmae']:.4f}, {one['kept']:,} numbers kept; `{model}`: "
                f"{network['acc']:.3f}, {network['nmae']:.4f}, {network['parameters']:,}"
            )
        question = f"Do networks read {name} better than classical methods?"
        budget = "3 minutes of one core; sets of 16,384 sounds for the method, 131,072 for the network; one seed"
        yield Found(question, answer, budget, "results.md")


def refined() -> Iterator[Found]:
    """What refinement makes of the answers of a network, and of the classical method that it serves best."""
    found = read_json(references.RESULTS)
    for name, model in budgets_page.NETWORKS.items():
        later = {
            cell.method: found[cell.key]
            for cell in references.cells()
            if cell.set == name and cell.minutes == 3 and cell.key in found and cell.method.endswith(references.LATER)
        }
        of_network = later.pop(references.NETWORK + references.LATER, None)
        best = min(later, key=lambda method: later[method]["nmae"], default=None)
        shown = [(f"`{model}`{references.LATER}", of_network), (str(best), later.get(str(best)))]
        answers = [
            f"{method}: {one['acc']:.3f}, {one['nmae']:.4f}, {one['ms']:,.0f} ms a sound"
            for method, one in shown
            if one
        ]
        question = f"What does rendering again add to an answer on {name}?"
        budget = f"3 minutes of one core and the time of each answer; {references.N_REFINED.get(name, 3277):,} sounds"
        yield Found(question, "; ".join(answers) or MISSING, budget, "results.md")


def perturbed() -> Iterator[Found]:
    """What training with perturbed sounds costs on clean ones, and what it saves on others."""
    results = read_json(robustness.RESULTS)
    for name in ("basic", "envelope", "resonance"):
        runs = robustness.runs_of(results, name)
        if not (runs.get("clean") and runs.get("recording")):
            continue

        def mean(kind: str, column: str, runs: Mapping[str, Any] = runs) -> float:
            return statistics.fmean(run["columns"][column]["steps"] for run in runs[kind])

        clean = mean("clean", "none")
        ratios = [mean(kind, column) / clean for kind, column in
                  (("recording", "none"), ("clean", "SNR 40 dB"), ("recording", "SNR 40 dB"))]  # fmt: skip
        answer = "{:.1f} times the error; at 40 dB {:.1f} times where trained clean, {:.1f} with `recording`".format(
            *ratios
        )
        seeds = n_seeds(len(runs["recording"]))
        question = f"{name}: training with `recording` costs at most {CLEAN_GOAL} times the error on clean sounds"
        yield Found(question, answer, f"5 minutes of one core, 131,072 sounds, {seeds}", "robustness.md")


def pitch() -> Iterator[Found]:
    """Notes within 50 cents on the font that a network was not trained on, beside trackers."""
    rows = peers.rows_of(read_json(peers.RESULTS))
    goal = " / ".join(f"{share:.3f}" for share in PITCH_GOALS.values())
    shares = []
    for row in (rows[0], next(row for row in rows if "swift" in row.name)):
        for font, read in row.read.items():
            texts = [peers.share_text([one["conditions"][name] for one in read]) for name in PITCH_GOALS]
            shares.append(f"{row.name.partition(',')[0]} on {font} {' / '.join(texts)}")
    question = f"Pitch of notes of another font within 50 cents, clean / 10 dB / 0 dB, goal {goal}"
    yield Found(question, "; ".join(shares), "under 5 minutes on 2 cores", "real_sounds.md")


def family() -> Iterator[Found]:
    """The family of an instrument across fonts."""
    results = read_json(families.RESULTS)
    texts, seconds, seeds = [], [], 0
    for font in families.FONTS:
        runs = [results[cell.key] for cell in families.cells() if cell.font == font and cell.key in results]
        if runs:
            own, others = (shares_text(runs, place) for place in (font, families.other(font)))
            texts.append(f"trained on {font} {own} on its own new notes, {others} on the other font's")
        seconds += [run["seconds"] for run in runs]
        seeds = max(seeds, len(runs))
    question = f"Family of an instrument, 16 classes, on another font: {FAMILY_GOAL:.2f}"
    budget = f"{statistics.fmean(seconds or [0]):.0f} s of one core, {n_seeds(seeds)}; chosen on held-out programs"
    yield Found(question, "; ".join(texts) or MISSING, budget, "real_sounds.md")


def shares_text(runs: Sequence[Mapping[str, Any]], font: str) -> str:
    """Accuracy of trainings on the notes of a font."""
    return families.mean_text([families.accuracy(np.array(run["confusion"][font])) for run in runs])


def lines() -> list[str]:
    """The table, what contradicts hopes first."""
    found = [*classical(), *refined(), *family(), *pitch(), *perturbed(), *networks(3), *networks(15)]
    rows = ((one.question, one.answer, one.budget, f"[{one.place.removesuffix('.md')}]({one.place})") for one in found)
    return table(("asked, or hoped", "found", "budget", "where"), rows)


def main() -> None:
    """Write the page."""
    prepare_streams()
    write_between(MARKS, "\n".join(["", *lines(), "", ""]), PAGE)
    say(f"Page: {PAGE}")


if __name__ == "__main__":
    main()
