"""Objects from a configuration that came out of a file.

A checkpoint or a dataset may come from a stranger, and `hydra.utils.instantiate` calls whatever `_target_` names. Many
classes of well-known packages delete files or open connections when they are made. So each place of a stored
configuration is a slot with an exact list of classes, `SLOTS`, and every class has to be of the slot's kind. All of a
configuration is checked before anything that it names is imported.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from src.errors import CheckpointError, ConfigError, NSMError
from src.hydra_versions import instantiate
from src.plain import check_plain, reason, shown

MAX_SECTION = 10_000  # parts of a section
CONVERSIONS = ("none", "partial", "all")


@dataclass(frozen=True)
class Slot:
    """What may stand in a place of a stored configuration.

    Attributes:
        classes: Dotted names, exactly these.
        kind: Dotted name of the class that all inherit from; empty where any class with the methods will do.
        methods: That all have.
        inside: Key of the section to the slot of what stands there; `*` for every key that is not named.
        is_partial: Whether the file may say `_partial_`.
        reading: Classes of ours that read files at paths out of the section. A path in a stranger's file would read
            what is on this machine, so that they stand on no list: `trusted_modules` admits them.
    """

    classes: tuple[str, ...]
    kind: str = ""
    methods: tuple[str, ...] = ()
    inside: Mapping[str, str] = field(default_factory=dict)
    is_partial: bool = False
    reading: tuple[str, ...] = ()


def _inside(package: str, *names: str) -> tuple[str, ...]:
    """Dotted names of classes in a package, a word each."""
    return tuple(f"{package}.{name}" for name in " ".join(names).split())


def _of_torch(package: ModuleType, names: str) -> tuple[str, ...]:
    """The same for a package of PyTorch, whose classes are also called by the file that they stand in."""
    classes = [getattr(package, name) for name in names.split()]
    return (*_inside(package.__name__, names), *(f"{kind.__module__}.{kind.__name__}" for kind in classes))


SLOTS = {
    "module": Slot(
        ("src.models.vimh_module.VIMHLitModule",),
        kind="lightning.pytorch.LightningModule",
        inside={"net": "network", "optimizer": "optimizer", "scheduler": "scheduler"},
    ),
    "network": Slot(
        _inside(
            "src.models.components",
            *(
                "bc_resnet.BCResNet",
                "cnn.SpectralCNN",
                "conv6.Conv6",
                "convnext.ConvNeXt",
                "harmonic.HarmonicCNN",
                "mlp.MLP",
                "vit.VisionTransformer",
                "wave_cnn.WaveCNN",
            ),
        ),
        kind="torch.nn.Module",
        inside={"*": "layer"},
    ),
    "layer": Slot(
        _of_torch(
            torch.nn,
            "CELU ELU GELU GLU Hardsigmoid Hardswish Hardtanh Identity LeakyReLU LogSigmoid Mish PReLU ReLU ReLU6 SELU "
            "Sigmoid SiLU Softplus Softsign Tanh Dropout Dropout1d Dropout2d BatchNorm1d BatchNorm2d GroupNorm "
            "InstanceNorm1d InstanceNorm2d LayerNorm RMSNorm LocalResponseNorm AvgPool1d AvgPool2d MaxPool1d MaxPool2d "
            "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveMaxPool1d AdaptiveMaxPool2d Flatten Linear Conv1d Conv2d",
        ),
        kind="torch.nn.Module",
    ),
    "loss": Slot(
        _inside("src.models.losses", "CrossEntropy Gaussian Ordinal Regression SoftTarget WeightedCrossEntropy"),
        kind="src.models.losses.HeadLoss",
    ),
    "optimizer": Slot(
        _of_torch(
            torch.optim,
            "ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax LBFGS Muon NAdam RAdam RMSprop Rprop SGD SparseAdam",
        ),
        kind="torch.optim.Optimizer",
        is_partial=True,
    ),
    "scheduler": Slot(
        (
            "src.models.schedulers.WarmupCosine",
            *_of_torch(
                torch.optim.lr_scheduler,
                "ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts CyclicLR ExponentialLR LinearLR MultiStepLR "
                "OneCycleLR PolynomialLR ReduceLROnPlateau StepLR",
            ),
        ),
        kind="torch.optim.lr_scheduler.LRScheduler",
        is_partial=True,
    ),
    "datamodule": Slot(
        ("src.data.vimh_datamodule.VIMHDataModule",),
        kind="lightning.pytorch.LightningDataModule",
        inside={"measure": "measure"},
    ),
    "measure": Slot(("src.spectral.features.measure",), methods=("__call__",), is_partial=True),
    "synth": Slot(
        (*_inside("src.synth.voices", "SawVoice MoogVoice"), "src.synth.soundfont.SoundFontVoice"),
        methods=("render",),
        reading=("src.synth.soundfont.SoundFontFileVoice",),
    ),
    "representation": Slot(
        (
            "src.spectral.representation.SpectralRepresentation",
            *_inside("src.spectral.waveform", "Waveform Waveform16 BitStream"),
        ),
        methods=("to_image", "describe", "describe_mel"),
        inside={"channels": "channel"},
    ),
    "channel": Slot(
        _inside(
            "src.spectral.channels",
            "GroupDelay InstantaneousFrequency LogPower Modulation Normalized SpectralEnvelope TemporalEnvelope",
        ),
        kind="src.spectral.channels.Channel",
    ),
    "effect": Slot(
        _inside(
            "src.perturb.effects",
            "Equalizer Gain HighPass Hum LowPass MP3 Offset Ogg Onset PinkNoise Quantize Resample Room SoftClip Tilt "
            "VoiceParameter WhiteNoise",
        ),
        kind="src.perturb.effects.Effect",
        reading=("src.perturb.effects.MeasuredRoom",),
    ),
}


def instantiate_own(section: Mapping[str, Any], *args: Any, slot: str, **kwargs: Any) -> Any:
    """Instantiates a section of the user's own configuration: any class, in any slot.

    Args:
        section: With a `_target_`.
        *args: Arguments beside those of the section.
        slot: What is wanted; users may put there what they like.
        **kwargs: Arguments that join or replace those of the section.
    """
    return instantiate(section, *args, **kwargs)


def instantiate_trusted(
    section: Mapping[str, Any], *args: Any, slot: str, trusted_modules: Sequence[str] = (), **kwargs: Any
) -> Any:
    """Instantiates a stored section as Hydra does, after every `_target_` in it was found on the list of its slot.

    Args:
        section: Plain data with `_target_`, nested as the slot allows.
        *args: Arguments that are handed on as they are, unchecked.
        slot: Key of `SLOTS`.
        trusted_modules: Packages of the user's, whose classes may stand in a slot as well if they are of its kind.
        **kwargs: Arguments that join or replace those of the section, and are checked alike. Those with an underscore
            in front are Hydra's.

    Returns:
        The object that the outermost `_target_` names.

    Raises:
        CheckpointError: If a target is not on the list or of another kind, if a text holds an interpolation, or if
            the object cannot be made from the section.
        ConfigError: If `trusted_modules` is not a list of dotted names.
    """
    plain: Any = OmegaConf.to_container(section, resolve=False) if OmegaConf.is_config(section) else section
    options = {key: item for key, item in kwargs.items() if key.startswith("_")}
    if isinstance(plain, Mapping):
        plain = {**plain, **{key: item for key, item in kwargs.items() if key not in options}}
    names = check_section(plain, slot, trusted_modules)
    try:
        return instantiate(plain, *args, may_name=names, **options)
    except Exception as error:  # a class raises anything about settings that it was never meant to get
        raise CheckpointError(
            f"The stored configuration of {plain['_target_']} does not fit: {reason(_origin(error))}"
        ) from error


def check_section(section: Any, slot: str, trusted_modules: Sequence[str] = ()) -> list[str]:
    """Refuse a stored section that names, anywhere in it, what is not on the list of its slot.

    Returns:
        The dotted names in it, each with that of the place where what it means is defined.

    Raises:
        CheckpointError: Naming the first of them. Nothing that was named is called, and nothing imported unless all
            names are on a list.
        ConfigError: If `trusted_modules` is not a list of dotted names.
    """
    if isinstance(trusted_modules, str) or not all(map(_is_dotted, trusted_modules)):
        raise ConfigError(f"trusted_modules must be a list of dotted module names, not {trusted_modules!r}.")
    if not isinstance(section, Mapping) or "_target_" not in section:
        raise CheckpointError(
            f"A stored configuration has no _target_ of a {slot}: the file is damaged or not of this project."
        )
    try:
        check_plain(section, MAX_SECTION)
    except NSMError as error:
        raise CheckpointError(f"A stored configuration of a {slot} is none of this project: {error}.") from error
    settings = list(_settings(section, slot))
    targets = []
    for target, wanted in ((item, wanted) for key, item, wanted in settings if key == "_target_"):
        if wanted is None:
            raise _refusal(target, "where no class may stand")
        named = _is_dotted(target) and (target in SLOTS[wanted].classes or _is_inside(target, trusted_modules))
        if not named:
            raise _not_listed(target, wanted)
        targets.append((target, wanted))
    for key, item, wanted in settings:
        _check_option(key, item, wanted)
    names = []
    for target, named_slot in targets:  # nothing is imported before
        found = _find(target, named_slot, trusted_modules)
        _check_kind(found, target, named_slot)
        names += [target, f"{found.__module__}.{found.__qualname__}"]
    return names


def _settings(node: Any, slot: str | None) -> Iterator[tuple[str, Any, str | None]]:
    """Every key in nested plain data that Hydra acts on, with its value and the slot that it stands in.

    Args:
        node: A section, or something in it.
        slot: Its slot; None: it may not be a section with a target.

    Raises:
        CheckpointError: If a text holds an interpolation.
    """
    if isinstance(node, str) and "${" in node:
        raise CheckpointError(f"A stored configuration is plain data, but this one holds {shown(node)}: refused.")
    if isinstance(node, Mapping):
        own = SLOTS[slot] if slot is not None and "_target_" in node else None
        inside = own.inside if own else {"*": slot}
        for key, item in node.items():
            yield from _settings(key, None)
            if isinstance(key, str) and key.startswith("_") and key.endswith("_"):
                yield key, item, slot if own else None
                yield from _settings(item, None)
            else:
                yield from _settings(item, inside.get(key, inside.get("*")))
    elif isinstance(node, list | tuple):
        for item in node:
            yield from _settings(item, slot)


def _check_option(key: str, item: Any, slot: str | None) -> None:
    """Refuse what tells Hydra to do something else than our own configurations do."""
    allowed = {"_target_": True, "_convert_": item in CONVERSIONS}
    if slot is not None and SLOTS[slot].is_partial:
        allowed["_partial_"] = isinstance(item, bool)
    if slot is None or not allowed.get(key):
        raise CheckpointError(f"A stored configuration holds {shown(key)}: {shown(item)}, which none of ours does.")


def _find(target: str, slot: str, trusted_modules: Sequence[str]) -> Any:
    """What a dotted name means, followed as Hydra would; one of a user's package may not lead out of the package."""
    module, _, name = target.rpartition(".")
    if target in SLOTS[slot].classes:
        return getattr(importlib.import_module(module), name)

    def may_pass(name: str) -> bool:  # a trusted one, or the parent of one
        return target.startswith(f"{name}.") or _is_inside(name, trusted_modules)

    first, *rest = target.split(".")
    found: Any = _imported(first, target)
    for part in rest:
        owner, found = found, getattr(found, part, None)
        if found is None and isinstance(owner, ModuleType) and may_pass(f"{owner.__name__}.{part}"):
            found = _imported(f"{owner.__name__}.{part}", target)
        is_module, is_class = isinstance(found, ModuleType), isinstance(found, type)
        is_own = is_class and _is_inside(found.__module__, trusted_modules)
        if not (is_own or (is_module and may_pass(found.__name__))):
            raise _refusal(target, f"which leaves the package at {part!r}")
    if not isinstance(found, type):
        raise _refusal(target, "which is not a class")
    return found


def _imported(module: str, target: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _refusal(target, f"which cannot be imported ({reason(error)})") from error


def _check_kind(found: Any, target: str, slot: str) -> None:
    """Refuse a class that is not of the kind of its slot."""
    wanted = SLOTS[slot]
    if wanted.kind:
        module, _, name = wanted.kind.rpartition(".")
        if not (isinstance(found, type) and issubclass(found, getattr(importlib.import_module(module), name))):
            raise _refusal(target, f"which is no {slot} (a subclass of {wanted.kind})")
    missing = [method for method in wanted.methods if not _has(found, method)]
    if missing:
        raise _refusal(target, f"which is no {slot} (it has no {', '.join(missing)})")


def _has(found: Any, method: str) -> bool:
    """Whether a class defines a method, rather than inheriting what every class has; a function can be called."""
    kinds = found.__mro__ if isinstance(found, type) else (type(found),)
    return any(callable(vars(kind).get(method)) for kind in kinds)


def _origin(error: BaseException) -> BaseException:
    """The error of this project that Hydra wrapped in its own, or the error itself."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, NSMError):
        cause = cause.__cause__
    if cause is None and isinstance(error, InstantiationException) and error.__cause__ is not None:
        return error.__cause__
    return cause or error


def _not_listed(target: Any, slot: str) -> CheckpointError:
    """The error about a class that may not stand in a slot, which for one that reads files says so."""
    if target in SLOTS[slot].reading:
        why = f"which is not on the list of a {slot} because it reads files where that file says"
        return _refusal(target, why, target.rpartition(".")[0])
    return _refusal(target, f"which is not on the list of a {slot}")


def _refusal(target: Any, why: str, package: str = "PACKAGE") -> CheckpointError:
    return CheckpointError(
        f"The file names _target_: {shown(target, 120)}, {why}. Nothing of it was run."
        f" If you trust the file and that package, set trusted_modules=[{package}] (--trusted-modules {package} where "
        "options begin with dashes)"
    )


def _is_dotted(name: Any) -> bool:
    return isinstance(name, str) and len(name) < 500 and all(part.isidentifier() for part in name.split("."))


def _is_inside(name: str, packages: Sequence[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)
