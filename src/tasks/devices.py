"""The accelerator that a configuration asks for, and those of this machine."""

from lightning.pytorch.accelerators import AcceleratorRegistry
from omegaconf import DictConfig

from src.errors import ConfigError, check_choice

GPUS = ("cuda", "mps")


def check_accelerator(cfg: DictConfig) -> None:
    """Refuse an accelerator that this machine does not have, or more GPUs than it has.

    Args:
        cfg: The section `trainer`.

    Raises:
        ConfigError: Saying what there is.
    """
    wanted, devices = cfg.get("accelerator", "auto"), cfg.get("devices", "auto")
    if not isinstance(wanted, str):  # one of the user's own
        return
    kinds = {name: AcceleratorRegistry[name]["accelerator"] for name in AcceleratorRegistry}
    check_choice("trainer.accelerator", wanted, ("auto", "gpu", *kinds))
    found = {name: kind.auto_device_count() for name, kind in kinds.items() if kind.is_available()}
    usable = {"auto": kinds.keys(), "gpu": GPUS}.get(wanted, [wanted])
    count = sum(found.get(name, 0) for name in usable)
    n_wanted = devices if isinstance(devices, int) else 1
    if count == 0 or ("cpu" not in usable and n_wanted > count):
        here = ", ".join(name if name == "cpu" else f"{found[name]} x {name}" for name in sorted(found))
        raise ConfigError(
            f"trainer.accelerator={wanted} with trainer.devices={devices}: this machine does not have that, only "
            f"{here}. Choose trainer=default, which takes the first accelerator that there is, or trainer=cpu."
        )
