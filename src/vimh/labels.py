"""Labels as parameters: categories, whose classes have names, and numbers on a grid."""

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np

from src.errors import ConfigError
from src.params import MAX_CLASSES, ParameterSpace, ParamSpec
from src.vimh.reader import read_info
from src.vimh.tables import LabelledFiles, in_order


@dataclass(frozen=True)
class LabelGrid:
    """The grid of a label that is a number.

    Attributes:
        step: Grid step.
        low: Lowest value; None: the highest multiple of the step that no value is below.
        high: Highest value; None: the lowest multiple that no value is above.
    """

    step: Decimal
    low: Decimal | None = None
    high: Decimal | None = None

    @classmethod
    def parse(cls, text: str) -> "LabelGrid":
        """From `STEP` or `STEP,MIN,MAX`.

        Raises:
            ConfigError: If it is anything else.
        """
        texts = text.split(",")
        parts = [number for number in map(_decimal, texts) if number is not None]
        if len(texts) not in (1, 3) or len(parts) < len(texts) or parts[0] <= 0:
            raise ConfigError(
                f"{text!r} is no grid: give STEP or STEP,MIN,MAX, with a step above 0, such as 0.5,20,60."
            )
        return cls(*parts)


def class_lists(given: Sequence[str], labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Lists of classes that a user has fixed: name of a label to its classes, in order.

    Args:
        given: `[LABEL=]LIST` each. A list is `A,B,C`, a file with a line per class, or the directory of a dataset,
            whose categories of the same names are taken (or its only category). Without LABEL it is for the only label,
            or for those that a dataset has.
        labels: Names of the labels that are categories.

    Raises:
        ConfigError: If a list is for no label, holds a class twice, or fewer than two.
        VIMHError: If a directory holds no dataset.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        label, _, rest = text.partition("=")
        wanted, rest = ([label], rest) if label in labels else ([*labels], text)
        if Path(rest).is_dir():
            known = _categories_of(Path(rest), wanted)
        elif len(wanted) != 1:
            raise ConfigError(f"--classes {text}: write LABEL=LIST; the labels are {', '.join(labels) or 'none'}.")
        elif "/" in rest and not Path(rest).is_file():
            raise ConfigError(f"--classes {text}: there is no such file or dataset.")
        else:
            known = {wanted[0]: tuple(read_names(Path(rest)) if Path(rest).is_file() else rest.split(","))}
        found |= known
    for name, classes in found.items():
        if len(set(classes)) < max(2, len(classes)) or not all(classes):
            raise ConfigError(f"--classes: label {name} needs two classes or more, all different, not {classes}.")
    return found


def _categories_of(data_dir: Path, wanted: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Classes of a dataset's categories that have the names of labels, or of its only one if there is one label."""
    there = {spec.name: spec.names for spec in read_info(data_dir).parameters if spec.categorical and spec.names}
    if len(there) == len(wanted) == 1:
        return dict(zip(wanted, there.values(), strict=True))
    if same := {name: there[name] for name in wanted if name in there}:
        return same
    raise ConfigError(
        f"--classes {data_dir}: that dataset has the categories {', '.join(there) or 'none'}, none of which is "
        f"{' or '.join(wanted)}."
    )


def of_classes(files: LabelledFiles, classes: Mapping[str, Sequence[str]]) -> LabelledFiles:
    """Those files whose classes are in the lists.

    Raises:
        ConfigError: If there are none.
    """
    columns = [[text in set(classes[name]) for text in files.labels[name]] for name in classes]
    kept = files.take([all(row) for row in zip(*columns, strict=True)]) if columns else files
    if not kept.paths:
        lists = "; ".join(f"{name}: {', '.join(entries)}" for name, entries in classes.items())
        raise ConfigError(f"--classes: none of the {len(files.paths):,} files is of these classes ({lists}).")
    return kept


def read_names(path: Path) -> list[str]:
    """Names of classes, a line each.

    Raises:
        ConfigError: If it cannot be read, or does not hold two different ones or more.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as names in UTF-8: {error}") from error
    names = [line.strip() for line in lines if line.strip()]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(f"{path}: must hold two names or more, a line each, all different.")
    return names


def parameters_of(
    files: LabelledFiles,
    grids: Mapping[str, LabelGrid],
    units: Mapping[str, str],
    classes: Mapping[str, Sequence[str]] | None = None,
) -> tuple[tuple[ParamSpec, ...], np.ndarray]:
    """Labels as parameters: those with a grid are numbers, the others categories.

    Args:
        files: The labelled files.
        grids: Grids of the labels that are numbers.
        units: Units of the labels that are numbers.
        classes: Classes of labels, in order, where they are fixed.

    Returns:
        The parameters, and the values of all files, float64, `(file, parameter)`.

    Raises:
        ConfigError: If a label is no number, has only one value, or more than 256 classes.
    """
    unknown = sorted({*grids, *units} - set(files.labels))
    if unknown:
        raise ConfigError(f"There is no label {', '.join(unknown)}; the labels are {', '.join(files.labels)}.")
    found = [
        number(name, texts, grids[name], units.get(name, ""))
        if name in grids
        else category(name, texts, (classes or {}).get(name))
        for name, texts in files.labels.items()
    ]
    specs, values = zip(*found, strict=True)
    ParameterSpace(specs)  # refuses more than there may be
    return specs, np.stack(values, axis=1)


def category(name: str, texts: Sequence[str], classes: Sequence[str] | None = None) -> tuple[ParamSpec, np.ndarray]:
    """A label that is one of some names: numbers in their order, other names in that of the alphabet.

    Args:
        name: Of the label.
        texts: Of all samples, `(sample,)`.
        classes: The names in their order, where they are fixed; all texts are among them.

    Returns:
        The parameter, whose value is the number of the class, and the values, float64, `(sample,)`.
    """
    classes = classes_of(name, texts) if classes is None else classes
    if len(classes) > MAX_CLASSES:
        raise ConfigError(
            f"Label {name} has {len(classes):,} different values, but {MAX_CLASSES} classes are the most. If it is a "
            f"number, give its step: --number {name}=STEP. Otherwise join classes, or leave it out: --labels."
        )
    index = {text: number for number, text in enumerate(classes)}
    return categorical(name, classes), np.array([index[text] for text in texts], dtype=np.float64)


def classes_of(name: str, texts: Sequence[str]) -> list[str]:
    """The classes that occur: numbers in their order, then other names in that of the alphabet.

    Raises:
        ConfigError: If there is only one, or two are one in two spellings.
    """
    classes = in_order(texts)
    _check_differ(name, classes)
    spelled: dict[str, str] = {}
    for text in classes:
        first = spelled.setdefault(" ".join(unicodedata.normalize("NFKC", text).casefold().split()), text)
        if first != text:
            raise ConfigError(
                f"Label {name}: {first!r} and {text!r} are two spellings of one class. Write it in one way; if they "
                "are two classes, list all classes with --classes."
            )
    return classes


def categorical(name: str, classes: Sequence[str], description: str = "") -> ParamSpec:
    """The parameter that numbers some classes."""
    return ParamSpec(name, 0.0, len(classes) - 1.0, 1.0, "", description, tuple(classes))


def number(name: str, texts: Sequence[str], grid: LabelGrid, units: str = "") -> tuple[ParamSpec, np.ndarray]:
    """A label that is a number.

    Args:
        name: Of the label.
        texts: Of all samples, `(sample,)`.
        grid: Its step, and its range if that is given.
        units: Its unit.

    Returns:
        The parameter and the values, float64, `(sample,)`.
    """
    values = [value for value in map(_decimal, texts) if value is not None]
    if len(values) < len(texts):
        wrong = next(text for text in texts if _decimal(text) is None)
        hint = " Write decimals with a point." if _decimal(wrong.replace(",", ".")) is not None else ""
        raise ConfigError(f"Label {name} is {wrong!r} somewhere, which is no number.{hint}")
    _check_differ(name, sorted(set(values)))
    step, low, high = grid.step, grid.low, grid.high
    if low is None:
        low = (min(values) / step).to_integral_value(ROUND_FLOOR) * step
    if high is None:
        high = (max(values) / step).to_integral_value(ROUND_CEILING) * step
    if min(values) < low or max(values) > high:
        raise ConfigError(f"Label {name} reaches from {min(values)} to {max(values)}, beyond {low} to {high}.")
    if (high - low) / step > MAX_CLASSES - 1:
        finest = (high - low) / (MAX_CLASSES - 3)  # with another step either end may move out by one
        finest = finest.quantize(Decimal(10) ** (finest.adjusted() - 1), ROUND_CEILING)  # two digits
        raise ConfigError(
            f"Label {name} from {low} to {high} in steps of {step} makes {int((high - low) / step) + 1:,} classes, "
            f"but {MAX_CLASSES} are the most. Give a step of {finest:f} or more: --number {name}=STEP"
        )
    return ParamSpec(name, float(low), float(high), float(step), units), np.array(values, dtype=np.float64)


def _check_differ(name: str, values: Sequence[Any]) -> None:
    """Refuse a label with a single value."""
    if len(values) < 2:
        raise ConfigError(
            f"Label {name} is {values[0]} everywhere, so there is nothing to learn. Leave it out (--labels names those "
            "that stay), or add samples with another one."
        )


def _decimal(text: str) -> Decimal | None:
    """The finite number that a text is, exactly; None if it is none."""
    try:
        found = Decimal(text.strip())
    except InvalidOperation:
        return None
    return found if found.is_finite() and math.isfinite(float(found)) else None
