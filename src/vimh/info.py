"""`DatasetInfo`: what the JSON beside the records says."""

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator, model_validator

from src.errors import ConfigError, NSMError, VIMHError
from src.migration import upgraded
from src.params import MAX_PARAMETERS, FixedParam, ParameterSpace, ParamSpec
from src.sections import PositiveInt, WholeNumber, validation_in_words
from src.vimh.format import MAX_IMAGE_SIDE, METADATA_BYTES, record_dtype

SPEC_KEYS = ("min", "max", "step", "units", "description", "names", "kind", "scale", "active_if")
FROM_DATASET = ("sample_rate", "duration", "seed", "sampling", "synth_type")  # keys of `generator.config.dataset`
FROM_PARAMETERS = ("min", "max", "step", "units", "names", "kind", "scale", "active_if")
UNSEALED = "0" * 64  # in the place of `json_sha256` while the checksum is computed
ImageSide = Annotated[int, Field(ge=1, le=MAX_IMAGE_SIDE)]


class _Entry(BaseModel):
    """A JSON object: types as they are, nothing coerced; unknown keys are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, ser_json_inf_nan="constants")


class ParameterMapping(_Entry):
    """Range and step of a parameter; step 0 for one that is fixed."""

    min: FiniteFloat
    max: FiniteFloat
    step: FiniteFloat
    num_classes: int | None = None
    description: str = ""
    units: str = ""
    categorical: bool = False
    names: tuple[str, ...] = ()
    kind: str | None = None
    scale: str = "linear"
    active_if: dict[str, Any] = {}

    @property
    def varies(self) -> bool:
        """Whether this describes a varying parameter."""
        return self.step != 0 and self.min != self.max

    def spec(self, name: str) -> ParamSpec:
        """The varying parameter that this describes."""
        given = {key: getattr(self, key) for key in SPEC_KEYS}
        return ParamSpec(name, **given)


class FixedValue(_Entry):
    """Value of a parameter that every sound of the dataset shares."""

    value: FiniteFloat
    description: str = ""


class LabelEncoding(_Entry):
    """How labels stand in the record."""

    metadata_bytes: Literal[14, 6, 3] | None = None


class FileEntry(_Entry):
    """Size and checksum of a file of the dataset."""

    size: WholeNumber
    sha256: str


class Shard(_Entry):
    """Which part of a dataset this is, where several machines make one."""

    index: WholeNumber
    count: PositiveInt


class DatasetInfo(_Entry):
    """The metadata of a dataset: everything that a model or a reader needs. Frozen and plain.

    Keys and meanings: `docs/vimh.md`. Keys that are not listed are kept.

    Raises:
        VIMHError: From `from_json` and `from_dict`, if a key is missing, of the wrong type, or contradicts another.
    """

    format: Literal["VIMH"]
    version: str
    dataset_name: str = ""
    output_format: str = "binary"
    height: ImageSide
    width: ImageSide
    channels: ImageSide
    channel_labels: tuple[str, ...] = ()
    varying_parameters: int | None = None
    parameter_names: tuple[str, ...] = Field(min_length=1, max_length=MAX_PARAMETERS)
    train_samples: WholeNumber
    test_samples: WholeNumber
    total_samples: WholeNumber | None = None
    n_samples: WholeNumber | None = None
    sample_rate: int | FiniteFloat | None = None
    duration: FiniteFloat | None = None
    synth_type: str = ""
    image_size: str = ""
    parameter_mappings: dict[str, ParameterMapping]
    fixed_parameters: dict[str, FixedValue] = {}
    pre_emphasis_coefficient: FiniteFloat = 0.0
    spectrogram_config: dict[str, Any] | None = None
    mel_config: dict[str, Any] | None = None
    label_encoding: LabelEncoding = LabelEncoding()
    channel_ranges: tuple[tuple[FiniteFloat, FiniteFloat, str] | None, ...] | None = None
    channel_axes: tuple[dict[str, Any], ...] | None = None
    seed: int | None = None
    sampling: str | None = None
    generator: dict[str, Any] | None = None
    shard: Shard | None = None
    files: dict[str, FileEntry] = {}
    json_sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> "DatasetInfo":
        """Parse the JSON of a dataset.

        Args:
            text: The file's content.
            where: Its path, for messages.
        """
        try:
            info = cls.model_validate_json(text)
            json.loads(text, object_pairs_hook=_refuse_double_keys)
        except ValidationError as error:
            raise VIMHError(
                f"{where}: {validation_in_words(error)} Restore the file, or regenerate the dataset."
            ) from error
        except NSMError as error:
            raise VIMHError(f"{where}: {error}") from error
        except (ValueError, RecursionError) as error:
            raise VIMHError(f"{where}: {error}. Restore the file, or regenerate the dataset.") from error
        return info

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str) -> "DatasetInfo":
        """The same from plain data, as a checkpoint carries it."""
        try:
            return cls.from_json(json.dumps(data), where)
        except (TypeError, ValueError) as error:
            raise VIMHError(f"{where}: the dataset description is not plain data ({error}).") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain data: dicts, lists, strings and numbers; the keys that were given, no more and no less."""
        return self.model_dump(mode="json", exclude_unset=True)

    def to_json(self) -> str:
        """The file's content, indented, in a fixed order."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def sealed(self) -> "DatasetInfo":
        """The same with the checksum of its file's content: its last change before it is written."""
        unsealed = self.model_copy(update={"json_sha256": UNSEALED})
        return self.model_copy(update={"json_sha256": json_checksum(unsealed.to_json().encode(), UNSEALED)})

    @functools.cached_property
    def space(self) -> ParameterSpace:
        """The varying parameters, in the order of their ids, and the fixed ones."""
        return ParameterSpace(
            tuple(self.parameter_mappings[name].spec(name) for name in self.parameter_names),
            tuple(FixedParam(name, entry.value, entry.description) for name, entry in self.fixed_parameters.items()),
        )

    @property
    def parameters(self) -> tuple[ParamSpec, ...]:
        """The varying parameters, in the order of their ids."""
        return self.space.varying

    def __copy__(self) -> "DatasetInfo":
        """Without `space`, since `model_copy` changes what it was made of."""
        copied = super().__copy__()
        copied.__dict__.pop("space", None)
        return copied

    def contradictions(self) -> list[str]:
        """Where the keys differ from what the configuration that made the dataset says of them, in words."""
        config = (self.generator or {}).get("config")
        try:
            made = _described(config) if isinstance(config, Mapping) else {}
        except ConfigError as error:
            return [f"generator.config cannot be used: {error}"]
        own = {key: getattr(self, key) for key in FROM_DATASET} | _of_space(self.space)
        own["size"] = None if self.shard else self.train_samples + self.test_samples
        wrong = [key for key in made if own.get(key) is not None and own[key] != made[key]]
        return [f"{key} is {str(own[key])[:100]}, but generator.config says {str(made[key])[:100]}" for key in wrong]

    @property
    def title(self) -> str:
        """Its name, at the beginning of a message."""
        return self.dataset_name or "The dataset"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(channel, height, width)`, that is, `(channel, freq, time)`."""
        return self.channels, self.height, self.width

    def n_split(self, split: str) -> int:
        """Number of samples of a split, `train` or `test`."""
        return {"train": self.train_samples, "test": self.test_samples}[split]

    @field_validator("generator")
    @classmethod
    def _upgrade(cls, generator: dict[str, Any] | None) -> dict[str, Any] | None:
        """The generator's configuration in today's names."""
        return None if generator is None else upgraded(generator)

    @model_validator(mode="after")
    def _check(self) -> "DatasetInfo":
        """Refuse keys that contradict each other."""
        record_dtype(self.image_shape, len(self.parameter_names), METADATA_BYTES)
        _agree("image_size", self.image_size or None, f"{self.height}x{self.width}x{self.channels}")
        _agree("varying_parameters", self.varying_parameters, len(self.parameter_names))
        _agree("total_samples", self.total_samples, self.train_samples + self.test_samples)
        _agree("n_samples", self.n_samples, self.train_samples + self.test_samples)
        _agree("number of channel_labels", len(self.channel_labels) or None, self.channels)
        if self.train_samples == 0:
            raise ValueError("train_samples is 0: the dataset is empty")
        if len(set(self.parameter_names)) < len(self.parameter_names):
            raise ValueError(f"parameter_names holds a name twice: {', '.join(self.parameter_names)}")
        missing = [name for name in self.parameter_names if name not in self.parameter_mappings]
        if missing:
            raise ValueError(f"parameter_mappings lacks {', '.join(missing)} of parameter_names")
        for name, mapping in self.parameter_mappings.items():
            if name in self.parameter_names:
                _agree(f"parameter_mappings.{name}.num_classes", mapping.num_classes, mapping.spec(name).n_classes)
            elif mapping.varies:
                raise ValueError(f"parameter_mappings has the varying parameter {name}, which parameter_names lacks")
        _ = self.space  # refuses conditions that make no sense
        return self


def new_info(
    dataset_name: str, image_shape: tuple[int, int, int], space: ParameterSpace, n_split: Mapping[str, int], **keys: Any
) -> DatasetInfo:
    """The description of a dataset that is to be written, but for `files`.

    Args:
        dataset_name: Name of its directory.
        image_shape: `(channel, height, width)`.
        space: Its parameters.
        n_split: Number of samples of `train` and `test`.
        keys: All other keys of `DatasetInfo` that it should have.
    """
    channels, height, width = image_shape
    n_samples = sum(n_split.values())
    return DatasetInfo(
        format="VIMH",
        version="2.1",
        dataset_name=dataset_name,
        output_format="binary",
        height=height,
        width=width,
        channels=channels,
        varying_parameters=len(space.varying),
        parameter_names=tuple(spec.name for spec in space.varying),
        train_samples=n_split["train"],
        test_samples=n_split["test"],
        total_samples=n_samples,
        n_samples=n_samples,
        image_size=f"{height}x{width}x{channels}",
        parameter_mappings={spec.name: mapping_from_spec(spec) for spec in space.varying},
        fixed_parameters={
            fixed.name: FixedValue(value=fixed.value, description=fixed.description) for fixed in space.fixed
        },
        label_encoding=LabelEncoding(metadata_bytes=METADATA_BYTES),
        **keys,
    )


def mapping_from_spec(spec: ParamSpec) -> ParameterMapping:
    """The JSON entry of a varying parameter; what other kinds than plain numbers have stands there only with these."""
    fields = {key: item for key, item in asdict(spec).items() if key in SPEC_KEYS}
    kind = "categorical" if spec.categorical else "continuous"
    implied: dict[str, Any] = {"kind": kind, "scale": "linear", "active_if": {}}
    fields = {key: item for key, item in fields.items() if key not in implied or item != implied[key]}
    return ParameterMapping(**fields, num_classes=spec.n_classes, categorical=spec.categorical)


def json_checksum(content: bytes, stated: str) -> str:
    """SHA-256 of a dataset's JSON but for the 64 digits that state it, which count as zeros.

    Args:
        content: The file's.
        stated: What its key `json_sha256` says.
    """
    return hashlib.sha256(content.replace(stated.encode(), UNSEALED.encode())).hexdigest()


def _described(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a generator configuration says of a dataset, under the names of the JSON."""
    dataset, parameters = config.get("dataset"), config.get("parameters")
    found: dict[str, Any] = {}
    if isinstance(dataset, Mapping):
        found |= {key: dataset[key] for key in (*FROM_DATASET, "size") if key in dataset}
    if isinstance(parameters, Mapping):
        found |= _of_space(ParameterSpace.from_config(parameters))
    return found


def _of_space(space: ParameterSpace) -> dict[str, Any]:
    """Everything about some parameters but their descriptions, an entry each."""
    found = {f"{spec.name}.{key}": getattr(spec, key) for spec in space.varying for key in FROM_PARAMETERS}
    found["parameter_names"] = [spec.name for spec in space.varying]
    return found | {"fixed_parameters": {fixed.name: fixed.value for fixed in space.fixed}}


def _refuse_double_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object that some pairs make, refused if a key stands there twice: readers differ in which they take."""
    found = dict(pairs)
    if len(found) < len(pairs):
        [(key, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {key[:60]!r} stands there twice")
    return found


def _agree(key: str, found: Any, expected: Any) -> None:
    """Refuse a redundant key that contradicts the others."""
    if found is not None and found != expected:
        raise ValueError(f"{key} is {found}, but the other keys make it {expected}")


def packed_from(info: DatasetInfo) -> dict[str, Any]:
    """How the samples of a dataset were made of files, under `source` in its JSON; empty where that does not say."""
    source = (info.model_extra or {}).get("source")
    return source if isinstance(source, dict) else {}


def shared_numbers(trained: DatasetInfo, tested: DatasetInfo) -> range:
    """Numbers of the test sounds of a dataset that another one has among its training sounds.

    Sound i of two sets of the same parameters, sampling and seed is the same, however many sounds each has: the test
    sounds of a small one are training sounds of a large one.

    Args:
        trained: The set that a network was trained on.
        tested: The set whose test sounds it is to read.

    Returns:
        None for a set itself, for sets of different seeds, for shards, and for what no generator numbered.
    """
    drawn = [(info.seed, info.sampling, info.parameters) for info in (trained, tested)]
    if drawn[0] != drawn[1] or trained.seed is None or trained.shard or tested.shard:
        return range(0)
    first = tested.train_samples
    return range(first, max(first, min(trained.train_samples, first + tested.test_samples)))
