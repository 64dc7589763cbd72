"""A second implementation of the format, by struct and json alone, to hold the first one to."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

INFO_NAME = "vimh_dataset_info.json"


def plain_record(record: dict[str, Any], height: int, width: int, channels: int) -> bytes:
    """One record; `spec` is None in format version 2.0."""
    parts = [struct.pack("<HHH", height, width, channels)]
    if record["spec"] is not None:
        parts.append(struct.pack("<ff", *record["spec"]))
    parts.append(struct.pack("<B", len(record["labels"])))
    parts += [struct.pack("<BB", *label) for label in record["labels"]]
    parts.append(bytes(record["image"]))
    return b"".join(parts)


class PlainDataset:
    """A small dataset of random records; change `info`, `records` or `values`, then `write` it.

    Attributes:
        info: Content of the JSON: the required keys only.
        records: Split to records, each `labels` as pairs of id and code, `spec` and `image` as bytes.
        values: Split to float32 values, `(sample, parameter)`; empty for none.
    """

    def __init__(
        self, n_train: int = 5, n_test: int = 2, n_parameters: int = 2, metadata_bytes: int = 14, seed: int = 0
    ) -> None:
        rng = np.random.default_rng(seed)
        names = [f"p{i}" for i in range(n_parameters)]
        self.info: dict[str, Any] = {
            "format": "VIMH",
            "version": "2.1" if metadata_bytes == 14 else "2.0",
            "height": 4,
            "width": 3,
            "channels": 2,
            "parameter_names": names,
            "train_samples": n_train,
            "test_samples": n_test,
            "parameter_mappings": {
                name: {"min": -1.0 * (i % 7), "max": 10.0 + i % 7, "step": 1.0 + i % 2} for i, name in enumerate(names)
            },
            "label_encoding": {"metadata_bytes": metadata_bytes},
        }
        self.records: dict[str, list[dict[str, Any]]] = {
            split: [
                {
                    "labels": [(p, int(rng.integers(256))) for p in range(n_parameters)],
                    "spec": (-80.0 - i, 0.5 * i) if metadata_bytes == 14 else None,
                    "image": rng.integers(0, 256, 24, dtype=np.uint8).tobytes(),
                }
                for i in range(n)
            ]
            for split, n in (("train", n_train), ("test", n_test))
        }
        self.values: dict[str, np.ndarray] = {}

    def decoded(self, split: str) -> np.ndarray:
        """Values that the codes stand for, float32, `(sample, parameter)`."""
        rows = []
        for record in self.records[split]:
            code = dict(record["labels"])
            ranges = [self.info["parameter_mappings"][name] for name in self.info["parameter_names"]]
            rows.append(
                [entry["min"] + code[p] / 255 * (entry["max"] - entry["min"]) for p, entry in enumerate(ranges)]
            )
        return np.array(rows, dtype=np.float32).reshape(len(rows), len(self.info["parameter_names"]))

    def file_bytes(self, split: str) -> bytes:
        """Content of the file of a split."""
        size = self.info["height"], self.info["width"], self.info["channels"]
        return b"".join(plain_record(record, *size) for record in self.records[split])

    def write(self, data_dir: Path) -> Path:
        """Write every file; returns the directory."""
        data_dir.mkdir(parents=True)
        for split in self.records:
            (data_dir / split).write_bytes(self.file_bytes(split))
        for split, value in self.values.items():
            np.save(data_dir / f"{split}_values.npy", value)
        (data_dir / INFO_NAME).write_text(json.dumps(self.info))
        return data_dir


@pytest.fixture(scope="session")
def plain() -> type[PlainDataset]:
    """The class `PlainDataset`."""
    return PlainDataset
