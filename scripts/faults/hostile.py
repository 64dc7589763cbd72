"""Hostile checkpoints and pickles, the same ones for the same seed.

Every kind tries to run something, to take minutes or gigabytes, or to be mistaken for something else. `MARK` is the
file or directory that appears if anything is run; what is run besides that does no harm.

python scripts/faults/hostile.py checkpoints|pickles GOOD SEED reads all of them in this process, as `use_checkpoint`
or `use_pickle` do, prints those that ended neither in an error of this project nor in a result, and exits with their
number.
"""

import builtins
import functools
import importlib
import io
import logging
import os
import pickle
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from src.checkpoints.run import load_run, restore_datamodule
from src.checkpoints.trusted import instantiate_trusted
from src.errors import CheckpointError, NSMError
from src.evaluation.domain import Domain
from src.migration import upgraded
from src.recipe import Recipe
from src.vimh.legacy import read
from src.vimh.reader import read_info

MARK = Path(tempfile.gettempdir()) / "hostile_was_here"
ENTRY = "nsm_run"
SECONDS = 60  # for one file, on a machine with other things to do
GIGABYTES = 2  # that reading may take beyond what the libraries take

Case = tuple[str, bytes]


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


COMMAND = f"touch {MARK}"
CALLS = {
    "os.system": (os.system, COMMAND),
    "os.popen": (os.popen, COMMAND),
    "os.mkdir": (os.mkdir, str(MARK)),
    "subprocess.run": (subprocess.run, ["touch", str(MARK)]),
    "subprocess.Popen": (subprocess.Popen, ["touch", str(MARK)]),
    "eval": (builtins.eval, f"open({str(MARK)!r}, 'w')"),
    "exec": (builtins.exec, f"open({str(MARK)!r}, 'w')"),
    "open": (builtins.open, str(MARK), "w"),
    "shutil.copy": (shutil.copy, os.devnull, str(MARK)),
    "Path.touch": (Path.touch, MARK),
    "FileHandler": (logging.FileHandler, str(MARK)),
    "getattr": (builtins.getattr, "os", "system"),
    "partial": (functools.partial, os.system, COMMAND),
    "import_module": (importlib.import_module, "antigravity"),
    "connect": (socket.create_connection, ("127.0.0.1", 9)),
    "urlopen": (urllib.request.urlopen, "http://127.0.0.1:9/"),
    "torch.load": (torch.load, "/dev/zero"),
    "torch.save": (torch.save, 1, str(MARK)),
    "numpy.save": (np.save, str(MARK), 1),
    "numpy.fromfile": (np.fromfile, "/dev/zero"),
}

# Classes and functions with effects, and arguments that make them show.
TARGETS = {
    "lightning.fabric.loggers.csv_logs._ExperimentWriter": {"log_dir": str(MARK)},
    "lightning.pytorch.demos.mnist_datamodule._MNIST": {"root": str(MARK), "download": True},
    "lightning.pytorch.demos.mnist_datamodule.MNISTDataModule": {"data_dir": str(MARK)},
    "lightning.pytorch.loggers.CSVLogger": {"save_dir": str(MARK)},
    "lightning.pytorch.loggers.TensorBoardLogger": {"save_dir": str(MARK)},
    "lightning.pytorch.Trainer": {"default_root_dir": str(MARK)},
    "lightning.pytorch.cli.LightningCLI": {},
    "lightning.fabric.utilities.cloud_io._load": {"path_or_url": "http://127.0.0.1:9/"},
    "src.vimh.writer.VIMHWriter": {"data_dir": str(MARK)},
    "src.vimh.reader.VIMHReader": {"data_dir": str(MARK)},
    "src.files.write_atomically": {"path": str(MARK), "content": "x"},
    "src.generation.make_dataset": {"data_dir": str(MARK), "config_name": "synth/generate_simple_saw"},
    "src.vimh.pictures.make_digits": {"data_dir": str(MARK)},
    "src.checkpoints.trusted.instantiate_own": {"section": {"x": 1}},
    "src.checkpoints.run.load_run": {"ckpt_path": str(MARK)},
    "torch.nn.Sequential": {},
    "torch.nn.modules.module.Module.load_state_dict": {},
    "torch.hub.load": {"repo_or_dir": "a/b", "model": "c"},
    "torch.load": {"f": "/dev/zero"},
    "torch.save": {"obj": 1, "f": str(MARK)},
    "torch.utils.tensorboard.SummaryWriter": {"log_dir": str(MARK)},
    "torchmetrics.utilities.prints.rank_zero_only": {},
    "os.system": {"command": COMMAND},
    "os.mkdir": {"path": str(MARK)},
    "subprocess.run": {"args": COMMAND, "shell": True},
    "builtins.open": {"file": str(MARK), "mode": "w"},
    "builtins.exec": {"_args_": [f"open({str(MARK)!r}, 'w')"]},
    "pathlib.Path.touch": {"self": str(MARK)},
    "hydra.utils.get_method": {"path": "os.system"},
    "functools.partial": {"_args_": [COMMAND]},
}
CONFIG, INFO = (ENTRY, "config"), (ENTRY, "dataset_info")
RECIPE = (*INFO, "generator", "config")
SLOTS = {
    "loss": (*CONFIG, "loss"),
    "model": (*CONFIG, "model"),
    "net": (*CONFIG, "model", "net"),
    "optimizer": (*CONFIG, "model", "optimizer"),
    "scheduler": (*CONFIG, "model", "scheduler"),
    "a layer": (*CONFIG, "model", "net", "activation"),
    "a list in the net": (*CONFIG, "model", "net", "widths"),
    "head_weights": (*CONFIG, "model", "head_weights"),
    "in the loss": (*CONFIG, "loss", "sigma"),
    "data": (*CONFIG, "data"),
    "measure": (*CONFIG, "data", "measure"),
    "synth": (*RECIPE, "synth"),
    "representation": (*RECIPE, "representation"),
    "channel": (*RECIPE, "channels", "odd"),
    "mel": (*RECIPE, "representation", "mel"),
}


def laughs(depth: int = 60, kind: type = list) -> Any:
    """A list of one list twice, of one list twice, and so on: 2^depth in all."""
    node: Any = kind(["ha"])
    for _ in range(depth):
        node = kind([node, node])
    return node


def mapped_laughs(depth: int = 60) -> dict[str, Any]:
    """The same of mappings."""
    node: dict[str, Any] = {"a": 1}
    for _ in range(depth):
        node = {"a": node, "b": node}
    return node


def nested(depth: int) -> list:
    """Lists in each other."""
    node: list = []
    for _ in range(depth):
        node = [node]
    return node


VIT = {"_target_": "src.models.components.vit.VisionTransformer", "patch_size": [8, 8], "dim": 24, "depth": 1}
VIT |= {"n_heads": 2, "hidden": 24}
CNN = {"_target_": "src.models.components.cnn.SpectralCNN", "widths": [4, 6], "hidden": 14}
LINEAR = {"_target_": "torch.nn.Linear", "in_features": 30_000, "out_features": 30_000}
NETS = {
    "a dense layer of 3.6 GB": LINEAR,
    "a dense layer of 3.6 GB in the net": CNN | {"activation": LINEAR},
    "depth of a million": VIT | {"depth": 10**6},
    "depth of a billion": VIT | {"depth": 10**9},
    "depth of 60,000": VIT | {"depth": 60_000},
    "convolutions of a million": CNN | {"depth": 10**6},
    "hidden of a billion": CNN | {"hidden": 10**9},
    "hidden of 60,000": VIT | {"hidden": 60_000, "dim": 60_000},
    "hidden of 2^63": CNN | {"hidden": 2**63},
    "hidden of 10^300": CNN | {"hidden": 10**300},
    "mlp_ratio of 10^9": VIT | {"mlp_ratio": 1e9},
    "mlp_ratio of infinity": VIT | {"mlp_ratio": float("inf")},
    "patches of a pixel": VIT | {"patch_size": [1, 1], "dim": 4096, "positions": "sinusoidal"},
    "widths of a million": CNN | {"widths": [10**6] * 4},
    "100,000 widths": CNN | {"widths": [4] * 100_000},
    "a million layers of an MLP": {"_target_": "src.models.components.mlp.MLP", "hidden": [1] * 1_000_000},
    "kernel of a million": CNN | {"kernel_size": 999_999},
    "negative sizes": CNN | {"widths": [-4, -6]},
    "no sizes": CNN | {"widths": []},
    "sizes of text": CNN | {"widths": "wide"},
}
RECIPES = {
    "n_fft of 10^9": ("representation", {"n_fft": 10**9}),
    "win_length of 10^9": ("representation", {"win_length": 10**9, "n_fft": 10**9}),
    "height of 65,535": ("representation", {"height": 65_535, "n_fft": 131_072}),
    "width of 65,535": ("representation", {"width": 65_535, "n_fft": 2**20}),
    "hop of 10^9": ("representation", {"hop_multiple": 10**9}),
    "duration of 10^9": ("representation", {"duration": 1e9}),
    "sample_rate of 10^9": ("representation", {"sample_rate": 10**9}),
    "duration of infinity": ("representation", {"duration": float("inf")}),
    "duration of NaN": ("representation", {"duration": float("nan")}),
    "window of taylor": ("representation", {"window": ["taylor", 10**6]}),
    "window of nothing": ("representation", {"window": "no such window"}),
    "mel of text": ("representation", {"mel": "yes"}),
    "synth for 10^9 s": ("synth", {"duration": 1e9}),
    "synth at 10^9 Hz": ("synth", {"sample_rate": 10**9}),
    "synth at 0 Hz": ("synth", {"sample_rate": 0}),
    "synth of NaN": ("synth", {"duration": float("nan")}),
    "synth of text": ("synth", {"duration": "long"}),
    "16,000 windows": ("channels", {"a": {"_target_": "src.spectral.channels.LogPower", "ratios": [0.5] * 16_000}}),
    "window of 10^9": ("channels", {"a": {"_target_": "src.spectral.channels.LogPower", "ratios": [1e9]}}),
    "modulation of 0.001 Hz": (
        "channels",
        {"a": {"_target_": "src.spectral.channels.Modulation", "max_frequency": 1e-3}},
    ),
}
CONFUSED = [None, True, -1, 0, 1e308, float("nan"), "", "x" * 1000, "\x1b[2J\x00", [], {}, [[]], torch.zeros(3), b"\0"]


def saved(content: Any, **options: Any) -> bytes:
    """What `torch.save` writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def put(content: Any, path: tuple, item: Any) -> Any:
    """A copy of nested mappings with something else in one place; what is missing on the way is made."""
    if not path:
        return item
    key, *rest = path
    inner = content.get(key) if isinstance(content, dict) else None
    return {**(content if isinstance(content, dict) else {}), key: put(inner, tuple(rest), item)}


def at(content: Any, path: tuple) -> Any:
    """What stands in a place, or None."""
    for key in path:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def paths(node: Any, path: tuple = ()) -> Iterator[tuple]:
    """Every place in nested mappings."""
    if isinstance(node, dict):
        for key, item in node.items():
            yield (*path, key)
            yield from paths(item, (*path, key))


def rezipped(data: bytes, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive with changed files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return buffer.getvalue()


def with_pickle(data: bytes, stream: bytes) -> bytes:
    """A checkpoint with another pickle in it."""
    return rezipped(data, lambda name, content: stream if name.endswith("/data.pkl") else content)


def damaged(data: bytes, rng: random.Random, n: int) -> Iterator[Case]:
    """A file cut and with other bytes at random places."""
    for number in range(n):
        yield f"cut {number}", data[: rng.randrange(len(data))]
        changed = bytearray(data)
        for _ in range(rng.randint(1, 8)):
            changed[rng.randrange(min(len(data), 20_000))] = rng.randrange(256)
        yield f"other bytes {number}", bytes(changed)


def content_of(data: bytes) -> dict[str, Any]:
    """What a good checkpoint holds, with its configurations in today's names."""
    content = torch.load(io.BytesIO(data), weights_only=True)
    content[ENTRY] = upgraded(content[ENTRY])
    content[ENTRY]["dataset_info"]["generator"] = upgraded(content[ENTRY]["dataset_info"]["generator"])
    return content


def hostile_checkpoints(good: Path, seed: int = 0) -> Iterator[Case]:
    """Name and bytes of hostile checkpoints, several hundred.

    Args:
        good: A checkpoint of this project that they are made from.
        seed: Chooses places and bytes.
    """
    rng = random.Random(seed)
    data = good.read_bytes()
    content = content_of(data)
    yield from _calls_in_checkpoints(content, data)
    for slot, path in SLOTS.items():
        for target, arguments in TARGETS.items():
            section = {"_target_": target, **arguments}
            is_list = slot == "a list in the net"
            yield f"{target} as {slot}", saved(put(content, path, [section] if is_list else section))
        for option in ({"_args_": [1]}, {"_recursive_": False}, {"_partial_": 1}, {"_convert_": "object"}):
            section = at(content, path)
            yield (
                f"{option} in {slot}",
                saved(put(content, path, (section if isinstance(section, dict) else {}) | option)),
            )
    yield from _sizes_of_checkpoints(content, data)
    yield from _confused_checkpoints(content, rng)
    yield from damaged(data, rng, 20)


def _calls_in_checkpoints(content: dict[str, Any], data: bytes) -> Iterator[Case]:
    """Functions that would be called where a checkpoint is unpickled."""
    for name, (function, *arguments) in CALLS.items():
        call = Call(function, *arguments)
        yield f"{name} alone", saved(call)
        yield f"{name} beside the weights", saved(content | {"callbacks": [call]})
        yield f"{name} in the configuration", saved(put(content, (*CONFIG, "loss"), call))
        yield f"{name} as a weight", saved(put(content, ("state_dict", "best_acc"), call))
        yield f"{name} in the old format", saved(call, _use_new_zipfile_serialization=False)
        yield f"{name} as a pickle", pickle.dumps(call)
        yield f"{name} by protocol 4", with_pickle(data, pickle.dumps(call, protocol=4))
    for name, stream in _opcodes().items():
        yield f"{name} in the archive", with_pickle(data, stream)


def _sizes_of_checkpoints(content: dict[str, Any], data: bytes) -> Iterator[Case]:
    """What would take minutes or gigabytes."""
    for name, net in NETS.items():
        yield name, saved(put(content, SLOTS["net"], net))
    for name, (section, settings) in RECIPES.items():
        path = (*RECIPE, section)
        yield name, saved(put(content, path, (at(content, path) or {}) | settings))
    places = {"config": CONFIG, "info": INFO, "domain": (ENTRY, "domain", "mean"), "callbacks": ("callbacks", "a")}
    places |= {"loss": (*SLOTS["loss"], "sigma"), "weights": ("state_dict", "a"), "generator": (*INFO, "generator")}
    places |= {"version": (ENTRY, "config_version"), "experiment_name": (*CONFIG, "experiment_name")}
    places |= {
        "aux": (*CONFIG, "data", "aux"),
        "data_dir": (*CONFIG, "data", "data_dir"),
        "global_step": ("global_step",),
    }
    for name, path in places.items():
        yield f"laughing lists in {name}", saved(put(content, path, laughs()))
        yield f"laughing mappings in {name}", saved(put(content, path, mapped_laughs()))
        yield f"lists of depth 300 in {name}", saved(put(content, path, nested(300)))
        yield f"a large number in {name}", saved(put(content, path, 10**4000))
    yield from ((name, make()) for name, make in archives(content, data).items())
    yield "a tensor of one number, repeated", saved(put(content, ("state_dict", "a"), torch.zeros(1).expand(10**11)))
    shared = torch.zeros(10**6)
    yield "a thousand views", saved(content | {"state_dict": {f"a{i}": shared[i:] for i in range(1000)}})
    yield "an empty tensor of odd shape", saved(put(content, ("state_dict", "a"), torch.zeros(0, 10**15)))
    sparse = torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.long), torch.ones(1), (10**12,))
    yield "a sparse tensor", saved(put(content, ("state_dict", "a"), sparse))
    yield "a meta tensor", saved(put(content, ("state_dict", "a"), torch.zeros(10**6, 10**6, device="meta")))
    for size in (5, 10**6, 10**12):
        yield f"storage of {size}", _claiming(size)
    yield "images of 4 GB", saved(put(put(content, (*INFO, "height"), 65_535), (*INFO, "width"), 65_535))
    huge = {"height": 30_000, "width": 60_000, "image_size": "30000x60000x1"}
    yield "images of 2 GB", saved(put(content, INFO, content[ENTRY]["dataset_info"] | huge))
    yield "a million inputs", saved(put(content, (*CONFIG, "data", "aux"), ["spec_min"] * 400_000))
    yield "a text of 40 MB", saved(put(content, (*CONFIG, "loss", "_target_"), "a" * 40_000_000))
    for name in ("../" * 40 + "tmp/hostile_was_here", "/nowhere/..", "http://127.0.0.1:9/", "a\0b", "\ud800"):
        yield f"data_dir {name[:20]!r}", saved(put(content, (*CONFIG, "data", "data_dir"), name))


def archives(content: dict[str, Any], data: bytes) -> dict[str, Callable[[], bytes]]:
    """Name to what makes an archive that grows where it is read."""
    zeros, deflated = torch.zeros(2**24), zipfile.ZIP_DEFLATED
    keyed = b"\x80\x02}(" + _laughing_tuples(60) + b"K\x01u."
    called = b"\x80\x02ccollections\nCounter\n](" + _laughing_tuples(60) + b"e\x85R."
    return {
        "a laughing key": lambda: with_pickle(data, keyed),
        "laughing arguments": lambda: with_pickle(data, called),
        "depth of 100,000": lambda: with_pickle(data, b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
        "a bomb": lambda: rezipped(saved(put(content, ("a",), zeros)), lambda name, file: file, deflated),
        "a bomb in the pickle": lambda: rezipped(
            data, lambda name, file: b"(" * 2**26 if name.endswith("data.pkl") else file, deflated
        ),
    }


def _claiming(size: int) -> bytes:
    """A tensor whose pickle claims more memory than the archive holds for it."""
    number = b"\x8a\x08" + struct.pack("<q", size)

    def change(name: str, file: bytes) -> bytes:
        return (
            file.replace(b"K\x07t", number + b"t").replace(b"K\x07\x85", number + b"\x85")
            if "data.pkl" in name
            else file
        )

    return rezipped(saved({"a": torch.zeros(7)}), change)


def _laughing_tuples(depth: int) -> bytes:
    """A tuple of one tuple twice, and so on, as a pickle without its end."""
    return b")" + b"2\x86" * depth


def _confused_checkpoints(content: dict[str, Any], rng: random.Random) -> Iterator[Case]:
    """Something else in a place than belongs there."""
    for path in paths(content):
        if path[0] in (ENTRY, "state_dict", "callbacks") and (path[0] == ENTRY or rng.random() < 0.3):
            number = rng.randrange(len(CONFUSED))
            yield f"{'.'.join(map(str, path))} is confused {number}", saved(put(content, path, CONFUSED[number]))
    for number, item in enumerate(CONFUSED):
        yield f"all is confused {number}", saved(item)
        for key in (ENTRY, "state_dict"):
            yield f"{key} is confused {number}", saved(content | {key: item})
    odd = OrderedDict(content[ENTRY])
    odd.itemz = "no method"
    data = saved(content | {ENTRY: odd})
    yield "a mapping without its methods", rezipped(data, lambda name, file: file.replace(b"itemz", b"items"))


# ----- pickles


def _opcodes() -> dict[str, bytes]:
    """Streams of opcodes that `pickle.dumps` does not write."""
    array = pickle.dumps(np.zeros(3, np.uint8), protocol=2)
    return {
        "INST": f"(S'{COMMAND}'\nios\nsystem\n.".encode(),
        "OBJ": f"(cos\nsystem\nS'{COMMAND}'\no.".encode(),
        "GLOBAL": f"cos\nsystem\n(S'{COMMAND}'\ntR.".encode(),
        "STACK_GLOBAL": b"\x80\x04\x8c\x05posix\x8c\x06system\x93" + pickle.dumps(COMMAND, 0)[:-1] + b"\x85R.",
        "NEWOBJ": b"\x80\x02csubprocess\nPopen\n" + pickle.dumps(["touch", str(MARK)], 2)[2:-1] + b"\x85\x81.",
        "EXT1": b"\x80\x02\x82\x01.",
        "EXT4": b"\x80\x02\x84\x01\x00\x00\x00.",
        "PERSID": b"Pos.system\n.",
        "BINPERSID": b"\x80\x02U\x09os.systemQ.",
        "NEXT_BUFFER": b"\x80\x05\x97.",
        "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.",
        "getattr": b"\x80\x04cbuiltins\ngetattr\n.",
        "numpy.load": b"cnumpy\nload\n(S'/dev/zero'\ntR.",
        "runstring": b"cnumpy.testing._private.utils\nrunstring\n(S'1'\n}tR.",
        "before its end": f"cos\nsystem\n(S'{COMMAND}'\ntR0".encode(),
        "a memo of 34 GB": b"\x80\x04]r\xff\xff\xff\x7f.",
        "bytes of 8 EB": b"\x80\x05\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
        "text of 8 EB": b"\x80\x05\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
        "a byte array of 550 GB": b"\x80\x05\x96\x00\x00\x00\x00\x80\x00\x00\x00abc.",
        "a frame of 8 EB": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.",
        "an array of 8 EB": array.replace(b"K\x03\x85", b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85"),
        "a shape of lists": array.replace(b"K\x03\x85", b"](K\x00eJ\x00\x00\x00\x7f\x86"),
        "an array of objects": array.replace(b"u1", b"O8"),
        "marks": b"(" * 100_000 + b".",
        "lists in lists": b"]" * 50_000 + b"a" * 49_999 + b".",
        "laughing lists": b"\x80\x02]" + b"2\x86" * 60 + b".",
        "a laughing key": b"\x80\x02}" + _laughing_tuples(60) + b"K\x01s.",
        "a laughing dict": b"\x80\x02(" + _laughing_tuples(60) + b"K\x01d.",
        "a laughing set": b"\x80\x04\x8f(" + _laughing_tuples(60) + b"\x90.",
        "a laughing frozenset": b"\x80\x04(" + _laughing_tuples(60) + b"\x91.",
        "laughing arguments": b"\x80\x02cnumpy\ndtype\n" + _laughing_tuples(60) + b"R.",
        "a laughing state": b"\x80\x02cnumpy\ndtype\nU\x02u1\x89\x88\x87R" + _laughing_tuples(60) + b"b.",
        "a large number": b"\x80\x02\x8b\x00\x00\x0f\x00" + b"\x7f" * 0xF0000 + b".",
        "nothing": b"",
        "no pickle": b"hello",
        "a text": b"\x8c\x01a.",
        "a newer protocol": b"\x80\x09K\x01.",
    }


def hostile_pickles(good: bytes, seed: int = 0) -> Iterator[Case]:
    """Name and bytes of hostile pickles of a split, several hundred.

    Args:
        good: A legacy pickle of a split that they are made from.
        seed: Chooses places and bytes.
    """
    rng = random.Random(seed)
    content = pickle.loads(good)
    for name, (function, *arguments) in CALLS.items():
        call = Call(function, *arguments)
        for protocol in (0, 2, 5):
            yield f"{name} by protocol {protocol}", pickle.dumps(call, protocol=protocol)
        yield f"{name} in the labels", pickle.dumps(content | {"vimh_labels": [call, *content["vimh_labels"]]})
        yield f"{name} as the image", pickle.dumps(content | {"data": call})
        yield f"{name} beside", pickle.dumps(content | {"more": call})
        yield f"{name} as a key", pickle.dumps({**content, call: 1})
    yield from _opcodes().items()
    plain = [item for item in CONFUSED if not isinstance(item, torch.Tensor)]
    wrong = [
        *plain,
        laughs(),
        laughs(kind=tuple),
        mapped_laughs(),
        nested(300),
        10**4000,
        np.zeros(0),
        np.zeros((2, 0)),
    ]
    wrong += [np.float64(1e300), np.array(["a"]), np.zeros(3, "M8[s]")]
    for key in content:
        for number, item in enumerate(wrong):
            yield f"{key} is confused {number}", pickle.dumps(content | {key: item})
    rows = content["vimh_labels"]
    for number, item in enumerate(wrong):
        yield f"a row is confused {number}", pickle.dumps(content | {"vimh_labels": [item, *rows[1:]]})
        yield (
            f"a label is confused {number}",
            pickle.dumps(content | {"vimh_labels": [[item, *rows[0][1:]], *rows[1:]]}),
        )
    yield "one row for all", pickle.dumps(content | {"vimh_labels": [rows[0]] * len(rows)})
    yield from damaged(good, rng, 40)


# ----- reading them


def one_sound(recipe: Recipe) -> None:
    """Render one sound, and make its image."""
    recipe.represent(recipe.render(recipe.space.low[None].astype(np.float32)))


def use_checkpoint(path: Path) -> None:
    """What programs make of a checkpoint: network, recipe, conditioning features, statistics of the images.

    Raises:
        NSMError: If the file is refused.
    """
    run = load_run(path)
    errors = []
    for use in (
        lambda: restore_datamodule(run),
        lambda: one_sound(Recipe.from_info(run.info, instantiate_trusted)),
        lambda: Recipe.from_config(run.info.generator["config"], instantiate_trusted) if run.info.generator else None,
        lambda: instantiate_trusted(run.config["data"].get("measure"), slot="measure"),
        lambda: None if run.domain is None else Domain.from_dict(run.domain, run.info.image_shape),
    ):
        try:
            use()
        except NSMError as error:
            errors.append(str(error))
    if errors:
        raise CheckpointError("\n".join(errors))


def use_pickle(path: Path) -> None:
    """What a reader makes of the legacy pickle of a dataset that lies beside its description.

    Raises:
        NSMError: If the file is refused.
    """
    read(path, read_info(path.parent))


def complaint(path: Path, use: Callable[[Path], None]) -> str:
    """What is wrong with the way a hostile file was taken; empty if it was read or refused in one short sentence."""
    try:
        use(path)
    except NSMError as error:
        text = str(error).removeprefix(str(path))
        if len(text) > 2000 or not text.replace("\n", " ").isprintable():
            return f"refused by {text[:500]!r}"
    except Exception as error:
        return f"ended in {type(error).__name__}: {str(error)[:200]!r}"
    if MARK.exists():
        shutil.rmtree(MARK) if MARK.is_dir() else MARK.unlink()
        return "was run"
    return ""


def run_all(cases: Iterator[Case], path: Path, use: Callable[[Path], None]) -> list[str]:
    """Read all, each with a limit of time, and together with one of memory; the complaints."""

    def too_long(*_: Any) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    complaint(path, use)  # what is imported on the way is not counted
    found, n_cases = [], 0
    signal.signal(signal.SIGALRM, too_long)
    n_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for name, data in cases:
        path.write_bytes(data)
        n_cases += 1
        resource.setrlimit(resource.RLIMIT_AS, (n_bytes + GIGABYTES * 10**9, resource.RLIM_INFINITY))
        signal.alarm(SECONDS)
        start = time.monotonic()
        words = complaint(path, use)
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        if words:
            found.append(f"{name}: {words}")
        if os.environ.get("HOSTILE_TIMES"):
            print(f"{time.monotonic() - start:7.2f} s  {name}", file=sys.stderr)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{n_cases} cases, {len(found)} complaints, {peak // 1000} MB at most")
    return found


def main(kind: str, good: str, seed: str) -> int:
    """Read all hostile files of a kind; the number of complaints."""
    MARK.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        if kind == "checkpoints":
            shutil.copy(good, Path(directory) / "hostile.ckpt")
            cases, path, use = (
                hostile_checkpoints(Path(good), int(seed)),
                Path(directory) / "hostile.ckpt",
                use_checkpoint,
            )
        else:
            shutil.copytree(Path(good).parent, directory, dirs_exist_ok=True)
            path = Path(directory) / Path(good).name
            cases, use = hostile_pickles(Path(good).read_bytes(), int(seed)), use_pickle
        found = run_all(cases, path, use)
    print(*found, sep="\n")
    return min(len(found), 255)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
