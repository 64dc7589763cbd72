"""What networks say of the same voice by other implementations: other sawtooths, other ladders, another rate.

python scripts/sim_to_real.py RUN [RUN ...] [--sounds 128] [--docs]

RUN is a run as `run=` of predict.py takes it, or a checkpoint, of a network that was trained on the Moog set basic.
Values are drawn, and every implementation renders all of them. Each sound is read as a recording is, its gain being
unknown. Implementations that are not installed are named and left out:

pedalboard   pip install -e '.[bench]'
csound       apt-get install csound
Faust        apt-get install faust g++
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import numpy as np  # noqa: E402
import soundfile  # noqa: E402

from scripts.pages import table as markdown_table  # noqa: E402
from scripts.pages import write_json  # noqa: E402
from src.checkpoints.run import load_run  # noqa: E402
from src.errors import ConfigError  # noqa: E402
from src.evaluation.domain import zone_of  # noqa: E402
from src.evaluation.refinement import refine  # noqa: E402
from src.evaluation.scoring import parameter_errors  # noqa: E402
from src.files import write_atomically  # noqa: E402
from src.models.metrics import WIDTH  # noqa: E402
from src.params import ParameterSpace  # noqa: E402
from src.programs.command_line import OptionParser, reporting  # noqa: E402
from src.programs.output import console, plain_table, progress, say_where  # noqa: E402
from src.readings.network import TrainedOn, at_peak, hear, judged, trained_on  # noqa: E402
from src.readings.words import distance_text  # noqa: E402
from src.recipe import Recipe  # noqa: E402
from src.recordings import resample  # noqa: E402
from src.runs import choose_run  # noqa: E402
from src.synth.kernels import ladder  # noqa: E402
from src.synth.voices import MoogVoice, note_to_f0  # noqa: E402
from src.text import prepare_streams, say  # noqa: E402

RATE = 44100  # Hz, of the other implementations
SEED = 7  # of the values
REFINED = 32  # sounds of another ladder whose nearest of ours are searched
READ = ("note_velocity", "log10_decay_time", "filter_cutoff", "filter_resonance")  # of the set basic
JUCE_LEAST = 0.1  # share of the critical feedback that pedalboard's ladder has with resonance 0
GAP = 0.25  # s between two sounds in a file
PROCESS_TIMEOUT = 900  # s


@dataclass(frozen=True)
class Patch:
    """The sounds to render: a sawtooth, scaled by the velocity, through a ladder, times an exponential decay.

    Attributes:
        f0: Hz.
        duration: s.
        amplitude: Before the filter, `(sound,)`.
        decay_time: Time constant, s, `(sound,)`.
        cutoff: Hz, `(sound,)`.
        resonance: Share of the feedback at which a ladder begins to oscillate, `(sound,)`.
    """

    f0: float
    duration: float
    amplitude: np.ndarray
    decay_time: np.ndarray
    cutoff: np.ndarray
    resonance: np.ndarray

    @classmethod
    def of(cls, recipe: Recipe, value: np.ndarray) -> "Patch":
        """Values of the set basic, `(sound, parameter)`, as quantities that any synthesizer has."""
        given = recipe.given(value)
        f0 = float(note_to_f0(given["note_number"][0]))
        columns = (given["note_velocity"] / 127, 10 ** given["log10_decay_time"])
        return cls(f0, recipe.synth.duration, *columns, given["filter_cutoff"], given["filter_resonance"])

    def times(self, rate: int) -> np.ndarray:
        """Of the samples, s, `(time,)`."""
        return np.arange(round(self.duration * rate)) / rate

    def decayed(self, waveform: np.ndarray, rate: int) -> np.ndarray:
        """What comes out of the filter, `(sound, time)`, times the decay."""
        return waveform * np.exp(-self.times(rate) / self.decay_time[:, None])


# ----- sawtooths


def turns(patch: Patch, rate: int) -> np.ndarray:
    """Where in its cycle a sawtooth is, 0 to 1, from a half on, `(time,)`."""
    return (patch.f0 * patch.times(rate) + 0.5) % 1


def naive_saw(patch: Patch, rate: int) -> np.ndarray:
    """Rises from -1 to 1, with all aliases, and begins at 0 as ours does, `(time,)`."""
    return 2 * turns(patch, rate) - 1


def poly_blep_saw(patch: Patch, rate: int) -> np.ndarray:
    """The same with its jumps rounded by a polynomial (Välimäki and Huovilainen, IEEE SPM 24(2), 2007), `(time,)`."""
    turn, step = turns(patch, rate), patch.f0 / rate
    after, before = turn / step, (turn - 1) / step
    rounded = np.where(after < 1, 2 * after - after**2 - 1, np.where(before > -1, before**2 + 2 * before + 1, 0.0))
    return naive_saw(patch, rate) - rounded


# ----- ladders


def our_ladder(patch: Patch, saw: np.ndarray, rate: int) -> np.ndarray:
    """This project's."""
    driven = (patch.amplitude[:, None] * saw).astype(np.float32)
    return ladder(driven, patch.cutoff[:, None], 4 * patch.resonance, rate)


def pedalboard_ladder(patch: Patch, saw: np.ndarray, rate: int) -> np.ndarray:
    """JUCE's, through pedalboard: its resonance r is 0.1 + 0.9 r of the critical feedback, so 0.1 is the least."""
    import pedalboard  # noqa: PLC0415  # optional, and GPL: measured beside the project

    rendered = []
    for amplitude, cutoff, resonance in zip(patch.amplitude, patch.cutoff, patch.resonance, strict=True):
        own = float(np.clip((resonance - JUCE_LEAST) / (1 - JUCE_LEAST), 0, 1))
        effect = pedalboard.LadderFilter(mode=pedalboard.LadderFilter.LPF24, cutoff_hz=float(cutoff), resonance=own)
        rendered.append(effect.process((amplitude * saw).astype(np.float32), rate))
    return np.stack(rendered)


FAUST = """
import("stdfaust.lib");
process = ve.moog_vcf(hslider("resonance", 0, 0, 1, 0.0001), hslider("cutoff", 1000, 10, 20000, 0.01));
"""
FAUST_MAIN = """
#include <cstdio>
#include <vector>
#include "faust/dsp/dsp.h"
#include "faust/gui/MapUI.h"
#include "faust/gui/meta.h"
#include "filter.h"
int main() {
    int head[3];  // sounds, samples, rate
    if (fread(head, sizeof(int), 3, stdin) != 3) return 1;
    std::vector<float> in(head[1]), out(head[1]);
    for (int n = 0; n < head[0]; n++) {
        float settings[2];
        if (fread(settings, sizeof(float), 2, stdin) != 2) return 1;
        if (fread(in.data(), sizeof(float), in.size(), stdin) != in.size()) return 1;
        Filter filter;
        MapUI map;
        filter.init(head[2]);
        filter.buildUserInterface(&map);
        map.setParamValue("resonance", settings[0]);
        map.setParamValue("cutoff", settings[1]);
        float* ins[1] = {in.data()};
        float* outs[1] = {out.data()};
        filter.compute(head[1], ins, outs);
        fwrite(out.data(), sizeof(float), out.size(), stdout);
    }
    return 0;
}
"""


def faust_ladder(patch: Patch, saw: np.ndarray, rate: int) -> np.ndarray:
    """Faust's ve.moog_vcf, compiled: its feedback is 4 times its resonance, as ours; it has no saturation."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "filter.dsp").write_text(FAUST)
        (place / "main.cpp").write_text(FAUST_MAIN)
        run_process(["faust", "-cn", "Filter", "-o", "filter.h", "filter.dsp"], place)
        run_process(["g++", "-O2", "-std=c++17", "-I.", "main.cpp", "-o", "main"], place)
        parts = [np.int32([len(patch.cutoff), saw.size, rate]).tobytes()]
        for amplitude, cutoff, resonance in zip(patch.amplitude, patch.cutoff, patch.resonance, strict=True):
            parts += [np.float32([resonance, cutoff]).tobytes(), np.float32(amplitude * saw).tobytes()]
        found = run_process([str(place / "main")], place, b"".join(parts))
    return np.frombuffer(found, dtype=np.float32).reshape(len(patch.cutoff), -1)


CSOUND = """<CsoundSynthesizer>
<CsInstruments>
sr = {rate}
ksmps = 1
nchnls = 1
0dbfs = 1
instr 1
  asaw vco2 p4, {f0}, 16, 0.5, 0.5
  afiltered {opcode} asaw, p5, p6
  atime line 0, p3, p3
  out afiltered * exp(-atime / p7)
endin
</CsInstruments>
<CsScore>
{score}
</CsScore>
</CsoundSynthesizer>
"""


def csound_voice(opcode: str) -> Callable[[Patch, int], np.ndarray]:
    """A whole voice of csound: vco2, its band-limited sawtooth, and a ladder that oscillates from resonance 1 on."""

    def render(patch: Patch, rate: int) -> np.ndarray:
        columns = zip(patch.amplitude, patch.cutoff, patch.resonance, patch.decay_time, strict=True)
        pitch = patch.duration + GAP
        events = [
            f"i1 {number * pitch:.9f} {patch.duration} " + " ".join(f"{item:.9f}" for item in row)
            for number, row in enumerate(columns)
        ]
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            text = CSOUND.format(
                rate=rate, f0=patch.f0, opcode=opcode, score="\n".join([*events, f"e {len(events) * pitch}"])
            )
            (place / "voice.csd").write_text(text)
            run_process(["csound", "-d", "-W", "-f", "-o", "voice.wav", "voice.csd"], place)
            sound, _ = soundfile.read(place / "voice.wav", dtype="float32")
        n_samples, n_apart = round(patch.duration * rate), pitch * rate
        begins = [round(number * n_apart) for number in range(len(events))]
        return np.stack([sound[begin : begin + n_samples] for begin in begins])

    return render


def run_process(command: Sequence[str], place: Path, given: bytes | None = None) -> bytes:
    """What a program writes to its standard output.

    Raises:
        ConfigError: If it fails.
    """
    done = subprocess.run(command, cwd=place, input=given, capture_output=True, timeout=PROCESS_TIMEOUT, check=False)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise ConfigError(f"{command[0]} failed: {lines[-1]}")
    return done.stdout


# ----- implementations


@dataclass(frozen=True)
class Implementation:
    """A row of the table.

    Attributes:
        name: Shown.
        resonance: How its resonance is that of ours.
        render: Takes the patch and our recipe's values; returns sounds at the rate of the recipe.
        needs: Programs and packages that have to be there.
    """

    name: str
    resonance: str
    render: Callable[[Recipe, np.ndarray, Patch], np.ndarray]
    needs: tuple[str, ...] = ()

    @property
    def is_another(self) -> bool:
        """Whether its ladder is not ours."""
        return bool(self.needs)

    @property
    def missing(self) -> list[str]:
        """What is not there."""
        return [name for name in self.needs if which(name) is None and find_spec(name) is None]


def ours(phase: float = 0.0, **settings: Any) -> Callable[[Recipe, np.ndarray, Patch], np.ndarray]:
    """Our own voice with other settings, beginning at a phase of its sawtooth, in cycles."""

    def render(recipe: Recipe, value: np.ndarray, patch: Patch) -> np.ndarray:
        rate = recipe.synth.sample_rate
        synth = MoogVoice(**{"sample_rate": rate, "duration": recipe.synth.duration} | settings)
        given = recipe.given(value) | {"phase": np.full(len(value), phase)}
        return at_rate(synth.render(given), synth.sample_rate, rate)

    return render


def of_parts(
    saw: Callable[[Patch, int], np.ndarray], filtered: Callable[[Patch, np.ndarray, int], np.ndarray], rate: int | None
) -> Callable[[Recipe, np.ndarray, Patch], np.ndarray]:
    """A sawtooth, a ladder and the decay, at a rate of their own; None: that of the recipe."""

    def render(recipe: Recipe, value: np.ndarray, patch: Patch) -> np.ndarray:
        own = rate or recipe.synth.sample_rate
        sound = patch.decayed(filtered(patch, saw(patch, own), own), own)
        return at_rate(sound, own, recipe.synth.sample_rate)

    return render


def of_csound(opcode: str) -> Callable[[Recipe, np.ndarray, Patch], np.ndarray]:
    """A voice of csound."""

    def render(recipe: Recipe, value: np.ndarray, patch: Patch) -> np.ndarray:
        return at_rate(csound_voice(opcode)(patch, RATE), RATE, recipe.synth.sample_rate)

    return render


def at_rate(sounds: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Sounds, `(sound, time)`, at another rate, as recordings are resampled."""
    n_samples = round(sounds.shape[1] * wanted / rate)
    found = [resample([sound.astype(np.float64)], rate, wanted)[:n_samples] for sound in sounds]
    return np.stack(found).astype(np.float32)


SAME = "feedback 4 r, as ours"
IMPLEMENTATIONS = (
    Implementation("ours", SAME, ours()),
    Implementation("ours, from another phase on", SAME, ours(phase=0.5)),
    Implementation("ours, naive saw", SAME, ours(band_limited=False)),
    Implementation("ours, polyBLEP saw", SAME, of_parts(poly_blep_saw, our_ladder, None)),
    Implementation("ours at 44.1 kHz, resampled", SAME, ours(sample_rate=RATE)),
    Implementation("ours at 44.1 kHz, naive saw", SAME, ours(sample_rate=RATE, band_limited=False)),
    Implementation(
        "pedalboard ladder, polyBLEP",
        "feedback 4 (0.1 + 0.9 r); mapped, below 0.1 of ours it stays at 0.1",
        of_parts(poly_blep_saw, pedalboard_ladder, RATE),
        ("pedalboard",),
    ),
    Implementation("csound moogladder, vco2", "oscillates at 1, as ours", of_csound("moogladder"), ("csound",)),
    Implementation("csound moogvcf2, vco2", "oscillates at 1, as ours", of_csound("moogvcf2"), ("csound",)),
    Implementation(
        "Faust ve.moog_vcf, polyBLEP",
        "feedback 4 r, as ours; a linear filter",
        of_parts(poly_blep_saw, faust_ladder, RATE),
        ("faust", "g++"),
    ),
)


# ----- reading


def measure(trained: TrainedOn, implementation: Implementation, value: np.ndarray) -> dict[str, Any]:
    """What a network says of the sounds of an implementation, as plain data."""
    recipe, space = trained.recipe, trained.run.info.space
    sounds = implementation.render(recipe, value, Patch.of(recipe, value))
    heard = hear(at_peak(sounds, trained.peak)[0], trained, trained.representation, trained.level_only)
    distance, std = judged(heard.distance, heard.answers.std, trained.calibration_of_any_gain, space)
    steps = parameter_errors(space, heard.answers.value, value) / space.step
    covered = np.abs(heard.answers.value - value) <= WIDTH * std
    if distance is None or heard.apart is None:
        raise ConfigError("The checkpoint keeps no statistics of its training images: train it anew.")
    zones = [zone_of(one) for one in distance]
    return {
        "steps": dict(zip(names_of(space), steps.mean(axis=0).tolist(), strict=True)),
        "coverage": dict(zip(names_of(space), covered.mean(axis=0).tolist(), strict=True)),
        "mean_coverage": float(covered.mean()),
        "distance": float(np.median(distance)),
        "db_away": float(np.median(heard.apart)),
        "inside": zones.count("inside") / len(zones),
        "far": zones.count("far") / len(zones),
    }


def beside_nearest(trained: TrainedOn, implementation: Implementation, value: np.ndarray) -> dict[str, Any]:
    """What a network says of sounds, beside the nearest sounds of our voice, which refinement finds from the values.

    Returns:
        `residual` of the nearest sounds, in units of rounding, the median; and
        how far the nearest are from what was set, and the network from them and from what was set: `steps_between`.
    """
    recipe, space = trained.recipe, trained.run.info.space
    sounds = implementation.render(recipe, value, Patch.of(recipe, value))
    read = hear(sounds, trained, recipe, trained.peak, trained.level_only).value
    nearest = refine(recipe, *recipe.represent(sounds), value)
    return {
        "sounds": len(value),
        "residual": float(np.median(nearest.residual)),
        "nearest_from_set": steps_between(space, nearest.value, value),
        "read_from_nearest": steps_between(space, read, nearest.value),
        "read_from_set": steps_between(space, read, value),
    }


def steps_between(space: ParameterSpace, value: np.ndarray, other: np.ndarray) -> dict[str, list[float]]:
    """Mean and mean absolute difference of values from others, grid steps, by parameter."""
    steps = (value - other) / space.step
    means = np.stack([steps.mean(axis=0), np.abs(steps).mean(axis=0)], axis=1).tolist()
    return dict(zip(names_of(space), means, strict=True))


def read_all(name: str, n_sounds: int) -> dict[str, Any]:
    """What a network says of every implementation."""
    chosen = choose_run(name, ROOT / "logs")
    trained = trained_on(load_run(chosen.ckpt_path))
    space: ParameterSpace = trained.run.info.space
    if not isinstance(trained.recipe.synth, MoogVoice) or tuple(names_of(space)) != READ:
        raise ConfigError(
            f"{name}: reads {', '.join(names_of(space))} of a {type(trained.recipe.synth).__name__}; this compares "
            f"networks of the Moog set basic, which read {', '.join(READ)}. Train one: make emb."
        )
    value = space.value_from_uniform(np.random.default_rng(SEED).random((n_sounds, len(space.varying))))
    value = value.astype(np.float32).astype(np.float64)
    rows: dict[str, Any] = {}
    with progress(len(IMPLEMENTATIONS), "Reading", "implementations") as advance:
        for implementation in IMPLEMENTATIONS:
            if implementation.missing:
                rows[implementation.name] = {"missing": ", ".join(implementation.missing)}
            else:
                rows[implementation.name] = measure(trained, implementation, value)
                if implementation.is_another:
                    rows[implementation.name]["nearest"] = beside_nearest(trained, implementation, value[:REFINED])
            advance(1)
    config = trained.run.config
    about = {
        "experiment": config.get("experiment_name") or chosen.ckpt_path.stem,
        "network": str(config["model"]["net"]["_target_"]).rpartition(".")[2],
        "weights": sum(weight.numel() for weight in trained.run.module.net.parameters()),
        "training": trained_how(trained.recipe),
        "dataset": trained.run.info.title,
    }
    return {"about": about, "sounds": n_sounds, "rows": rows}


def names_of(space: ParameterSpace) -> list[str]:
    """Names of the parameters."""
    return [spec.name for spec in space.varying]


def trained_how(recipe: Recipe) -> str:
    """Whether the training's sounds were clean."""
    return "on perturbed sounds" if recipe.config.get("perturb") else "on clean sounds"


# ----- what is shown

HEADINGS = ("implementation", "vel.", "decay", "cutoff", "res.", "cov.", "dist.", "dB", "far")
BEFORE = """# From our simulation to others

The nearest to hardware that anybody can try: the voice of the Moog set basic (sawtooth, velocity, ladder, exponential
decay) by other implementations, read by networks that know only ours. `make sim-to-real RUNS="RUN …" ARGS=--docs` makes
this page; `scripts/sim_to_real.py` says what each row is, and what has to be installed.

All rows have the same values, which no network was trained on. Sounds are read as recordings are, their gain being
unknown: their peak becomes that of the training's sounds. Below velocity, decay, cutoff and resonance is the mean
absolute error in grid steps. `cov.` is the share of true values within the 90 % intervals, over all parameters,
`dist.` the median [distance](prediction.md) from the training (95 % of its sounds are within 1), `dB` the median
difference of a sound and of the answer's sound, and `far` the share of sounds that are far from the training.
"""
AFTER = """
A cutoff is the frequency that each of them calls so. Ladders differ in how they are tuned, csound's `moogvcf2` and
Faust's `ve.moog_vcf` from ours most where the cutoff is high. JUCE's ladder keeps half of the passband that resonance
takes away. Ladders that saturate otherwise than ours, or not at all, have another idea of what a velocity is.

## Beside the nearest sounds of our voice

What a value means differs from ladder to ladder. Refinement that starts at the values that were set finds the nearest
sounds of our voice, which another network may be right to read: `residual` says how far they are, in units of rounding
(1 would be the same sound). Where a network is nearer to the nearest than to what was set, it answers with what our
voice would need. Below are mean differences of cutoff and of resonance in grid steps, their mean sizes in
brackets, over 32 sounds a row.
"""


def cells_of(name: str, row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    if "missing" in row:
        return [f"{name}: not here", *[""] * (len(HEADINGS) - 1)]
    steps = [f"{row['steps'][parameter]:.2f}" for parameter in READ]
    found = [
        f"{row['mean_coverage']:.2f}",
        distance_text(row["distance"]),
        f"{row['db_away']:.1f}",
        f"{row['far']:.0%}",
    ]
    return [name, *steps, *found]


NEAREST_HEADINGS = ("implementation", "residual", "nearest from set", "read from nearest", "read from set")


def nearest_cells(name: str, row: dict[str, Any]) -> list[str]:
    """A row of the table of nearest sounds: cutoff, then resonance."""
    entries = (row[key] for key in ("nearest_from_set", "read_from_nearest", "read_from_set"))
    steps = ["; ".join(f"{mean:+.1f} ({size:.1f})" for mean, size in map(entry.get, READ[2:])) for entry in entries]
    return [name, f"{row['residual']:.0f}", *steps]


def page(networks: Sequence[dict[str, Any]]) -> str:
    """The page of the documentation."""
    lines = [BEFORE]
    for network in networks:
        about = network["about"]
        what = f"{about['network']}, {about['weights']:,} weights, on {about['dataset']}"
        lines += [
            f"## {about['experiment']}: trained {about['training']}",
            "",
            f"{what}; {network['sounds']} sounds a row.",
            "",
        ]
        lines += [*markdown_table(HEADINGS, (cells_of(name, row) for name, row in network["rows"].items())), ""]
    lines += ["## How resonance is mapped", ""]
    lines += markdown_table(
        ("implementation", "its resonance r"), ((one.name, one.resonance) for one in IMPLEMENTATIONS)
    )
    lines += [AFTER]
    for network in networks:
        found = [(name, row["nearest"]) for name, row in network["rows"].items() if "nearest" in row]
        lines += [f"Trained {network['about']['training']}:", ""]
        lines += [*markdown_table(NEAREST_HEADINGS, (nearest_cells(name, row) for name, row in found)), ""]
    return "\n".join(lines)


def main() -> int:
    """Read, print, write."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--sounds", type=int, default=128, help="how many of each implementation")
    parser.add_argument("--docs", action="store_true", help="write the page and the figures of the documentation")
    arguments = parser.parse_args()
    if arguments.sounds < 1:
        parser.error(f"--sounds is {arguments.sounds}; it must be 1 or more.")
    networks = [read_all(name, arguments.sounds) for name in arguments.runs]
    for network in networks:
        about = network["about"]
        title = f"{about['experiment']}, trained {about['training']}: mean error in grid steps"
        table = plain_table(title, HEADINGS[:1], HEADINGS[1:])
        for name, row in network["rows"].items():
            table.add_row(*cells_of(name, row))
        console().print(table)
    say(
        "cov.: true values within 90 % intervals; dist.: median distance; dB: of the answer's sound; far: share of them"
    )
    figures = ROOT / ("docs/results" if arguments.docs else "logs") / "sim_to_real.json"
    write_json({"networks": networks}, figures)
    say_where(Figures=figures)
    if arguments.docs:
        write_atomically(ROOT / "docs" / "sim_to_real.md", page(networks).encode())
        say_where(Page=ROOT / "docs" / "sim_to_real.md")
    return 0


if __name__ == "__main__":
    sys.exit(reporting(main))
