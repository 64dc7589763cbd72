"""Which samples test, and which fold each belongs to: groups stay together, classes are spread."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from src.errors import ConfigError

Class = tuple[str, str]  # a label, and one of its classes
ANY = frozenset({("", "")})  # the class of what has none


class Unit(NamedTuple):
    """What is never divided: the samples of a group, and of all groups that hold the same.

    Attributes:
        key: Number that decides where it goes, a hash of what it holds.
        samples: Their numbers.
        classes: To which they belong, each of which is to be in every part; none where that does not matter.
    """

    key: int
    samples: list[int]
    classes: frozenset[Class] = frozenset()


def units_of(groups: Iterable[str], keys: Sequence[int], classes: Sequence[frozenset[Class]]) -> list[Unit]:
    """The units that samples make, in the order of their keys.

    Args:
        groups: Of each sample, `(sample,)`.
        keys: A hash of each, `(sample,)`.
        classes: To which each belongs, `(sample,)`.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for number, group in enumerate(groups):
        members[group].append(number)
    found: dict[int, list[int]] = defaultdict(list)
    for numbers in members.values():
        found[_joined(sorted(keys[number] for number in numbers))] += numbers
    return [
        Unit(key, found[key], frozenset().union(*(classes[number] for number in found[key]))) for key in sorted(found)
    ]


def _joined(keys: Sequence[int]) -> int:
    """The key of a group, from those of its samples; of a single one it is the same."""
    if len(keys) == 1:
        return keys[0]
    content = b"".join(key.to_bytes(8, "big") for key in keys)
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


def draw_test(units: Sequence[Unit], share: float) -> np.ndarray:
    """Which units test: of every class those of the smallest keys, as many as hold its share of samples most nearly.

    At least one unit of each class is to test, and one is left. What a unit holds decides where it goes, not its name
    or its neighbours: a set that grows keeps nearly all of its division.

    Args:
        units: In the order of their keys.
        share: Of the samples of each class, above 0 and below 1.

    Returns:
        Bool, `(unit,)`.
    """
    tests = np.zeros(len(units), bool)
    tested: Counter[Class] = Counter()
    members = _by_class(units)
    left = {name: len(numbers) for name, numbers in members.items()}
    for name, numbers in members.items():
        wanted = max(1, round(share * sum(len(units[number].samples) for number in numbers)))
        for number in numbers:
            own = units[number].classes or ANY
            if tested[name] and tested[name] + len(units[number].samples) / 2 > wanted:
                break
            if not tests[number] and all(left[other] > 1 for other in own):
                tests[number] = True
                tested.update(dict.fromkeys(own, len(units[number].samples)))
                left |= {other: left[other] - 1 for other in own}
    return tests


def deal_folds(units: Sequence[Unit], n_folds: int) -> np.ndarray:
    """Number of each unit's fold, from 0: the one that lacks most of its classes, or has the fewest samples of them.

    Args:
        units: In the order of their keys.
        n_folds: 2 or more.

    Returns:
        Int, `(unit,)`.
    """
    fold = np.full(len(units), -1)
    there: dict[Class, np.ndarray] = defaultdict(lambda: np.zeros(n_folds))  # samples in each fold
    total = np.zeros(n_folds)
    for numbers in _by_class(units).values():
        for number in numbers:
            if fold[number] < 0:
                own = [there[name] for name in units[number].classes or ANY]
                lacking, load = np.sum([of_class == 0 for of_class in own], axis=0), np.sum(own, axis=0)
                fold[number] = np.lexsort((total, load, -lacking))[0]
                for of_class in (*own, total):
                    of_class[fold[number]] += len(units[number].samples)
    return fold


def _by_class(units: Sequence[Unit]) -> dict[Class, list[int]]:
    """Numbers of the units of each class, in their order; classes of the fewest units first."""
    found: dict[Class, list[int]] = defaultdict(list)
    for number, unit in enumerate(units):
        for name in unit.classes or ANY:
            found[name].append(number)
    return dict(sorted(found.items(), key=lambda item: (len(item[1]), item[0])))


def spread_groups(groups: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Groups in a random order, any beginning of which has about the same share of each class as the whole.

    Groups of the same classes follow each other at even distances.

    Args:
        groups: Of each sample, str, `(sample,)`.
        classes: Number of the class of each sample, int, `(sample,)`.
        rng: Draws the order.

    Returns:
        For each group the numbers of its samples, rising.
    """
    _, group = np.unique(groups, return_inverse=True)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, samples in enumerate(members):
        alike[tuple(np.unique(classes[samples]).tolist())].append(number)
    place = np.empty(len(members))
    for _, numbers in sorted(alike.items()):
        place[rng.permutation(numbers)] = (np.arange(len(numbers)) + rng.random()) / len(numbers)
    return [members[number] for number in np.argsort(place, kind="stable")]


def check_enough(classes: Sequence[frozenset[Class]], n_parts: int, what: str) -> None:
    """Refuse what cannot be divided so that every part has every class.

    Args:
        classes: Of each file or group, `(file,)`.
        n_parts: How many parts there are.
        what: `file` or `group`.

    Raises:
        ConfigError: Naming the classes of too few of them, and how many are needed.
    """
    if len(classes) < n_parts:
        raise ConfigError(
            f"{len(classes)} {what}{'s' * (len(classes) != 1)} cannot be divided into {n_parts} parts: one would be "
            f"empty. {_remedy(n_parts, what)}"
        )
    counts = Counter(name for own in classes for name in own)
    if few := sorted(name for name, count in counts.items() if count < n_parts):
        named = ", ".join(f"{name} ({label}) has {counts[label, name]}" for label, name in few[:5])
        more = f" and {len(few) - 5} other classes fewer" if len(few) > 5 else ""
        raise ConfigError(
            f"Every class needs {n_parts} {what}s at least, one for each part, but {named}{more}. "
            f"{_remedy(n_parts, what)}"
        )


def _remedy(n_parts: int, what: str) -> str:
    """What to do about too few files or groups."""
    groups = ", make smaller groups (--group-by)" if what == "group" else ""
    fewer = "take fewer --folds" if n_parts > 2 else "pack without test samples (--test-fraction 0)"
    return f"Add files, leave classes out (--classes){groups}, or {fewer}."


def check_spread(units: Sequence[Unit], part: np.ndarray, n_parts: int) -> None:
    """Refuse a division that gives some part none of a class, as groups of several classes can force it to be.

    Args:
        units: What was divided.
        part: Number of the part of each, `(unit,)`.
        n_parts: How many there are.

    Raises:
        ConfigError: Naming the classes.
    """
    found: dict[Class, set[int]] = defaultdict(set)
    for unit, number in zip(units, part.tolist(), strict=True):
        for name in unit.classes:
            found[name].add(number)
    if missing := sorted(name for name, parts in found.items() if len(parts) < n_parts):
        named = ", ".join(f"{name} ({label})" for label, name in missing[:5])
        raise ConfigError(
            f"No division was found in which every part has {named}: their groups hold other classes as well. Take "
            "another --seed, make smaller groups (--group-by), or leave classes out (--classes)."
        )
