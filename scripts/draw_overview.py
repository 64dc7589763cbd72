"""Draws the picture of the README: one test sound from its parameters to what a network reads from it.

python scripts/draw_overview.py CHECKPOINT [--sample 6] [--output docs/overview.png]
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from src.checkpoints.run import load_run  # noqa: E402
from src.checkpoints.trusted import instantiate_trusted  # noqa: E402
from src.data.vimh_dataset import VIMHDataset  # noqa: E402
from src.files import atomic_file  # noqa: E402
from src.recipe import Recipe  # noqa: E402
from src.text import prepare_streams, say  # noqa: E402
from src.vimh.reader import VIMHReader  # noqa: E402

INK, TRUE = "#2a5d84", "#c44e2b"


def draw(ckpt_path: Path, sample: int, output: Path) -> None:
    """Draw one sound of the checkpoint's test set."""
    run = load_run(ckpt_path)
    reader = VIMHReader(run.config["data"]["data_dir"])
    recipe = Recipe.from_config(reader.info.generator["config"], instantiate_trusted)
    batch = VIMHDataset(reader.test, np.arange(len(reader.test))).__getitems__([sample])
    waveform = recipe.render(batch["value"].numpy())[0]
    with torch.no_grad():
        logits = run.module(batch["image"], batch["aux"])
    specs = reader.info.parameters
    size = {"figsize": (13, 3.2), "width_ratios": [1.2, 1.2, 1, 1]}
    figure, axes = plt.subplots(1, 2 + len(specs), layout="constrained", **size)
    seconds = np.arange(waveform.size) / reader.info.sample_rate
    axes[0].plot(seconds, waveform, color=INK, linewidth=0.4)
    axes[0].set(title="waveform", xlabel="time (s)", ylabel="amplitude", xlim=(0, reader.info.duration))
    representation = recipe.representation
    db = representation.to_db(batch["image"], batch["aux"])[0, 0].numpy()
    bin_width = representation.sample_rate / representation.n_fft
    end = representation.width * representation.hop_length / representation.sample_rate
    extent = (0, end, 0.5 * bin_width, (representation.height + 0.5) * bin_width)
    picture = axes[1].imshow(db, "magma", aspect="auto", origin="lower", extent=extent)
    axes[1].set(title="image, 32 x 32 x 1", xlabel="time (s)", ylabel="frequency (Hz)")
    figure.colorbar(picture, ax=axes[1], label="level (dB full scale)")
    for head, (axis, spec) in enumerate(zip(axes[2:], specs, strict=True)):
        grid = spec.value_from_index(np.arange(spec.n_classes))
        probability = logits[spec.name][0].softmax(-1).numpy()
        axis.bar(grid, probability, width=spec.step * 0.85, color=INK, label="network")
        axis.axvline(batch["value"][0, head].item(), color=TRUE, linewidth=2, label="true value")
        axis.set(title=f"head {spec.name}", xlabel=f"value ({spec.units})", ylabel="probability", ylim=(0, 0.5))
    axes[2].legend(frameon=False)
    with atomic_file(output) as file:
        figure.savefig(file, dpi=110)


def main() -> None:
    """Parse the arguments and draw."""
    prepare_streams()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--sample", type=int, default=6)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "overview.png")
    arguments = parser.parse_args()
    draw(arguments.checkpoint, arguments.sample, arguments.output)
    say(arguments.output)


if __name__ == "__main__":
    main()
