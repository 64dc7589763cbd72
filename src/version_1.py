"""Configurations of version 1, in the names of version 2.

Version 2 has the sections `representation` and `channels` in place of `spectral`, one channel `LogPower` for a list of
windows, networks that take no description of the dataset in their configuration, and modules in other packages.
"""

from collections.abc import Mapping
from typing import Any

from src.plain import MAX_DEPTH

MOVED = {
    "src.utils.trusted.instantiate_trusted": "src.checkpoints.trusted.instantiate_trusted",
    "src.evaluation.plots.pair_figure": "src.pictures.plots.pair_figure",
}
GIVEN_TO_NETWORKS = ("input_shape", "head_sizes", "n_aux", "aux_mean", "aux_std")  # by `build_model`, in every version
LOG_POWER = "src.spectral.channels.LogPower"


def from_version_1(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of version 1 in the names of version 2."""
    config = _split_spectral(_moved(config))
    model = config.get("model")
    if isinstance(model, Mapping) and isinstance(model.get("net"), Mapping):
        net = {key: item for key, item in model["net"].items() if key not in GIVEN_TO_NETWORKS}
        config["model"] = {**model, "net": net}
    return config


def _moved(node: Any, depth: int = 0) -> Any:
    """Nested plain data with every `_target_` of `MOVED` replaced."""
    if depth > MAX_DEPTH:  # is refused where it is used, and not migrated here
        return node
    if isinstance(node, Mapping):
        found = {key: _moved(item, depth + 1) for key, item in node.items()}
        target = found.get("_target_")
        return found | {"_target_": MOVED[target]} if isinstance(target, str) and target in MOVED else found
    return [_moved(item, depth + 1) for item in node] if isinstance(node, list) else node


def _split_spectral(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with the section `spectral` divided into `representation` and `channels`."""
    spectral = config.get("spectral")
    if not isinstance(spectral, Mapping):
        return config
    representation = {key: item for key, item in spectral.items() if key != "channels"}
    channels = spectral.get("channels", {})
    if isinstance(channels, Mapping):
        channels = _merged_windows(channels, representation.get("win_length"))
    others = {key: item for key, item in config.items() if key != "spectral"}
    return others | {"representation": representation, "channels": channels}


def _merged_windows(channels: Mapping[str, Any], first_length: Any) -> dict[str, Any]:
    """Channels in which neighbours that differ in the length of their window alone are one.

    Args:
        channels: Name to channel.
        first_length: Window of the representation, samples.
    """
    merged: dict[str, Any] = {}
    for name, channel in channels.items():
        if not isinstance(channel, Mapping) or channel.get("_target_") != LOG_POWER:
            merged[name] = channel
            continue
        settings = {key: item for key, item in channel.items() if key not in ("win_ratio", "win_length")}
        ratio, length = channel.get("win_ratio", 1.0), channel.get("win_length")
        if isinstance(length, int) and isinstance(first_length, int):
            ratio = length / first_length
        before = next(reversed(merged.values()), None)
        if isinstance(before, Mapping) and before == settings | {"ratios": before.get("ratios")}:
            before["ratios"].append(ratio)
        else:
            merged["windows" if "windows" not in merged else name] = settings | {"ratios": [ratio]}
    return merged
