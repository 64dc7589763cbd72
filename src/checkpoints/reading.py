"""What a checkpoint file holds, read so that nothing of it is executed, and nothing grows beyond the file's own size.

PyTorch reads tensors and plain data alone (`weights_only`), but believes what the file says of their sizes. So the file
is read once before that, with stand-ins for tensors: `plain.PlainUnpickler` refuses what would take for ever.
"""

import io
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.errors import CheckpointError, NSMError
from src.plain import PlainUnpickler, parts, reason

ADVICE = "Name one that train.py wrote."
TIMES_THE_FILE = 16  # tensors may share memory or repeat a number, but not as often as one likes
AT_LEAST = 16_000_000  # bytes


class _StandIn:
    """Stands for a tensor and what it is made of: takes everything, does nothing."""

    def __call__(self, *arguments: Any) -> "_StandIn":
        return _StandIn()

    def __setstate__(self, state: Any) -> None:
        pass


class _OrderedStandIn(dict[Any, Any]):
    """Stands for an ordered mapping."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Counter(PlainUnpickler):
    """Reads the structure of a checkpoint, without its tensors."""

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in, whatever is named: which names are allowed is for PyTorch to say."""
        return _OrderedStandIn if (module, name) == ("collections", "OrderedDict") else _StandIn()

    def persistent_load(self, pid: Any) -> _StandIn:
        """The stand-in for the memory of a tensor."""
        return _StandIn()


def read_checkpoint(ckpt_path: str | Path) -> dict[str, Any]:
    """Content of a checkpoint: tensors and plain data, nothing else can be read.

    Raises:
        CheckpointError: If there is no such file, it is no checkpoint, it holds anything but tensors and plain data, or
            more of them than its size allows.
    """
    path = Path(ckpt_path)
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file. Train a network first (make ex), or name another file.")
    try:
        content = _read(path)
    except pickle.UnpicklingError as error:
        refused = re.search(r"(?:GLOBAL|class) ([\w.]{1,80}\w)", str(error))  # the name alone, out of a long message
        raise CheckpointError(
            f"{path}: is no checkpoint, or holds more than tensors and plain data, which is not read"
            f"{f' ({refused[1]})' if refused else ''}. {ADVICE}"
        ) from error
    except Exception as error:  # a damaged file makes PyTorch raise anything
        why = reason(error).partition("In PyTorch 2.6")[0].rstrip()  # without its advice to run what the file holds
        raise CheckpointError(f"{path}: is not a checkpoint, and not read ({why}). {ADVICE}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, no checkpoint. {ADVICE}")
    return content


def _read(path: Path) -> Any:
    """Content of a file whose sizes were checked."""
    n_bytes = path.stat().st_size
    for _ in parts(_Counter(io.BytesIO(_pickle_of(path, n_bytes))).load()):
        pass
    content = torch.load(path, map_location="cpu", weights_only=True)
    claimed = sum(part.numel() * part.element_size() for part in parts(content) if isinstance(part, Tensor))
    if claimed > max(TIMES_THE_FILE * n_bytes, AT_LEAST):
        raise NSMError(f"its tensors would take {claimed:,} bytes, and the file has {n_bytes:,}")
    return content


def _pickle_of(path: Path, n_bytes: int) -> bytes:
    """The pickle in the archive that a checkpoint is; what unpacks to more than the file is refused."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = [entry.filename.lower() for entry in entries]
        pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
        if len(pickles) != 1 or len({*names}) < len(names):
            raise NSMError("it is an archive of another kind")
        if sum(entry.file_size for entry in entries) > n_bytes:
            raise NSMError("it unpacks to more than its own size")
        return archive.read(pickles[0])


def read_weights(found: dict[Any, Any]) -> dict[str, Tensor]:
    """Name to weight, from the entry `state_dict` of a checkpoint; what is no tensor is left out, as if lost."""

    def is_weight(name: Any, item: Any) -> bool:
        return isinstance(name, str) and isinstance(item, Tensor) and item.layout == torch.strided

    return {name: item for name, item in dict.items(found) if is_weight(name, item)}
