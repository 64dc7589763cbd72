"""What of a generator configuration decides the bytes of a dataset, and what its sections say."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from pydantic import Field, FiniteFloat

from src.errors import ConfigError
from src.params import SAMPLINGS, Sampling
from src.perturb.chain import Perturbation
from src.sections import Section, WholeNumber
from src.synth.base import Synth, count_samples

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = ("dataset", "synth", "parameters", "representation", "channels")
ORDERED = ("channels", "perturb")  # sections whose entries mean something by their order
PERTURB = "perturb"  # a section that is there if it holds something
NOT_IN_FILES = ("name", "suffix")  # of the section `dataset`: they change where a set lies, not what is in it


class DatasetSection(Section):
    """The section `dataset` of a generator configuration.

    Attributes:
        size: Number of samples, train and test together.
        train_fraction: Share of the samples that train.
        seed: Of the parameter values.
        sampling: How the values are drawn: see `ParameterSpace.sample`.
        sample_rate: Hz.
        duration: s.
        synth_type: Short name of the synth, part of the directory's name.
    """

    size: int = Field(ge=2, description="it must be a whole number of 2 or more: one to train, one to test")
    train_fraction: float = Field(gt=0, lt=1, description="it must be above 0 and below 1")
    seed: WholeNumber
    sampling: Sampling = Field(description=f"choose one of {', '.join(SAMPLINGS)}")
    sample_rate: int | FiniteFloat = Field(gt=0, description="it must be a number above 0")
    duration: FiniteFloat = Field(gt=0, description="it must be a number above 0")
    synth_type: str = Field(pattern="^[^/]*$", description="it must be a short name, without a slash")


def recipe_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a configuration decides the bytes of a dataset, plain and resolved: no paths, threads or batch sizes."""
    if not isinstance(config, Mapping):
        raise ConfigError(
            f"The generator's configuration is {config!r}; it must have the sections {', '.join(SECTIONS)}."
        )
    sections: Any = {key: config.get(key) for key in SECTIONS}
    if config.get(PERTURB):  # without effects it is not there, as in datasets that were made before there was one
        sections[PERTURB] = config.get(PERTURB)
    if OmegaConf.is_config(config):  # one out of a file is plain, and nothing in it is resolved
        sections = OmegaConf.to_container(OmegaConf.create(sections), resolve=True, throw_on_missing=True)
    for key, section in sections.items():
        if not isinstance(section, Mapping):
            raise ConfigError(f"{key} is {section!r}; it must be a section, as {', '.join(SECTIONS)} are.")
    dataset = {key: item for key, item in sections["dataset"].items() if key not in NOT_IN_FILES}
    return sections | {"dataset": dataset}


def differences(stored: Any, wanted: Any, key: str = "") -> list[str]:
    """Where two plain configurations differ, a line a key."""
    if isinstance(stored, Mapping) and isinstance(wanted, Mapping):
        if key in ORDERED and stored.keys() == wanted.keys() and list(stored) != list(wanted):
            return [f"{key}: in the order {', '.join(stored)} there, {', '.join(wanted)} asked for"]
        keys = [*stored, *(name for name in wanted if name not in stored)]
        missing = "(absent)"
        return [
            line
            for name in keys
            for line in differences(stored.get(name, missing), wanted.get(name, missing), f"{key}.{name}".lstrip("."))
        ]
    return [] if stored == wanted else [f"{key}: {stored} there, {wanted} asked for"]


def perturbation_of(config: Mapping[str, Any], synth: Synth, instantiate: Callable[..., Any]) -> Perturbation | None:
    """What the section `perturb` of a plain configuration means for sounds of a synth; None if it is not there."""
    sections = config.get(PERTURB)
    if not sections:
        return None
    effects = {
        name: instantiate(section, slot="effect") if isinstance(section, Mapping) and "_target_" in section else section
        for name, section in sections.items()
    }
    perturbation = Perturbation(effects, synth.sample_rate, count_samples(synth.sample_rate, synth.duration))
    check_voice(perturbation, synth)
    for name, parameter in perturbation.voice_parameters.items():
        if parameter in config["parameters"]:
            raise ConfigError(
                f"perturb.{name} varies {parameter}, which stands in parameters as well; leave one of them out."
            )
    return perturbation


def check_voice(perturbation: Perturbation, synth: Synth) -> None:
    """Refuse a perturbation that varies what a synth does not know.

    Raises:
        ConfigError: Naming the effect.
    """
    for name, parameter in perturbation.voice_parameters.items():
        if parameter not in synth.defaults:
            raise ConfigError(
                f"perturb.{name} varies {parameter}, which {type(synth).__name__} does not know; it knows "
                f"{', '.join(synth.defaults)}. Leave it out: '~perturb.{name}'."
            )
