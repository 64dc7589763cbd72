"""The line that says what a training or a test is of, why a training ended early, and what it waited for."""

from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping

from src.data.vimh_datamodule import VIMHDataModule
from src.models.vimh_module import VIMHLitModule
from src.programs.output import announce
from src.programs.sweep import is_sweep


def announce_run(
    title: str,
    datamodule: VIMHDataModule,
    module: VIMHLitModule,
    trainer: Trainer,
    seed: int | None = None,
    split: str | None = None,
) -> None:
    """Print what runs: data, network and device, in one line. For a job of a sweep, Hydra has said it.

    Args:
        title: What the line begins with.
        datamodule: Of the dataset.
        module: With the network.
        trainer: Knows the devices.
        seed: Of everything random; None says nothing of it.
        split: What is evaluated, `train`, `val` or `test`; None: a training, that is, of all splits.
    """
    if is_sweep():
        return
    n_devices, kind = trainer.num_devices * trainer.num_nodes, trainer.strategy.root_device.type
    device = f"{n_devices} × {kind}" if n_devices > 1 else kind
    seeded = "" if seed is None else f", seed {seed}"
    data = f"{title}{sounds_of(datamodule, split)} of "
    announce(data, datamodule.data_dir.name, f", {network_of(module)}, {device}{seeded}")


def sounds_of(datamodule: VIMHDataModule, split: str | None = None) -> str:
    """How many sounds there are, or pictures, in words; `split` as in `announce_run`."""
    info = datamodule.info
    noun = "sounds" if info.sample_rate else "pictures"
    if split == "train":
        return f"{len(datamodule.train_set):,} training {noun}"
    if split == "val":
        return f"{len(datamodule.val_set):,} validation {noun}"
    if split == "test":
        return f"{info.test_samples:,} test {noun}"
    if datamodule.recordings is not None:
        return f"{info.train_samples + info.test_samples:,} {noun}, perturbed anew in every epoch,"
    if datamodule.stream:
        return f"{datamodule.stream_size or len(datamodule.train_set):,} fresh {noun} an epoch, after those"
    return f"{info.train_samples + info.test_samples:,} {noun}"


def network_of(module: VIMHLitModule) -> str:
    """A network and its size in words: the option of the group `model` where one was chosen, or else its class."""
    chosen = HydraConfig.get().runtime.choices.get("model") if HydraConfig.initialized() else None
    n_weights = sum(weight.numel() for weight in module.net.parameters())
    return f"{chosen or type(module.net).__name__} ({n_weights:,} weights)"


def early_end(trainer: Trainer) -> str | None:
    """Why a training ended before its last epoch, in a sentence; None where it did not, or nothing is known of it."""
    stopping = trainer.early_stopping_callback
    if not isinstance(stopping, EarlyStopping) or not stopping.stopped_epoch:
        return None
    return (
        f"Stopped early: {stopping.monitor} has not improved for {stopping.wait_count} validations "
        f"(callbacks.early_stopping.patience={stopping.patience})."
    )


def waiting(datamodule: VIMHDataModule, seconds: float) -> str | None:
    """What fresh or perturbed sounds cost a training, in a sentence; None where it was trained on stored ones.

    Args:
        datamodule: Has trained.
        seconds: Of the whole training.
    """
    if not datamodule.makes_sounds:
        return None
    kind, worked, waited = "Fresh" if datamodule.stream else "Perturbed", datamodule.worked, datamodule.waited
    share = 100 * waited / max(seconds, waited, 1e-9)
    return (
        f"{kind} sounds took {worked:.1f} s of processor time; the training waited {waited:.1f} of its {seconds:.1f} s "
        f"for them ({share:.0f} %)."
    )
