"""Pictures as samples: image files, MNIST's IDX files, CIFAR's binary files.

Row 0 of a VIMH image is at the bottom, like the lowest frequency of a spectrogram. Pictures are flipped, so that they
appear upright.
"""

import gzip
import math
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from sklearn.datasets import load_digits

from src.errors import ConfigError, VIMHError
from src.params import ParameterSpace, ParamSpec
from src.vimh.convert import About, Choices, pack
from src.vimh.format import directory_name
from src.vimh.info import packed_from
from src.vimh.labels import categorical, category, read_names
from src.vimh.reader import read_info
from src.vimh.samples import DamagedFileError, Part, SampleBatch
from src.vimh.tables import check_directory
from src.vimh.writer import check_name

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"})
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # no programming language such as PostScript
COLORS = ("auto", "grey", "rgb")
GREY_MODES = ("1", "L", "LA", "La")
DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
WHITE = (255, 255, 255, 255)

IDX_SPLITS = {"train": ("train",), "test": ("t10k", "test")}
IDX_UINT8 = 8
GZIP = b"\x1f\x8b"

CIFAR_SIDE = 32
CIFAR_BYTES = 3 * CIFAR_SIDE**2


def picture_keys(shape: tuple[int, int, int]) -> dict[str, Any]:
    """Keys of `DatasetInfo` for pictures of `(channel, height, width)`."""
    names = ("grey",) if shape[0] == 1 else ("red", "green", "blue")
    axes = {"rows": "row from the bottom (pixels)", "columns": "column from the left (pixels)"}
    return {
        "channel_labels": names,
        "channel_ranges": ((0.0, 255.0, "level"),) * len(names),
        "channel_axes": (axes,) * len(names),
    }


def as_samples(picture: np.ndarray, value: np.ndarray) -> SampleBatch:
    """Pictures, top row first, as samples.

    Args:
        picture: uint8, `(sample, channel, height, width)`.
        value: `(sample, parameter)`.
    """
    return SampleBatch(picture[:, :, ::-1], np.zeros((len(picture), 2), np.float32), value)


# ----- image files


@dataclass(frozen=True)
class PictureFormat:
    """Colours and size that pictures are converted to.

    Attributes:
        color: `grey`, `rgb`, or `auto`: each as it is.
        size: `(height, width)` that they are resized to; None: left as they are.
    """

    color: str = "auto"
    size: tuple[int, int] | None = None


def load_picture(path: Path, value: np.ndarray, wanted: PictureFormat) -> SampleBatch:
    """Read an image file; the first picture where it holds several.

    Args:
        path: The file.
        value: Its labels, `(parameter,)`.
        wanted: Its colours and size.

    Raises:
        DamagedFileError: If it is no image, or damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as opened:
                picture = plain_picture(ImageOps.exif_transpose(opened), wanted.color)
            if wanted.size is not None:
                picture = picture.resize(wanted.size[::-1], Image.Resampling.BICUBIC)
            pixels = np.asarray(picture)
    except Exception as error:  # decoders raise nearly anything about a damaged file
        raise DamagedFileError(f"{path}: cannot be read as an image: {error or type(error).__name__}") from error
    planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)  # (channel, height, width)
    return as_samples(planes[None], value[None])


def plain_picture(picture: Image.Image, color: str) -> Image.Image:
    """A picture of 8 bits, grey or RGB, on white where it is transparent."""
    if picture.mode in DEEP_MODES:
        levels = np.asarray(picture).astype(np.uint32)
        picture = Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError("its pixels are wider than 16 bits")
    is_grey = picture.mode in GREY_MODES if color == "auto" else color == "grey"
    if picture.has_transparency_data:
        opaque = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", opaque.size, WHITE), opaque)
    return picture.convert("L" if is_grey else "RGB")


# ----- IDX, the format of MNIST (LeCun, Cortes and Burges): zero, type, number of dimensions, sizes, data; big-endian


def read_idx(path: Path) -> np.ndarray:
    """The array of an IDX file of bytes, plain or compressed by gzip, uint8.

    Raises:
        DamagedFileError: If it is none, or not whole.
    """
    try:
        data = path.read_bytes()
        if data.startswith(GZIP):
            data = gzip.decompress(data)
        zero, kind, n_dims = struct.unpack_from(">HBB", data)
        shape = struct.unpack_from(f">{n_dims}I", data, 4)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DamagedFileError(f"{path}: cannot be read as an IDX file: {error}") from error
    first = 4 + 4 * n_dims
    if (zero, kind) != (0, IDX_UINT8) or not n_dims or len(data) - first != math.prod(shape):
        raise DamagedFileError(
            f"{path}: is no IDX file of bytes, or not whole: it begins with {data[:4].hex()} and holds "
            f"{len(data) - first:,} bytes of data for the shape {'x'.join(map(str, shape))}."
        )
    return np.frombuffer(data, np.uint8, offset=first).reshape(shape)


def idx_set(directory: Path, label: str, names: Sequence[str] | None) -> tuple[ParamSpec, list[Part]]:
    """The content of IDX files in a directory: `train-images…` and `train-labels…`, `t10k-…` or `test-…`.

    Args:
        directory: Where they are.
        label: Name of the label.
        names: Of the labels 0, 1, …; None: the labels that occur, written as numbers.

    Returns:
        The label, and the parts. Without test files there is a part per image, to be divided.

    Raises:
        DamagedFileError: If a file is damaged: nothing can be made of the others.
        ConfigError: If there are no such files, or too few names.
    """
    check_directory(directory)
    pairs = {split: _idx_pair(directory, prefixes) for split, prefixes in IDX_SPLITS.items()}
    if pairs["train"] is None:
        raise ConfigError(f"{directory}: holds no train-images-idx3-ubyte and train-labels-idx1-ubyte, plain or .gz.")
    found = {split: pair for split, pair in pairs.items() if pair is not None}
    labels = np.concatenate([number for _, number in found.values()])
    if names is None:
        spec, value = category(label, [str(number) for number in labels.tolist()])
    elif labels.max() < len(names):
        spec, value = categorical(label, names), labels.astype(np.float64)
    else:
        raise ConfigError(f"{directory}: has labels up to {labels.max()}, but there are {len(names)} names.")
    n_train = len(found["train"][1])
    values = {"train": value[:n_train, None], "test": value[n_train:, None]}
    loads = {split: partial(as_samples, image[:, None], values[split]) for split, (image, _) in found.items()}
    if "test" in found:
        return spec, [Part(f"{directory} ({split})", load, split) for split, load in loads.items()]
    each = [partial(as_samples, found["train"][0][n : n + 1, None], values["train"][n : n + 1]) for n in range(n_train)]
    return spec, [Part(f"image {n} of {directory}", load) for n, load in enumerate(each)]


def _idx_pair(directory: Path, prefixes: Sequence[str]) -> tuple[np.ndarray, np.ndarray] | None:
    """Images `(sample, height, width)` and labels `(sample,)` of a split, or None where there are no files of it."""
    found = []
    for what in ("images", "labels"):
        files = sorted(path for prefix in prefixes for path in directory.glob(f"*{prefix}-{what}*") if path.is_file())
        if len(files) > 1:
            raise ConfigError(f"{directory}: {' and '.join(path.name for path in files)} are there. Leave one of them.")
        found += files
    if not found:
        return None
    if len(found) == 1:
        raise ConfigError(f"{directory}: holds images or labels of {prefixes[0]}, but not both.")
    image, label = (read_idx(path) for path in found)
    if image.ndim != 3 or label.ndim != 1 or len(image) != len(label) or not image.size:
        raise DamagedFileError(
            f"{found[0]}: has the shape {'x'.join(map(str, image.shape))}, and {found[1].name} "
            f"{'x'.join(map(str, label.shape))}; images of two dimensions and a label each were expected."
        )
    return image, label


# ----- CIFAR's binary version (Krizhevsky 2009): labels, then 1024 bytes each of red, green and blue, row by row


CIFAR_FILES: dict[str, dict[str, tuple[str, ...]]] = {  # name of each to the files of its splits
    "cifar10": {"train": tuple(f"data_batch_{n}.bin" for n in range(1, 6)), "test": ("test_batch.bin",)},
    "cifar100": {"train": ("train.bin",), "test": ("test.bin",)},
}
CIFAR_LABELS = {  # name of each to the file of its classes' names, and their number
    "cifar10": {"label": ("batches.meta.txt", 10)},
    "cifar100": {"coarse_label": ("coarse_label_names.txt", 20), "fine_label": ("fine_label_names.txt", 100)},
}


def cifar_set(directory: Path) -> tuple[str, tuple[ParamSpec, ...], list[Part]]:
    """The content of CIFAR-10's or CIFAR-100's binary files in a directory.

    Returns:
        `cifar10` or `cifar100`, the labels, and a part per file.

    Raises:
        ConfigError: If there are no such files.
    """
    check_directory(directory)
    for name, splits in CIFAR_FILES.items():
        paths = [(split, directory / file) for split, files in splits.items() for file in files]
        if any(path.is_file() for _, path in paths):
            labels = CIFAR_LABELS[name].items()
            specs = tuple(_cifar_label(label, directory / file, n_classes) for label, (file, n_classes) in labels)
            loads = [partial(load_cifar, path, specs) for _, path in paths]
            parts = [Part(str(path), load, split) for (split, path), load in zip(paths, loads, strict=True)]
            return name, specs, parts
    pickled = any((directory / name).is_file() for name in ("data_batch_1", "meta"))
    raise ConfigError(
        f"{directory}: holds no data_batch_1.bin (CIFAR-10) and no train.bin (CIFAR-100)."
        + (" These are pickles, which could run code; take the binary version." if pickled else "")
    )


def load_cifar(path: Path, specs: Sequence[ParamSpec]) -> SampleBatch:
    """Read a file of records: a byte per label, then the image.

    Raises:
        DamagedFileError: If it is missing, holds no whole number of records, or labels that cannot be.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DamagedFileError(f"{path}: cannot be read ({error.strerror}).") from error
    size = len(specs) + CIFAR_BYTES
    if not len(data) or len(data) % size:
        raise DamagedFileError(f"{path}: has {len(data):,} bytes, which is no whole number of records of {size:,}.")
    records = data.reshape(-1, size)
    label = records[:, : len(specs)].astype(np.float64)
    wrong = np.argwhere(label > ParameterSpace(tuple(specs)).high)
    if len(wrong):
        row, column = wrong[0]
        raise DamagedFileError(
            f"{path}: record {row} has {specs[column].name} {label[row, column]:.0f}; {specs[column].max:.0f} is the "
            "highest."
        )
    return as_samples(records[:, len(specs) :].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE), label)


def _cifar_label(label: str, path: Path, n_classes: int) -> ParamSpec:
    """A label with its names, or numbers where the file of names is missing."""
    names = read_names(path) if path.is_file() else [str(number) for number in range(n_classes)]
    if len(names) != n_classes:
        raise ConfigError(f"{path}: holds {len(names)} names for {n_classes} classes.")
    return categorical(label, names)


# ----- scikit-learn's digits


def make_digits(data_dir: str | Path, seed: int = 42, test_fraction: float = 0.2, name: str | None = None) -> None:
    """Pack scikit-learn's handwritten digits, 1,797 pictures of 8x8 pixels, unless that dataset exists already.

    A dataset of another program that is there is left as it is: whoever names its directory wants it.

    They are a copy of the test half of Alpaydin and Kaynak's "Optical Recognition of Handwritten Digits" (1998), and
    come with the package.

    Args:
        data_dir: The dataset's directory.
        seed: Of the division.
        test_fraction: Share of the samples that test.
        name: Of the directory, if it is to be another one than the format prescribes.

    Raises:
        VIMHError: If the directory holds a set of sounds, or the digits divided in another way, or if it is missing and
            has another name.
    """
    data_dir = Path(data_dir)
    wanted = {"kind": "digits", "seed": seed, "test_fraction": test_fraction, "skipped_files": 0}
    if data_dir.exists():
        info = read_info(data_dir)
        found = packed_from(info)
        is_ours = info.generator is not None or found.get("kind") == wanted["kind"]
        if is_ours and found != wanted:
            raise VIMHError(
                f"{data_dir}: holds another dataset than the digits with seed {seed} and a share of {test_fraction} to "
                "test. Choose another data.data_dir, or delete it."
            )
        return

    digits = load_digits()
    spec, value = category("digit", [str(number) for number in digits.target])
    picture = np.round(digits.images * (255 / 16)).astype(np.uint8)[:, None]  # (sample, channel, height, width)
    parts = [
        Part(f"digit {n}", partial(as_samples, picture[n : n + 1], value[n : n + 1, None])) for n in range(len(picture))
    ]
    about = About("digits", (spec,), picture_keys, {"kind": "digits"})
    check_name(data_dir, directory_name(picture.shape[1:], None, None, len(picture), about.name, 1), name)
    pack(parts, about, Choices(data_dir, seed=seed, test_fraction=test_fraction))
