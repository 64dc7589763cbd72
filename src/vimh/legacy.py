"""Legacy pickle copies of a split (`train_batch`, `test_batch`), read without running anything that is in them."""

import io
import math
import pickle
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np

from src.errors import VIMHError
from src.plain import PlainUnpickler, reason, shown
from src.vimh.format import METADATA_BYTES, METADATA_BYTES_2_0, pack, record_dtype
from src.vimh.info import DatasetInfo

MAX_LABEL = 255
TYPE_VERSION, ARRAY_VERSION = 3, 1  # of what NumPy pickles
MAX_AXES = 64  # of an array of NumPy
QUOTES = "'\""


class _Type:
    """Stands for a `numpy.dtype` of whole numbers or floating point."""

    def __init__(self, code: str, *options: Any) -> None:
        if not re.fullmatch("[iuf][1248]", code) or options != (False, True):
            raise ValueError(f"an array of type {shown(code)}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, byte_order, *rest = state
        if version != TYPE_VERSION or byte_order not in ("<", ">", "|") or rest != [None, None, None, -1, -1, 0]:
            raise ValueError("an array type that NumPy does not write")
        self.dtype = np.dtype(byte_order + self.dtype.str[1:])


class _Array:
    """Stands for a `numpy.ndarray`, whose own `__setstate__` does not check its arguments."""

    def __init__(self) -> None:
        self.array = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, kind, fortran, raw = state
        if version != ARRAY_VERSION or not isinstance(fortran, bool):
            raise ValueError("an array that NumPy does not write")
        self.fill(raw, kind, shape, "F" if fortran else "C")

    def fill(self, raw: bytes, kind: _Type, shape: tuple[int, ...], order: Literal["C", "F"]) -> "_Array":
        """Take the array over from its bytes."""
        if not (isinstance(raw, bytes) and isinstance(kind, _Type) and order in ("C", "F")):
            raise TypeError("an array that is not made of bytes, type, shape and order")
        if not (isinstance(shape, tuple) and len(shape) <= MAX_AXES and all(type(size) is int for size in shape)):
            raise TypeError("an array whose shape is no tuple of whole numbers")
        if len(raw) != math.prod(shape) * kind.dtype.itemsize:
            raise ValueError(f"{len(raw)} bytes for an array of {kind.dtype} ({', '.join(map(shown, shape))})")
        self.array = np.frombuffer(raw, kind.dtype).reshape(shape, order=order)
        return self


class _BatchUnpickler(PlainUnpickler):
    """An unpickler that accepts Python's plain types and NumPy's arrays, and refuses every other global.

    What a pickle of arrays names is replaced by stand-ins, since NumPy's own functions can be made to read and write
    any memory.
    """

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a global: a bound method, so that a stream cannot set attributes on it."""
        stand_ins = {
            "numpy.dtype": self._type,
            "numpy.ndarray": "ndarray",
            "numpy._core.multiarray._reconstruct": self._reconstruct,
            "numpy._core.multiarray.scalar": self._scalar,
            "numpy._core.numeric._frombuffer": self._from_buffer,
            "_codecs.encode": self._encode,
        }
        path = f"{module}.{name}".replace("numpy.core.", "numpy._core.")
        if path not in stand_ins:
            raise VIMHError(
                f"the pickle names {shown(f'{module}.{name}').strip(QUOTES)}, which is not plain data. Nothing of it "
                "was run; do not trust the file"
            )
        return stand_ins[path]

    def _type(self, *arguments: Any) -> _Type:
        return _Type(*arguments)

    def _reconstruct(self, *arguments: Any) -> _Array:
        if arguments != ("ndarray", (0,), b"b"):
            raise ValueError("an array that NumPy does not make")
        return _Array()

    def _scalar(self, kind: _Type, raw: bytes) -> int | float:
        return _Array().fill(raw, kind, (), "C").array.item()

    def _from_buffer(self, raw: bytes, kind: _Type, shape: tuple[int, ...], order: Literal["C", "F"]) -> _Array:
        return _Array().fill(raw, kind, shape, order)

    def _encode(self, text: str, encoding: str) -> bytes:
        """Bytes, as protocols 0 to 2 write them."""
        if not isinstance(text, str) or encoding != "latin1":
            raise ValueError(f"the encoding {shown(encoding)}")
        return text.encode("latin1")


def read(path: Path, info: DatasetInfo) -> np.ndarray:
    """Records of a legacy pickle.

    Args:
        path: The pickle.
        info: Description of the dataset, which the pickle must agree with.

    Returns:
        Structured array, `(sample,)`.

    Raises:
        VIMHError: If the stream is damaged, names any global but NumPy's, or contradicts `info`.
    """
    try:
        content = _BatchUnpickler(io.BytesIO(path.read_bytes())).load()
    except VIMHError as error:
        raise VIMHError(f"{path}: {error}.") from error
    except Exception as error:  # the unpickler raises nearly anything about a damaged stream
        raise VIMHError(f"{path}: is not a readable pickle ({reason(error)}). Restore or regenerate it.") from error
    try:
        return _records(content, info)
    except Exception as error:  # and NumPy about what a stream says of an array
        raise VIMHError(
            f"{path}: does not hold a VIMH batch ({type(error).__name__}: {reason(error)}). Restore or regenerate it."
        ) from error


def _records(content: dict[str, Any], info: DatasetInfo) -> np.ndarray:
    """Records from the unpickled dict."""
    size = (content["height"], content["width"], content["channels"])
    expected = (info.height, info.width, info.channels)
    if size != expected:
        found = ", ".join(map(shown, size))
        raise ValueError(f"height, width, channels are ({found}), but the JSON says {expected}")
    image = _plain(content["data"], np.uint8)
    image = image.reshape(len(image), *info.image_shape)
    labels = _labels(content["vimh_labels"], len(image), 1 + 2 * len(info.parameter_names))
    has_range = "scale_factors" in content or info.label_encoding.metadata_bytes == METADATA_BYTES
    spec_range = _plain(content["scale_factors"], np.float32) if has_range else np.empty((len(image), 0), np.float32)
    if has_range and spec_range.shape != (len(image), 2):
        raise ValueError(f"scale_factors of shape {spec_range.shape} for {len(image)} samples")
    layout = METADATA_BYTES if has_range else METADATA_BYTES_2_0
    dtype = record_dtype(info.image_shape, len(info.parameter_names), layout)
    records = pack(dtype, image, labels[:, 2::2], spec_range)
    records["n_parameters"] = labels[:, 0]
    records["labels"]["id"] = labels[:, 1::2]
    return records


def _labels(rows: Any, n_rows: int, n_columns: int) -> np.ndarray:
    """The list of labels as uint8, `(row, column)`, refused where it holds anything but whole numbers of 0 to 255."""
    rows = (row.array.tolist() if isinstance(row, _Array) else row for row in _of_length(rows, n_rows))
    try:
        labels = b"".join(bytes(_of_length(row, n_columns)) for row in rows)
    except (TypeError, ValueError) as error:
        words = f"vimh_labels hold something else than {n_columns} whole numbers of 0 to {MAX_LABEL} for each sample"
        raise ValueError(words) from error
    return np.frombuffer(labels, np.uint8).reshape(n_rows, n_columns)


def _of_length(items: Any, length: int) -> list[Any] | tuple[Any, ...]:
    """A list, refused unless it has so many entries."""
    if not isinstance(items, list | tuple) or len(items) != length:
        raise ValueError(f"vimh_labels hold no list of {length}")
    return items


def _plain(item: Any, dtype: type) -> np.ndarray:
    """The array, refused unless it is one of the expected type."""
    if not isinstance(item, _Array) or item.array.dtype != dtype:
        found = item.array.dtype if isinstance(item, _Array) else type(item).__name__
        raise TypeError(f"an array of {np.dtype(dtype)} was expected, not {found}")
    return item.array


def dumps(records: np.ndarray) -> bytes:
    """The legacy pickle of a split, protocol 4.

    Args:
        records: Structured array, `(sample,)`.
    """
    channels, height, width = records.dtype["image"].shape
    labels = records["labels"].view(np.uint8).reshape(len(records), -1)
    content = {
        "data": np.ascontiguousarray(records["image"]).reshape(len(records), -1),
        "vimh_labels": np.column_stack([records["n_parameters"], labels]).tolist(),
        "height": height,
        "width": width,
        "channels": channels,
        "scale_factors": np.stack([records["spec_min"], records["spec_max"]], axis=1).astype(np.float32),
        "image_size": f"{height}x{width}x{channels}",
    }
    return pickle.dumps(content, protocol=4)
