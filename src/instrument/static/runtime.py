"""onnxruntime for browsers: fetched once from the registry of npm, checked, and kept."""

import base64
import hashlib
import io
import os
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from src.errors import ConfigError
from src.files import write_atomically

NAME, VERSION = "onnxruntime-web", "1.22.0"
# SHA-512 of the archive, as the registry and every lock file have it.
INTEGRITY = "Ud/+EBo6mhuaQWt/OjaOk0iNWjXqJoeeMFr6xQEERZdIZH2OWpGzuujz7lfuOBjUa6TEE/sc4nb7Da5dNL34fg=="
REGISTRY = "https://registry.npmjs.org"
CHOICE = "npm_config_registry"  # variable of the environment that names another, as for npm
# The build for the CPU alone, without WebGPU, and what the package says of itself, its license among it.
FILES = {
    "ort.wasm.min.mjs": "package/dist/ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs": "package/dist/ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm": "package/dist/ort-wasm-simd-threaded.wasm",
    "package.json": "package/package.json",
}
SECONDS = 60  # without an answer


def runtime_files(cache: Path) -> dict[str, bytes]:
    """The files of onnxruntime-web that a page needs, by name.

    Args:
        cache: Directory in which the archive is kept, and found again.

    Raises:
        ConfigError: If it is not there, and cannot be fetched.
    """
    path = cache / f"{NAME}-{VERSION}.tgz"
    content = path.read_bytes() if path.is_file() else b""
    if not is_whole(content):
        content = fetched(path)
        write_atomically(path, content)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {name: _read(archive, member) for name, member in FILES.items()}


def default_cache() -> Path:
    """Where programs of this user keep what can be fetched again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "neural-spectral-modeling"


def is_whole(content: bytes) -> bool:
    """Whether an archive is the one that is meant."""
    return base64.b64encode(hashlib.sha512(content).digest()).decode() == INTEGRITY


def fetched(path: Path) -> bytes:
    """The archive from the registry.

    Args:
        path: Where it would be looked for next time, for messages.

    Raises:
        ConfigError: If there is no way to it, or it is another one.
    """
    registry = os.environ.get(CHOICE, REGISTRY).rstrip("/")
    address = f"{registry}/{NAME}/-/{NAME}-{VERSION}.tgz"
    elsewhere = f"Fetch it where there is a network, and put it at {path}."
    if not address.startswith(("https://", "http://")):
        raise ConfigError(f"{CHOICE}={registry} is no address of a registry, such as {REGISTRY}.")
    try:
        with urllib.request.urlopen(address, timeout=SECONDS) as answer:
            content: bytes = answer.read()
    except (OSError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", error)
        raise ConfigError(f"{address} cannot be fetched ({reason}); the page needs it once. {elsewhere}") from error
    if not is_whole(content):
        raise ConfigError(f"{address}: the archive is not the one that npm has of this version. {elsewhere}")
    return content


def _read(archive: tarfile.TarFile, member: str) -> bytes:
    file = archive.extractfile(member)
    assert file is not None  # the archive is the one whose digest is known
    return file.read()
