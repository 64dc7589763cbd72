"""Memory maps of a dataset's files: records, and exact parameter values."""

import contextlib
import math
import os
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from src.errors import VIMHError
from src.vimh.format import METADATA_BYTES, METADATA_BYTES_2_0, codes_by_id, record_dtype
from src.vimh.info import DatasetInfo

REGENERATE = "Restore the file, or regenerate the dataset."
VALUES_DTYPE = "<f4"
MAX_ARRAY_HEADER = 4096  # bytes
_ARRAY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)"
    rb"(?P<text>\{'descr': '(?P<descr>[^']*)', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<rows>\d{1,18}), (?P<columns>\d{1,18})\), \} *\n)",
    re.DOTALL,
)


def map_records(file: BinaryIO, path: Path, info: DatasetInfo) -> np.ndarray:
    """Memory map of a file of records, `(sample,)`.

    Args:
        file: Open to read.
        path: Of the file; its name is that of the split.
        info: The dataset's description.

    Raises:
        VIMHError: If its size is not that of whole records, or no layout fits.
    """
    size = os.fstat(file.fileno()).st_size
    if size == 0 and not info.n_split(path.name):
        return no_records(info)
    metadata_bytes = info.label_encoding.metadata_bytes
    if metadata_bytes is None:
        dtype = _infer_dtype(file, path, size, info)
    else:
        known = METADATA_BYTES if metadata_bytes == METADATA_BYTES else METADATA_BYTES_2_0
        dtype = record_dtype(info.image_shape, len(info.parameter_names), known)
    if size == 0 or size % dtype.itemsize:
        raise VIMHError(
            f"{path}: has {size} bytes, which is {size / dtype.itemsize:.3f} records of {dtype.itemsize} bytes; a "
            f"whole number above 0 was expected. The file is truncated, padded, or of another dataset. {REGENERATE}"
        )
    return _map(file, path, dtype, shape=(size // dtype.itemsize,))


def no_records(info: DatasetInfo) -> np.ndarray:
    """Records of an empty split, `(0,)`."""
    return np.empty(0, record_dtype(info.image_shape, len(info.parameter_names), METADATA_BYTES))


def _infer_dtype(file: BinaryIO, path: Path, size: int, info: DatasetInfo) -> np.dtype:
    """The one layout that divides the file and fits its headers, where the JSON does not say which it is."""
    fitting = []
    for metadata_bytes in (METADATA_BYTES, METADATA_BYTES_2_0):
        dtype = record_dtype(info.image_shape, len(info.parameter_names), metadata_bytes)
        if size and size % dtype.itemsize == 0:
            records = _map(file, path, dtype, shape=(size // dtype.itemsize,))
            with contextlib.suppress(VIMHError):
                codes_by_id(records[[0, -1]], str(path))
                fitting.append(dtype)
    if len(fitting) != 1:
        raise VIMHError(
            f"{path}: the JSON has no label_encoding.metadata_bytes, and {'both' if fitting else 'neither'} of the "
            f"layouts with {METADATA_BYTES} and {METADATA_BYTES_2_0} bytes fit the file. State metadata_bytes in the "
            "JSON."
        )
    return fitting[0]


def map_values(file: BinaryIO, path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Exact values of a split, float32, `(sample, parameter)`, memory-mapped.

    The header is parsed here, since `numpy.load` would try to repair a damaged one.

    Args:
        file: Open to read.
        path: Of the file.
        shape: What it is expected to hold.

    Raises:
        VIMHError: If it holds something else.
    """
    header = _ARRAY_HEADER.match(file.read(MAX_ARRAY_HEADER))
    if header is None or int.from_bytes(header["length"], "little") != len(header["text"]):
        raise VIMHError(f"{path}: is not an array file of two dimensions, as numpy.save writes it. {REGENERATE}")
    descr, found = header["descr"].decode("latin1"), (int(header["rows"]), int(header["columns"]))
    if (descr, found) != (VALUES_DTYPE, shape):
        raise VIMHError(f"{path}: holds {descr} {found}, but {VALUES_DTYPE} {shape} was expected. {REGENERATE}")
    size = os.fstat(file.fileno()).st_size
    expected = header.end() + math.prod(shape) * np.dtype(VALUES_DTYPE).itemsize
    if size != expected:
        raise VIMHError(f"{path}: has {size} bytes, but its header makes it {expected}. {REGENERATE}")
    if shape[0] == 0:
        return np.empty(shape, VALUES_DTYPE)
    order = "F" if header["fortran"] == b"True" else "C"
    return _map(file, path, VALUES_DTYPE, offset=header.end(), shape=shape, order=order)


def _map(file: BinaryIO, path: Path, dtype: np.dtype | str, **layout: Any) -> np.ndarray:
    """A file as an array that is read on access and cannot be written to."""
    try:
        return np.asarray(np.memmap(file, dtype, "r", **layout))
    except ValueError as error:  # it is shorter by now
        raise VIMHError(f"{path}: was changed while it was opened ({error}). {REGENERATE}") from error
