"""What makes images of recordings, and what happens to them before: options of `configs`, composed and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.errors import HydraException, InstantiationException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.errors import ConfigError, NSMError
from src.hydra_versions import initialize_configs, instantiate
from src.perturb.chain import Perturbation
from src.perturb.effects import Effect, VoiceParameter
from src.programs.command_line import config_names
from src.programs.explain import find_cause
from src.programs.old_names import answer_to_old_name
from src.recordings import Framing
from src.spectral.representation import Representation

SECTIONS = ("representation", "channels")  # of a configuration: what makes images of sounds
PERTURB = "perturb"  # what happens to sounds before
NO_SETTINGS = ("_target_", "sample_rate", "duration")  # of a representation: options of their own say these


@dataclass(frozen=True)
class ImageChoices:
    """What a user chooses of how recordings become images.

    Attributes:
        representation: Of configs/representation.
        channels: Names of configs/channels.
        perturb: Of configs/perturb; None: nothing happens to the sounds.
        settings: Key, such as `height` or `channels.windows.max_db`, and value of each setting.
    """

    representation: str = "stft"
    channels: Sequence[str] = ()
    perturb: str | None = None
    settings: Sequence[tuple[str, str]] = ()


def image_config(chosen: ImageChoices, framing: Framing, config_dir: Path) -> dict[str, Any]:
    """The sections `representation`, `channels` and, if something happens to the sounds, `perturb`: plain and resolved.

    Raises:
        ConfigError: If there is no such option or setting.
    """
    options = [f"+representation={chosen.representation}"]
    options += [f"channels=[{','.join(chosen.channels)}]"] if chosen.channels else []
    if answer := answer_to_old_name(options):
        raise ConfigError(answer)
    groups = {"representation": [chosen.representation], "channels": chosen.channels}
    groups |= {} if chosen.perturb is None else {PERTURB: [chosen.perturb]}
    for group, names in groups.items():
        _check_option(config_dir, group, names)
    options += [f"{PERTURB}={chosen.perturb}"] if chosen.perturb else []
    options += [f"dataset.sample_rate={framing.sample_rate}", f"dataset.duration={framing.duration}"]
    with initialize_configs(config_dir):
        _check_settings(chosen, compose("generate", options)["representation"])
        sections = _composed([*options, *(f"{_place_of(name)}={value}" for name, value in chosen.settings)], chosen)
    return {name: section for name, section in sections.items() if section or name != PERTURB}


def _place_of(name: str) -> str:
    """Where a setting stands in the configuration."""
    return name if name.split(".")[0] in ("channels", PERTURB) else f"representation.{name}"


def _composed(overrides: Sequence[str], chosen: ImageChoices) -> dict[str, Any]:
    """The sections of a configuration, plain and resolved."""
    try:
        cfg = compose("generate", [*overrides])
        wanted = (*SECTIONS, PERTURB)
        return {key: OmegaConf.to_container(cfg[key], resolve=True, throw_on_missing=True) for key in wanted}
    except (HydraException, OmegaConfBaseException) as error:
        given = " ".join(f"--set {name}={value}" for name, value in chosen.settings)
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(
            f"{given}: {reason}. configs/representation, configs/channels and configs/perturb show what can be set."
        ) from error


def _check_option(config_dir: Path, group: str, names: Sequence[str]) -> None:
    """Refuse what is no option of a group of configurations."""
    known = config_names(config_dir / group, "*")
    for name in names:
        if name not in known:
            raise ConfigError(f"--{group} {','.join(names)!r}: {name!r} is none of {', '.join(known)}.")


def _check_settings(chosen: ImageChoices, representation: Mapping[str, Any]) -> None:
    """Refuse settings that a representation does not have."""
    known = [name for name in representation if name not in NO_SETTINGS]
    unknown = [name for name, _ in chosen.settings if name.split(".")[0] not in (*known, "channels", PERTURB)]
    if unknown:
        raise ConfigError(
            f"--set {', '.join(unknown)}: --representation {chosen.representation} has no such setting; it has "
            f"{', '.join(known) or 'none'}."
        )


def make_representation(config: Mapping[str, Any]) -> Representation:
    """What makes images of sounds, from the sections `representation` and `channels`.

    Raises:
        ConfigError: If it cannot be made.
    """
    return _made("The representation", config["representation"], channels=config["channels"])


def make_perturbation(config: Mapping[str, Any], framing: Framing) -> Perturbation | None:
    """What happens to sounds before their images are made, from the section `perturb`; None if nothing does.

    Effects that vary a voice, such as the phase of an oscillator, are left out: recordings have none.

    Raises:
        ConfigError: If an effect cannot be made, cannot happen to such sounds, or none is left.
    """
    sections = config.get(PERTURB, {})
    made = {name: _made(f"perturb.{name}", section) for name, section in sections.items()}
    return perturbation_of_recordings(made, framing, "--perturb") if made else None


def perturbation_of_recordings(effects: Mapping[str, Effect], framing: Framing, option: str) -> Perturbation:
    """The same from effects, in their order.

    Args:
        effects: Name to effect.
        framing: How sounds are cut.
        option: What chose them, for messages.
    """
    left = {name: effect for name, effect in effects.items() if not isinstance(effect, VoiceParameter)}
    if not left:
        raise ConfigError(f"{option}: {', '.join(effects)} varies a voice alone, which recordings do not have.")
    return Perturbation(left, framing.sample_rate, framing.n_samples)


def _made(what: str, section: Mapping[str, Any], **arguments: Any) -> Any:
    """The object that a section describes."""
    try:
        return instantiate(section, **arguments)
    except InstantiationException as error:
        reason = " ".join(str(find_cause(error, NSMError) or error).split())
        raise ConfigError(f"{what} cannot be made: {reason}") from error
