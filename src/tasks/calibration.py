"""Error bars and probabilities after a training, on sounds that were not trained on.

Error bars are fitted to each sound on some of them, and made conformal on others. The sounds that choose a checkpoint,
that fit the spread and that set its scale are three divisions. Every checkpoint that is used afterwards gets its own
spread: a training that ends otherwise leaves the scale of its last validation. Probabilities of classes have one number
to be found, a temperature: both divisions serve, and the validation sounds where there are none.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from src.checkpoints.atomic import LAST_NAME
from src.checkpoints.reading import read_checkpoint
from src.data.vimh_datamodule import CALIBRATION_PIECE, VIMHDataModule
from src.data.vimh_dataset import Samples
from src.errors import NSMError
from src.files import write_atomically
from src.models.spread import LEAST_SOUNDS, joined
from src.models.temperature import fit_temperature
from src.models.vimh_module import VIMHLitModule
from src.programs.output import RankedLogger, sign_of_life

log = RankedLogger(__name__)


def calibrate(trainer: Trainer, model: VIMHLitModule, datamodule: VIMHDataModule) -> None:
    """Calibrate the checkpoints that a training has left, or the weights in memory where it left none.

    A file is replaced by one that is the same but for the calibration, so that a resumed training is that of the
    original. The first process does it, on its device; the others wait. The run's log file says what was done.
    """
    if not trainer.fast_dev_run and trainer.is_global_zero:  # type: ignore[attr-defined]  # set from outside
        if paths := saved_checkpoints(trainer):
            calibrate_files(paths, trainer.strategy.root_device, model, datamodule)
        else:
            log.debug("%s", calibrate_module(model, datamodule))
    trainer.strategy.barrier("calibrate")


def saved_checkpoints(trainer: Trainer) -> list[Path]:
    """The best and the last checkpoints of a training that are files."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it from outside
    saving = [callback for callback in callbacks if isinstance(callback, ModelCheckpoint)]
    names = [name for callback in saving for name in (callback.best_model_path, callback.last_model_path)]
    # Spawned processes tell this one what the first callback wrote, and nothing of the others.
    last = [Path(callback.dirpath, LAST_NAME) for callback in saving if callback.dirpath]
    return [path for path in dict.fromkeys([*(Path(name) for name in names if name), *last]) if path.is_file()]


def calibrate_files(
    paths: Sequence[Path], device: torch.device, model: VIMHLitModule, datamodule: VIMHDataModule
) -> None:
    """Calibrate the weights in checkpoints of a training; those of the same step are the same weights.

    The weights that the module has in memory are there again afterwards. What is said is about the first file, the
    best one, which is tested.
    """
    own = copied(model.state_dict())
    found: dict[int, dict[str, Tensor]] = {}
    said: list[str] = []
    try:
        for path in paths:
            checkpoint = read_checkpoint(path)
            step = checkpoint["global_step"]
            if step not in found:
                model.load_state_dict(checkpoint["state_dict"])
                model.to(device)
                said.append(calibrate_module(model, datamodule))
                found[step] = {name: tensor for name, tensor in copied(model.state_dict()).items() if is_found(name)}
            checkpoint["state_dict"] |= found[step]
            content = io.BytesIO()
            torch.save(checkpoint, content)
            write_atomically(path, content.getvalue())
    finally:
        model.cpu()
        model.load_state_dict(own)
    log.debug("%s", said[0])


def copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by name, in memory of their own on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


def is_found(name: str) -> bool:
    """Whether a name in the state of a module is that of something which is found by calibration."""
    return name in ("joint_scale", "temperature") or name.startswith("spread.")


class Seen(NamedTuple):
    """What a network says of some sounds, on the CPU.

    Attributes:
        outputs: Of all heads (`joined`), `(sound, n_inputs)`.
        deviation: Absolute errors over standard deviations, those of the loss times `std_scale`; NaN for what does not
            count, `(sound, head)`.
        index: True class, int64; -1 where a head does not act, `(sound, head)`.
        logits: Of every category, `(sound, class)`.
    """

    outputs: Tensor
    deviation: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs
    logits: tuple[Tensor, ...]

    @classmethod
    def of(cls, parts: "Sequence[Seen]") -> "Seen":
        """All sounds of some parts, of which there is at least one."""
        outputs, deviation, index = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("outputs", "deviation", "index")
        )
        logits = tuple(torch.cat(of_head) for of_head in zip(*(part.logits for part in parts), strict=True))
        return cls(outputs, deviation, index, logits)

    def and_others(self, others: "Seen") -> "Seen":
        """These sounds, and others after them."""
        return Seen.of([self, others])


def calibrate_module(model: VIMHLitModule, datamodule: VIMHDataModule, least: int = LEAST_SOUNDS) -> str:
    """Calibrate the error bars and the probabilities of the weights in a module, which is in eval mode afterwards.

    Args:
        model: The module.
        datamodule: Has the sounds to calibrate on.
        least: Sounds that are needed to fit a head's error bars; with fewer it has one scale for all.

    Returns:
        What was done, a sentence or two.
    """
    model.eval()
    model.spread.reset()
    said = []
    with sign_of_life("Calibrating the network ..."):
        found = held_out(model, datamodule)
        if not model.heads.categorical.all():
            said.append(found if isinstance(found, str) else calibrate_error_bars(model, *found, least))
        if model.heads.any_categorical:
            if isinstance(found, str):
                own, which = seen(model, in_pieces(datamodule.val_set)), "validation"
            else:
                own, which = Seen.of(found), "held-out"
            said.append(calibrate_probabilities(model, own, which))
    return " ".join(said)


def held_out(model: VIMHLitModule, datamodule: VIMHDataModule) -> "tuple[Seen, Seen] | str":
    """What a network says of the sounds that fit error bars, and of those that scale them; or why there are none."""
    try:
        sets = datamodule.calibration_sets()
        if sets is None:
            return "Error bars have one scale for all sounds, set on the validation sounds: no others are held out."
        return seen(model, sets[0]), seen(model, sets[1])
    except NSMError as error:
        return f"Error bars have one scale for all sounds: {error}"


def in_pieces(samples: Samples) -> Iterator[Mapping[str, Tensor]]:
    """Samples as batches, a piece at a time."""
    for first in range(0, len(samples), CALIBRATION_PIECE):
        yield samples[first : first + CALIBRATION_PIECE]


@torch.inference_mode()
def seen(model: VIMHLitModule, batches: Iterable[Mapping[str, Tensor]]) -> Seen:
    """What a network says of batches, of which there is at least one."""
    return Seen.of([see(model, batch) for batch in batches])


def see(model: VIMHLitModule, batch: Mapping[str, Tensor]) -> Seen:
    """What a network says of a batch."""
    image, aux, normalized, index = (batch[key].to(model.device) for key in ("image", "aux", "normalized", "index"))
    logits = model(image, aux)
    outputs = [logits[name] for name in model.names]
    said, heads = model.decoder(outputs), model.heads
    acts = heads.active_from_index(index)
    error = (said.normalized - normalized).abs() * heads.n_steps
    deviation = (error / (said.std * model.std_scale)).masked_fill(~acts | heads.categorical, torch.nan)
    of_categories = tuple(logits[spec.name].cpu() for spec in model.specs if spec.categorical)
    return Seen(joined(outputs).cpu(), deviation.cpu(), index.masked_fill(~acts, -1).cpu(), of_categories)


def calibrate_error_bars(model: VIMHLitModule, fit: Seen, scale: Seen, least: int) -> str:
    """Fit the error bars to some sounds, and scale them on others; says what was done."""
    fitted = bool(model.spread.fit(fit.outputs, fit.deviation, least=least).any())
    if not fitted:
        scale = fit.and_others(scale)
    set_scale(model, scale.outputs, scale.deviation)
    n_fit, n_scale = len(fit.outputs), len(scale.outputs)
    if fitted:
        return f"Error bars were fitted to each sound on {n_fit:,} held-out sounds, and scaled on {n_scale:,} others."
    return (
        f"Error bars have one scale for all sounds, set on {n_scale:,} held-out ones; with {3 * least // 2:,} they "
        "would be fitted to each sound."
    )


def calibrate_probabilities(model: VIMHLitModule, sounds: Seen, which: str) -> str:
    """Find the temperature of every category; says what was done."""
    categories = [head for head, spec in enumerate(model.specs) if spec.categorical]
    for head, logits in zip(categories, sounds.logits, strict=True):
        acts = sounds.index[:, head] >= 0
        model.temperature[head] = fit_temperature(logits[acts], sounds.index[acts, head])
    found = ", ".join(f"{model.names[head]} {model.temperature[head]:.2f}" for head in categories)
    return f"Probabilities of classes were calibrated on {len(sounds.index):,} {which} samples; temperature: {found}."


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
