"""Wheels that are taken along to a machine without network. Needs no package but `packaging`, which is among them."""

import re
import sys
import tomllib
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from email.parser import HeaderParser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    import packaging  # noqa: F401
except ImportError:
    sys.path += map(str, (Path(__file__).parents[2] / "gpu_wheels").glob("packaging-*.whl"))

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename

from src.errors import ConfigError

COMPILED_FOR_ANOTHER_TORCH = "torchaudio/lib/_torchaudio*.so"  # torchaudio goes without it, as setup.sh says


def needed(wheels: Sequence[Path], project: Path) -> list[Path]:
    """Of some wheels those of packages that this Python lacks, or has in a version that does not serve.

    Args:
        wheels: Of one version of each package.
        project: The `pyproject.toml` whose requirements count, beside those of the wheels.
    """
    serves: defaultdict[str, SpecifierSet] = defaultdict(SpecifierSet)
    for requirement in requirements(wheels, project):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            serves[canonicalize_name(requirement.name)] &= requirement.specifier
    return [wheel for wheel in wheels if not is_there(name_of(wheel), serves[name_of(wheel)])]


def requirements(wheels: Sequence[Path], project: Path) -> list[Requirement]:
    """What the project, its tests, and some wheels require."""
    about = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    lines = [*about["dependencies"], *about["optional-dependencies"]["dev"]]
    for wheel in wheels:
        with opened(wheel) as archive:
            (metadata,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
            lines += HeaderParser().parsestr(archive.read(metadata).decode()).get_all("Requires-Dist", [])
    return [Requirement(line) for line in lines]


def opened(wheel: Path) -> zipfile.ZipFile:
    """A wheel, to be read.

    Raises:
        ConfigError: If it is damaged.
    """
    try:
        return zipfile.ZipFile(wheel)
    except zipfile.BadZipFile as error:
        raise ConfigError(f"{wheel}: is damaged ({error}). Fetch the wheels again: scripts/gpu_wheels") from error


def is_there(name: str, specifier: SpecifierSet) -> bool:
    """Whether this Python has a package in one of some versions."""
    try:
        return specifier.contains(version(name), prereleases=True)
    except PackageNotFoundError:
        return False


def name_of(wheel: Path) -> str:
    """Normalized name of a wheel's package."""
    return parse_wheel_filename(wheel.name)[0]


def unpack(wheels: Sequence[Path], directory: Path) -> None:
    """Put packages into a directory for `PYTHONPATH`: none of them needs more than to be unpacked."""
    for wheel in wheels:
        with opened(wheel) as archive:
            archive.extractall(directory)
    for extension in directory.glob(COMPILED_FOR_ANOTHER_TORCH):
        extension.unlink()
