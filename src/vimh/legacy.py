"""Legacy pickle copies of a split (`train_batch`, `test_batch`), read without running anything that is in them."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from src.errors import VIMHError
from src.vimh.format import METADATA_BYTES, METADATA_BYTES_2_0, pack, record_dtype
from src.vimh.info import DatasetInfo

# What NumPy's own pickles of arrays and scalars name, under its present and its former module names.
_ALLOWED = {
    (module, name)
    for package in ("numpy.core", "numpy._core")
    for module, name in (
        (f"{package}.multiarray", "_reconstruct"),
        (f"{package}.multiarray", "scalar"),
        (f"{package}.numeric", "_frombuffer"),
    )
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}

# What a damaged stream makes the unpickler raise.
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
    UnicodeError,
    ImportError,
    RecursionError,
)


class _PlainUnpickler(pickle.Unpickler):
    """An unpickler that knows NumPy arrays and Python's plain types, and refuses every other global."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in _ALLOWED:
            raise VIMHError(
                f"the pickle names {module}.{name}, which is not plain data. Nothing of it was run; do not trust the file"
            )
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


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
        content = _PlainUnpickler(io.BytesIO(path.read_bytes())).load()
    except VIMHError as error:
        raise VIMHError(f"{path}: {error}.") from error
    except _DAMAGE as error:
        raise VIMHError(f"{path}: is not a readable pickle ({error}). Restore or regenerate it.") from error
    try:
        return _records(content, info)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise VIMHError(
            f"{path}: does not hold a VIMH batch ({type(error).__name__}: {error}). Restore or regenerate it."
        ) from error


def _records(content: dict[str, Any], info: DatasetInfo) -> np.ndarray:
    """Records from the unpickled dict."""
    size = (content["height"], content["width"])
    if size != (info.height, info.width):
        raise ValueError(f"height, width {size}, but the JSON says {(info.height, info.width)}")
    image = _plain(content["data"], np.uint8)
    image = image.reshape(len(image), *info.image_shape)
    labels = np.array(content["vimh_labels"], dtype=np.uint8)
    labels = labels.reshape(len(image), 1 + 2 * len(info.parameter_names))
    has_range = "scale_factors" in content
    spec_range = _plain(content["scale_factors"], np.float32) if has_range else np.empty((len(image), 0), np.float32)
    if has_range and spec_range.shape != (len(image), 2):
        raise ValueError(f"scale_factors of shape {spec_range.shape} for {len(image)} samples")
    layout = METADATA_BYTES if has_range else METADATA_BYTES_2_0
    dtype = record_dtype(info.image_shape, len(info.parameter_names), layout)
    records = pack(dtype, image, labels[:, 2::2], spec_range)
    records["n_parameters"] = labels[:, 0]
    records["labels"]["id"] = labels[:, 1::2]
    return records


def _plain(array: Any, dtype: type) -> np.ndarray:
    """The array, refused unless it is one of the expected type."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise TypeError(f"an array of {np.dtype(dtype)} was expected, not {getattr(array, 'dtype', type(array).__name__)}")
    return array


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
        "scale_factors": np.stack([records["spec_min"], records["spec_max"]], axis=1).astype(np.float32),
        "image_size": f"{height}x{width}x{channels}",
    }
    return pickle.dumps(content, protocol=4)
