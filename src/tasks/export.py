"""Writes a checkpoint as one ONNX file that needs neither PyTorch nor this project.

python src/export.py [run=NAME|last|best]

Inputs are `image`, uint8 `(batch, channel, freq, time)`, and `aux`, float32 `(batch, n_aux)`; outputs are `value` and
`std`, float32 `(batch, head)` in natural units, and for every category `NAME_probability`, float32 `(batch, class)`.
What they mean stands in the file's metadata as JSON, under `nsm`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from src import __version__
from src.checkpoints.run import Run, load_run, restore_datamodule
from src.data.vimh_datamodule import VIMHDataModule
from src.errors import ConfigError, check_number
from src.files import write_atomically
from src.models.components.conditioning import Standardize
from src.models.onnx_export import Inputs, check_agreement, check_packages, measure_latency, open_session, to_onnx
from src.models.predictor import Predictor
from src.params import ParamSpec
from src.programs.output import PlainTable, RankedLogger, console, plain_table, say_where, sign_of_life
from src.programs.run_dirs import checkpoint_to_read
from src.recipe import source_of

log = RankedLogger(__name__)

BATCH_SIZES = (1, 256)  # that are compared and timed
FROM_DATASET = ("sample_rate", "duration", "channel_labels", "spectrogram_config", "mel_config")


def export(cfg: DictConfig) -> dict[str, float]:
    """Export as configured.

    Returns:
        The largest difference from PyTorch as a share of the range, and the latencies in milliseconds.
    """
    check_packages()
    check_settings(cfg)
    ckpt_path = checkpoint_to_read(cfg.run, cfg.ckpt_path, cfg.paths.log_dir)
    run = load_run(ckpt_path, cfg.trusted_modules)
    output = Path(cfg.output or default_output(ckpt_path))
    predictor = Predictor(run.module, natural=True)
    with sign_of_life("Converting ..."):
        content = to_onnx(predictor, describe(run, ckpt_path)).SerializeToString()
    session = open_session(content)
    samples = [random_inputs(run, batch_size) for batch_size in BATCH_SIZES]
    compared = [*samples, *stored_inputs(run, cfg)]
    with sign_of_life("Comparing with PyTorch ..."):
        difference = max(check_agreement(predictor, session, inputs, cfg.tolerance) for inputs in compared)
    write_atomically(output, content)
    latencies = {}
    for image, aux in samples:
        with sign_of_life(f"Measuring the latency, batches of {len(image)} ..."):
            latencies[len(image)] = measure_latency(predictor, session, (image, aux), cfg.repeats)
    console().print(latency_table(latencies))
    console().print(f"Largest difference from PyTorch: {difference:.1e} of a range, {len(compared)} batches compared")
    say_where(**{"ONNX file": output})
    return {"difference": difference} | {
        f"{runtime}_ms_{size}": latency for size, pair in latencies.items() for runtime, latency in pair.items()
    }


def check_settings(cfg: DictConfig) -> None:
    """Refuse settings that would fail only after the export."""
    check_number("repeats", cfg.repeats, whole=True, least=1)
    check_number("tolerance", cfg.tolerance, least=0)
    if cfg.output and Path(cfg.output).is_dir():
        raise ConfigError(
            f"output={cfg.output} is a directory; name the file, as in {Path(cfg.output) / 'model.onnx'}."
        )


def default_output(ckpt_path: Path) -> Path:
    """In the directory of the run, which holds `checkpoints/`; beside a checkpoint that was moved out of there."""
    directory = ckpt_path.parent
    run_dir = directory.parent if directory.name == "checkpoints" else directory
    return run_dir / f"{ckpt_path.stem}.onnx"


def describe(run: Run, ckpt_path: Path) -> dict[str, Any]:
    """Description of the file as plain data: what its inputs mean, order, names and units of its outputs."""
    info = run.info.to_dict()
    source = source_of(run.info) or {}
    recipe = source or (info.get("generator") or {}).get("config", {})
    temperatures = run.module.temperature.tolist()
    return {
        "project": "neural-spectral-modeling",
        "version": __version__,
        "experiment_name": run.config.get("experiment_name", ""),
        "checkpoint": ckpt_path.name,
        "heads": [
            describe_head(spec) | {"temperature": temperature if spec.categorical else None}
            for spec, temperature in zip(run.info.parameters, temperatures, strict=True)
        ],
        "image_shape": list(run.info.image_shape),
        "aux": list(run.config["data"]["aux"]),
        "dataset": info.get("dataset_name", ""),
        **{key: info.get(key) for key in FROM_DATASET},
        **{key: recipe.get(key) for key in ("representation", "channels")},
        "frames": {key: source.get(key) for key in ("hop", "silence")} if source else None,
    }


def describe_head(spec: ParamSpec) -> dict[str, Any]:
    """A head as plain data: what a generator configuration says of its parameter, in natural units."""
    ends = {key: float(spec.natural_from_value(np.float64(getattr(spec, key)))) for key in ("min", "max", "step")}
    same = {key: getattr(spec, key) for key in ("name", "names", "description", "kind", "scale", "active_if")}
    return same | ends | {"units": spec.natural_units}


def random_inputs(run: Run, batch_size: int) -> Inputs:
    """Noise as images, and conditioning inputs with the mean and the spread of the training set."""
    rng = np.random.default_rng(batch_size)
    image = rng.integers(0, 256, (batch_size, *run.info.image_shape), dtype=np.uint8)
    aux = rng.standard_normal((batch_size, len(run.config["data"]["aux"])), dtype=np.float32)
    for part in run.module.modules():
        if isinstance(part, Standardize):
            return image, aux * part.std.numpy() + part.mean.numpy()
    return image, aux


def stored_inputs(run: Run, cfg: DictConfig) -> list[Inputs]:
    """A list of one batch of the training's dataset, of test samples if it has any; empty where the dataset is gone."""
    data_dir = Path(cfg.data_dir or run.config["data"].get("data_dir", ""))
    if not data_dir.is_dir():
        log.warning("%s: no dataset there, so only random images are compared.", data_dir)
        return []
    datamodule: VIMHDataModule = restore_datamodule(run, cfg.trusted_modules, data_dir=cfg.data_dir)
    has_test = datamodule.info.test_samples > 0
    loader = datamodule.test_dataloader() if has_test else datamodule.val_dataloader()
    batch = next(iter(loader))[0]  # of the first chunk
    return [(batch["image"].numpy(), batch["aux"].numpy())]


def latency_table(latencies: dict[int, dict[str, float]]) -> PlainTable:
    """A row per batch size."""
    table = plain_table("Median latency on one thread", ("batch",), ("PyTorch", "onnxruntime"))
    for batch_size, pair in latencies.items():
        table.add_row(str(batch_size), *(f"{pair[runtime]:.3f} ms" for runtime in ("pytorch", "onnxruntime")))
    return table
