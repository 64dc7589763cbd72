"""Datasets to show: of this project and of other programs, small, odd and hostile."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from src.checkpoints.trusted import instantiate_trusted
from src.playback import Playback
from src.sheet.content import SheetContent, SplitContent
from src.vimh.format import INFO_NAME, METADATA_BYTES_2_0, SPLITS, record_dtype
from src.vimh.info import DatasetInfo
from src.vimh.reader import VIMHReader
from src.vimh.sources import Sources

HOSTILE = "<img src=x onerror=\"document.title='broken'\">'&</script>\u202e"
NUMBER = {"min": 0.0, "max": 1.0, "step": 0.25}
KINDS = {
    "wave": {"min": 0, "max": 2, "step": 1, "names": ["sine", HOSTILE, "x" * 300], "categorical": True},
    "lfo": {"min": 0, "max": 1, "step": 1, "names": ["off", "on"], "categorical": True},
    "rate": {"min": 0.0, "max": 1.0, "step": 0.1, "units": "log10 Hz", "scale": "log", "active_if": {"lfo": ["on"]}},
    "octave": {"min": -2, "max": 2, "step": 1, "kind": "integer", "units": HOSTILE},
}


def write_foreign(
    data_dir: Path, shape=(2, 4, 6), parameters=None, n_train=5, n_test=0, image=None, **keys: object
) -> Path:
    """A dataset as an older program may have left it: no ranges, no exact values, no word on the sounds."""
    parameters = parameters or {"p": NUMBER}
    channels, height, width = shape
    info = {
        "format": "VIMH",
        "version": "2.0",
        "height": height,
        "width": width,
        "channels": channels,
        "parameter_names": list(parameters),
        "train_samples": n_train,
        "test_samples": n_test,
        "parameter_mappings": parameters,
    }
    rng = np.random.default_rng(0)
    data_dir.mkdir(parents=True)
    for split, n in zip(SPLITS, (n_train, n_test), strict=True):
        records = np.zeros(n, record_dtype(shape, len(parameters), METADATA_BYTES_2_0))
        records["height"], records["width"], records["channels"] = height, width, channels
        records["n_parameters"] = len(parameters)
        records["labels"]["id"] = np.arange(len(parameters))
        records["labels"]["code"] = rng.integers(0, 256, (n, len(parameters)))
        records["image"] = rng.integers(0, 256, (n, *shape)) if image is None else image
        if n:
            (data_dir / split).write_bytes(records.tobytes())
    (data_dir / INFO_NAME).write_text(DatasetInfo.from_dict(info | keys, "a test").to_json())
    return data_dir


def content_of(data_dir: Path, **changes) -> SheetContent:
    """What the page of a dataset shows."""
    reader = VIMHReader(data_dir)
    samples = {split: reader.split(split) for split in SPLITS}
    parts = {
        "title": data_dir.name,
        "info": reader.info,
        "splits": {split: SplitContent(found) for split, found in samples.items() if len(found)},
        "playback": Playback(reader.info, instantiate_trusted),
        "facts": {"a fact": HOSTILE},
    }
    return SheetContent(**parts | changes)


def with_files(content: SheetContent, name: str = "words/no.wav") -> SheetContent:
    """The same whose records come from files, all of one name but for the number in front."""

    def of(split: SplitContent) -> SplitContent:
        rows = [(f"{n}/{name}", f"{n / 4}", "group", "", "0") for n in range(len(split.samples))]
        return SplitContent(split.samples, Sources.of(rows))

    return replace(content, splits={key: of(split) for key, split in content.splits.items()})


def page_data(page: str) -> dict:
    """The description that a page holds."""
    return json.loads(page.partition('<script type="application/json" id="data">')[2].partition("</script>")[0])
