"""Error bars after a training: fitted to each sound on some held-out sounds, made conformal on others.

The sounds that choose a checkpoint, that fit the spread and that set its scale are three divisions. Every checkpoint
that is used afterwards gets its own spread: a training that ends otherwise leaves the scale of its last validation.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from src.checkpoints.reading import read_checkpoint
from src.data.vimh_datamodule import VIMHDataModule
from src.errors import NSMError
from src.files import write_atomically
from src.models.spread import LEAST_SOUNDS, joined
from src.models.vimh_module import VIMHLitModule
from src.programs.output import RankedLogger, sign_of_life

log = RankedLogger(__name__)


def calibrate(trainer: Trainer, model: VIMHLitModule, datamodule: VIMHDataModule) -> None:
    """Calibrate the checkpoints that a training has left, or the weights in memory where it left none.

    A file is replaced by one that is the same but for the calibration, so that a resumed training is that of the
    original. The first process does it, on its device; the others wait.
    """
    if not trainer.fast_dev_run and trainer.is_global_zero:  # type: ignore[attr-defined]  # set from outside
        paths = saved_checkpoints(trainer)
        try:
            if paths:
                calibrate_files(paths, trainer.strategy.root_device, model, datamodule)
            else:
                log.info("%s", calibrate_module(model, datamodule))
        except NSMError as error:
            log.warning("Error bars have one scale for all sounds: %s", error)
    trainer.strategy.barrier("calibrate")


def saved_checkpoints(trainer: Trainer) -> list[Path]:
    """The best and the last checkpoints of a training that are files."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it from outside
    saving = [callback for callback in callbacks if isinstance(callback, ModelCheckpoint)]
    names = [name for callback in saving for name in (callback.best_model_path, callback.last_model_path)]
    return [Path(name) for name in dict.fromkeys(names) if name and Path(name).is_file()]


def calibrate_files(
    paths: Sequence[Path], device: torch.device, model: VIMHLitModule, datamodule: VIMHDataModule
) -> None:
    """Calibrate the weights in checkpoints of a training; those of the same step are the same weights.

    The weights that the module has in memory are there again afterwards.
    """
    own = copied(model.state_dict())
    found: dict[int, dict[str, Tensor]] = {}
    said: dict[str, None] = {}
    try:
        for path in paths:
            checkpoint = read_checkpoint(path)
            step = checkpoint["global_step"]
            if step not in found:
                model.load_state_dict(checkpoint["state_dict"])
                model.to(device)
                said[calibrate_module(model, datamodule)] = None
                found[step] = {name: tensor for name, tensor in copied(model.state_dict()).items() if is_found(name)}
            checkpoint["state_dict"] |= found[step]
            content = io.BytesIO()
            torch.save(checkpoint, content)
            write_atomically(path, content.getvalue())
    finally:
        model.cpu()
        model.load_state_dict(own)
    for sentence in said:
        log.info("%s", sentence)


def copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by name, in memory of their own on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


def is_found(name: str) -> bool:
    """Whether a name in the state of a module is that of something which is found by calibration."""
    return name == "joint_scale" or name.startswith("spread.")


def calibrate_module(model: VIMHLitModule, datamodule: VIMHDataModule, least: int = LEAST_SOUNDS) -> str:
    """Fit and scale the error bars of the weights in a module, which is in eval mode afterwards.

    Args:
        model: The module.
        datamodule: Has the sounds to calibrate on.
        least: Sounds that are needed to fit a head's; with fewer it has one scale for all.

    Returns:
        What was done, a sentence.

    Raises:
        NSMError: If sounds to calibrate on cannot be made.
    """
    sets = datamodule.calibration_sets()
    if sets is None:
        return "Error bars have one scale for all sounds, set on the validation sounds: no others are held out."
    model.eval()
    model.spread.reset()
    with sign_of_life("Calibrating the error bars ..."):
        fit, scale = ([torch.cat(column) for column in zip(*seen(model, part), strict=True)] for part in sets)
        fitted = bool(model.spread.fit(fit[0], fit[1], least=least).any())
        if not fitted:
            scale = [torch.cat(pair) for pair in zip(fit, scale, strict=True)]
        set_scale(model, *scale)
    n_fit, n_scale = len(fit[0]), len(scale[0])
    if fitted:
        return f"Error bars were fitted to each sound on {n_fit:,} held-out sounds, and scaled on {n_scale:,} others."
    return (
        f"Error bars have one scale for all sounds, set on {n_scale:,} held-out ones; with {3 * least // 2:,} they "
        "would be fitted to each sound."
    )


@torch.inference_mode()
def seen(model: VIMHLitModule, batches: Iterable[Mapping[str, Tensor]]) -> Any:
    """For each batch the outputs of all heads, and errors over standard deviations, NaN for what does not count.

    Standard deviations are those of the loss times `std_scale`.
    """
    for batch in batches:
        logits = model(batch["image"].to(model.device), batch["aux"].to(model.device))
        outputs = [logits[name] for name in model.names]
        said = model.decoder(outputs)
        heads = model.heads
        error = (said.normalized - batch["normalized"].to(model.device)).abs() * heads.n_steps
        counts = heads.active_from_index(batch["index"].to(model.device)) & ~heads.categorical
        deviation = (error / (said.std * model.std_scale)).masked_fill(~counts, torch.nan)
        yield joined(outputs).cpu(), deviation.cpu()


@torch.no_grad()
def set_scale(model: VIMHLitModule, outputs: Tensor, deviation: Tensor) -> None:
    """Make the spread of a module conformal, and find its joint scale.

    Args:
        model: With its spread, fitted or not.
        outputs: Of sounds that nothing was fitted to, `(sound, n_inputs)`.
        deviation: Of the same, `(sound, head)`.
    """
    counts, spread = model.counts["test"], model.spread
    outputs, deviation = outputs.to(model.device), deviation.to(model.device)
    spread.rescale(counts.scale_of(deviation / spread.of(outputs)))
    model.joint_scale.copy_(counts.joint_of(deviation / spread.of(outputs)))
