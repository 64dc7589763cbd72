"""The byte layout of a VIMH record. No other module depends on it.

A record is a header, the labels and the image, little-endian and without padding: height, width, channels (uint16),
spec_min, spec_max (float32, absent in version 2.0), N (uint8), N pairs of id and code (uint8 each), and the image
(uint8, channel by channel, row by row).
"""

import math
import re
from typing import Final, Literal, get_args

import numpy as np

from src.errors import VIMHError

INFO_NAME = "vimh_dataset_info.json"
Split = Literal["train", "test"]
SPLITS = get_args(Split)
SOURCES_NAME = "sources.csv"
# All that may lie beside it.
FILE_NAMES = frozenset(f"{split}{suffix}" for split in SPLITS for suffix in ("", "_values.npy", "_batch"))
FILE_NAMES |= {SOURCES_NAME}
METADATA_BYTES: Final = 14
METADATA_BYTES_2_0: Final = 6
MAX_IMAGE_SIDE = 65535
MAX_RECORD_BYTES = 2**31 - 1  # of a NumPy dtype

_NAME_CLAIM = re.compile(r"vimh-(\d+)x(\d+)x(\d+)(?!\d)")


def record_dtype(image_shape: tuple[int, int, int], n_parameters: int, metadata_bytes: int) -> np.dtype:
    """The structured dtype of one record.

    Args:
        image_shape: `(channel, height, width)`.
        n_parameters: Number of varying parameters, N.
        metadata_bytes: Bytes before N: 14 with `spec_min` and `spec_max`, 6 without.

    Raises:
        VIMHError: If a side is longer than the header can say, or a record larger than NumPy can handle.
    """
    channels, height, width = image_shape
    size = metadata_bytes + 1 + 2 * n_parameters + math.prod(image_shape)
    if max(image_shape) > MAX_IMAGE_SIDE or size > MAX_RECORD_BYTES:
        raise VIMHError(
            f"Images of height x width x channels {height}x{width}x{channels} make records of {size} bytes; "
            f"{MAX_IMAGE_SIDE} is the most for each dimension, {MAX_RECORD_BYTES} bytes for a record. Take smaller "
            "images."
        )
    spec_range = [("spec_min", "<f4"), ("spec_max", "<f4")] if metadata_bytes == METADATA_BYTES else []
    return np.dtype(
        [
            ("height", "<u2"),
            ("width", "<u2"),
            ("channels", "<u2"),
            *spec_range,
            ("n_parameters", "u1"),
            ("labels", [("id", "u1"), ("code", "u1")], (n_parameters,)),
            ("image", "u1", image_shape),
        ]
    )


def offsets(dtype: np.dtype) -> dict[str, int]:
    """Name of each field of a record to the byte that it begins at."""
    return {name: field[1] for name, field in (dtype.fields or {}).items()}


def pack(dtype: np.dtype, image: np.ndarray, code: np.ndarray, spec_range: np.ndarray) -> np.ndarray:
    """Records of a batch.

    Args:
        dtype: From `record_dtype`.
        image: uint8, `(sample, channel, height, width)`.
        code: uint8, `(sample, parameter)`; column i gets the id i.
        spec_range: `spec_min` and `spec_max` in dB, `(sample, 2)`; left out where the dtype has no place for it.

    Returns:
        Structured array, `(sample,)`.
    """
    records = np.empty(len(image), dtype)
    records["channels"], records["height"], records["width"] = image.shape[1:]
    records["n_parameters"] = code.shape[1]
    records["labels"]["id"] = np.arange(code.shape[1])
    records["labels"]["code"] = code
    records["image"] = image
    if "spec_min" in offsets(dtype):
        records["spec_min"], records["spec_max"] = spec_range.T
    return records


class Columns:
    """The places of the labels among the bytes of a record, to check and read many records by a few operations.

    Args:
        dtype: From `record_dtype`.
    """

    def __init__(self, dtype: np.dtype) -> None:
        image, code = (np.zeros((1, *dtype[name].shape), np.uint8) for name in ("image", "labels"))
        first = offsets(dtype)
        self._end = first["image"]
        self._expected = pack(dtype, image, code, np.zeros((1, 2))).view(np.uint8)[: self._end]
        self._codes = slice(first["labels"] + 1, self._end, 2)
        self._range = slice(first["spec_min"], first["n_parameters"]) if "spec_min" in first else slice(0)
        self._varying = np.zeros(self._end, bool)
        self._varying[self._codes] = self._varying[self._range] = True

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """`spec_min` and `spec_max` of records, and their codes.

        Args:
            rows: Bytes of the records, uint8, `(sample, byte)`.

        Returns:
            Float32, `(sample, 2)`, or `(sample, 0)` where records have none, and uint8, `(sample, parameter)`; None for
            the codes unless all headers are as the dtype has them, all ids ascend, and all ranges are finite and rise.
        """
        spec_range = np.ascontiguousarray(rows[:, self._range]).view("<f4")
        same = ((rows[:, : self._end] == self._expected) | self._varying).all()
        if not (same and np.isfinite(spec_range).all() and (spec_range[:, :1] <= spec_range[:, 1:]).all()):
            return spec_range, None
        return spec_range, np.ascontiguousarray(rows[:, self._codes])


def check_headers(records: np.ndarray, where: str, first: int | np.ndarray = 0) -> None:
    """Refuse records whose header contradicts their dtype.

    Args:
        records: Structured array, `(sample,)`.
        where: File, for the message.
        first: Number of the first record in that file, or the number of each.

    Raises:
        VIMHError: Naming the record, what was found and what was expected.
    """
    channels, height, width = records.dtype["image"].shape
    expected = np.array([height, width, channels, records.dtype["labels"].shape[0]])
    found = np.stack([records[name] for name in ("height", "width", "channels", "n_parameters")], axis=1)
    wrong = np.flatnonzero((found != expected).any(axis=1))
    if wrong.size:
        raise VIMHError(
            f"{where}: record {_number(first, wrong[0])} says height, width, channels, N = "
            f"{', '.join(map(str, found[wrong[0]]))}, but {', '.join(map(str, expected))} was expected from the JSON. "
            "The file is damaged or belongs to another dataset: restore or regenerate it."
        )
    if "spec_min" in offsets(records.dtype):
        spec_min, spec_max = records["spec_min"], records["spec_max"]
        wrong = np.flatnonzero(~(np.isfinite(spec_min) & np.isfinite(spec_max) & (spec_min <= spec_max)))
        if wrong.size:
            raise VIMHError(
                f"{where}: record {_number(first, wrong[0])} says spec_min {spec_min[wrong[0]]}, spec_max "
                f"{spec_max[wrong[0]]}; two finite numbers in rising order were expected. Restore or regenerate it."
            )


def codes_by_id(records: np.ndarray, where: str, first: int | np.ndarray = 0) -> np.ndarray:
    """Codes in the order of their ids, uint8, `(sample, parameter)`, whatever the order in the record.

    Args:
        records: Structured array, `(sample,)`.
        where: File, for the message.
        first: Number of the first record in that file, or the number of each.

    Raises:
        VIMHError: If `check_headers` refuses a header, or the ids of a record are not each of 0 … N - 1 once.
    """
    check_headers(records, where, first)
    ids, codes = records["labels"]["id"], records["labels"]["code"]
    ascending = np.arange(ids.shape[1], dtype=np.uint8)
    if np.array_equal(ids, np.broadcast_to(ascending, ids.shape)):
        return np.ascontiguousarray(codes)
    order = np.argsort(ids, axis=1)
    wrong = np.flatnonzero((np.take_along_axis(ids, order, axis=1) != ascending).any(axis=1))
    if wrong.size:
        raise VIMHError(
            f"{where}: record {_number(first, wrong[0])} holds the parameter ids {ids[wrong[0]].tolist()}, but each of "
            f"0 to {ids.shape[1] - 1} was expected once. The file is damaged: restore or regenerate it."
        )
    return np.take_along_axis(codes, order, axis=1)


def claimed_image_size(directory_name: str) -> tuple[int, int, int] | None:
    """Height, width and channels that a directory name claims, or None if it claims nothing."""
    match = _NAME_CLAIM.match(directory_name)
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))


def directory_name(
    image_shape: tuple[int, int, int],
    sample_rate: float | None,
    duration: float | None,
    n_samples: int,
    synth_type: str,
    n_parameters: int,
    suffix: str | None = None,
) -> str:
    """Name of a dataset directory, such as `vimh-32x32x1_8000Hz_1p0s_256dss_simple_2p`.

    Args:
        image_shape: `(channel, height, width)`.
        sample_rate: Hz.
        duration: s; without it, or without a sample rate, the name holds neither.
        n_samples: Train and test together.
        synth_type: Short name of the synth.
        n_parameters: Number of varying parameters.
        suffix: Appended after an underscore.
    """
    channels, height, width = image_shape
    parts = [f"vimh-{height}x{width}x{channels}"]
    if sample_rate is not None and duration is not None:
        parts += [f"{sample_rate:.15g}Hz", f"{float(duration)}s".replace(".", "p")]
    parts += [f"{n_samples}dss", synth_type, f"{n_parameters}p"]
    return "_".join([*parts, str(suffix)] if suffix else parts)  # OmegaConf reads 7 as a number


def _number(first: int | np.ndarray, offset: int) -> int:
    """Number of a record in its file, from the number of the first record or from the number of each."""
    return int(first[offset]) if isinstance(first, np.ndarray) else first + int(offset)
