"""Damages to datasets, a seeded kind at a time, and the law that holds whatever they are.

    kind = mutate(data_dir, rng)              # damages the files in place
    assert_refused_or_read_truly(data_dir)    # AssertionError where the law does not hold

The law: a dataset is refused in words, or read as exactly what its bytes say, and what full validation accepts has
nothing wrong. What the bytes say is found by a parser of its own, of struct and json, record by record.
"""

import contextlib
import hashlib
import json
import math
import os
import pickle
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from src.errors import VIMHError
from src.vimh.format import FILE_NAMES, INFO_NAME, SPLITS
from src.vimh.reader import VIMHReader

Rng = np.random.Generator
SEAL = re.compile(rb'"json_sha256": "[0-9a-f]{64}"')
ZEROS = b'"json_sha256": "' + b"0" * 64 + b'"'
MOST_HANDED_OVER = 2_000  # bytes that another process is handed of a reader or a split


# what the bytes say


def parse_records(content: bytes, info: dict, metadata_bytes: int) -> list[dict | None] | None:
    """Records of a file, None for one that contradicts the JSON; None if they do not fill the file."""
    n_parameters = len(info["parameter_names"])
    n_pixels = info["height"] * info["width"] * info["channels"]
    size = metadata_bytes + 1 + 2 * n_parameters + n_pixels
    if len(content) % size:
        return None
    return [
        parse_record(content[i : i + size], info, metadata_bytes, n_parameters) for i in range(0, len(content), size)
    ]


def parse_record(record: bytes, info: dict, metadata_bytes: int, n_parameters: int) -> dict | None:
    spec = struct.unpack_from("<ff", record, 6) if metadata_bytes == 14 else ()
    labels = record[metadata_bytes + 1 : metadata_bytes + 1 + 2 * n_parameters]
    codes = dict(zip(labels[::2], labels[1::2], strict=True))
    if (
        struct.unpack_from("<HHH", record) != (info["height"], info["width"], info["channels"])
        or record[metadata_bytes] != n_parameters
        or codes.keys() != set(range(n_parameters))
        or not all(math.isfinite(level) for level in spec)
        or (spec and spec[0] > spec[1])
    ):
        return None
    image = record[metadata_bytes + 1 + 2 * n_parameters :]
    return {"spec": list(spec), "code": [codes[i] for i in range(n_parameters)], "image": image}


def parse_pickle(content: bytes) -> list[dict | None]:
    """Records of a pickle that was found harmless, None for one without each id.

    The unpickler in C would take gigabytes for some that are harmless.
    """
    batch = pickle._loads(content)
    specs = batch["scale_factors"] if "scale_factors" in batch else [()] * len(batch["data"])
    rows = [list(map(int, row)) for row in batch["vimh_labels"]]
    codes = [dict(zip(row[1::2], row[2::2], strict=True)) for row in rows]
    return [
        {"spec": list(spec), "code": [code[i] for i in range(len(code))], "image": image.tobytes()}
        if code.keys() == set(range(len(code)))
        else None
        for image, code, spec in zip(batch["data"], codes, specs, strict=True)
    ]


def parse_values(content: bytes, n_samples: int, n_parameters: int) -> list[list[float]]:
    """Rows of an array file of float32."""
    (length,) = struct.unpack_from("<H", content, 8)
    header = content[10 : 10 + length]
    assert content[:8] == b"\x93NUMPY\x01\x00"
    assert f"'shape': ({n_samples}, {n_parameters})".encode() in header
    numbers = struct.unpack(f"<{n_samples * n_parameters}f", content[10 + length :])
    if b"'fortran_order': True" in header:
        return [list(numbers[i::n_samples]) for i in range(n_samples)]
    return [list(numbers[i * n_parameters :][:n_parameters]) for i in range(n_samples)]


def parse_json(content: bytes) -> dict:
    """The JSON, in which no key may stand twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict:
        assert len(dict(pairs)) == len(pairs), f"a key stands twice: {[key for key, _ in pairs]}"
        return dict(pairs)

    return json.loads(content, object_pairs_hook=once)


def decode(code: list[int], info: dict) -> list[float]:
    """Values that codes stand for."""
    ranges = [info["parameter_mappings"][name] for name in info["parameter_names"]]
    return [entry["min"] + n / 255 * (entry["max"] - entry["min"]) for n, entry in zip(code, ranges, strict=True)]


def same(ours: list[float], theirs: list[float]) -> bool:
    """Whether two rows of float32 are equal bit by bit."""
    return np.array_equal(np.float32(ours).view(np.uint32), np.float32(theirs).view(np.uint32))


def finite(row: list[float]) -> bool:
    """Whether all numbers of a row are finite as float32."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(np.float32(row)).all())


# the law


def assert_refused_or_read_truly(data_dir: Path) -> bool:
    """Whether the dataset could be opened; if so, every record was refused or read truly, and so was the whole."""
    before = state_of(data_dir)
    try:
        reader = VIMHReader(data_dir)
    except VIMHError as error:
        assert_is_a_sentence(error, data_dir)
        assert state_of(data_dir) == before, "a reader changed something"
        return False
    info = parse_json((data_dir / INFO_NAME).read_bytes())
    assert_describes_truly(reader, info)
    records = {split: assert_split_reads_truly(reader, split, info, data_dir) for split in SPLITS}
    assert_crosses_processes(reader)
    try:
        finding = reader.validate()
    except VIMHError as error:
        assert_is_a_sentence(error, data_dir)
    else:
        assert_nothing_is_wrong(data_dir, info, records, finding)
    assert state_of(data_dir) == before, "a reader changed something"
    return True


def state_of(directory: Path) -> list[tuple]:
    """Names, sizes and times of what is in a directory."""
    entries = [(path, path.lstat()) for path in sorted(directory.iterdir())]
    return [(path.name, entry.st_mode, entry.st_size, entry.st_mtime_ns) for path, entry in entries]


def assert_is_a_sentence(error: VIMHError, data_dir: Path) -> None:
    text = str(error)
    assert data_dir.name in text, f"no path: {text}"
    assert len(text) < 4_000, f"a message of {len(text)} characters"
    assert "Traceback" not in text


def assert_describes_truly(reader: VIMHReader, info: dict) -> None:
    assert json.loads(reader.info.to_json(), parse_constant=str) == json.loads(json.dumps(info), parse_constant=str)
    for spec, name in zip(reader.info.parameters, info["parameter_names"], strict=True):
        entry = info["parameter_mappings"][name]
        assert (spec.name, spec.min, spec.max, spec.step) == (name, entry["min"], entry["max"], entry["step"])
    assert reader.info.image_shape == (info["channels"], info["height"], info["width"])


def assert_split_reads_truly(reader: VIMHReader, split: str, info: dict, data_dir: Path) -> list[dict | None]:
    """The records of a split, found by the other parser; None for those that are to be refused."""
    ours, records = reader.split(split), records_of(data_dir, split, info)
    assert len(ours) == len(records) == info[f"{split}_samples"]
    values_file = data_dir / f"{split}_values.npy"
    exact = None
    if values_file.exists():
        exact = parse_values(values_file.read_bytes(), len(records), len(info["parameter_names"]))
    for i, record in enumerate(records):
        value = record and (decode(record["code"], info) if exact is None else exact[i])
        if record is None or not finite(value):
            records[i] = None
            assert_refuses(ours, i, "record" if record is None else "sample")
            continue
        batch = ours.read(np.array([i]))
        assert batch.code.tolist() == [record["code"]]
        assert batch.image.tobytes() == record["image"]
        assert same(batch.spec_range[0], record["spec"])
        assert same(batch.value[0], value)
        record["value"] = value
    return records


def records_of(data_dir: Path, split: str, info: dict) -> list[dict | None]:
    """The records of a split from the file that is preferred, in the one layout that fits."""
    if not (data_dir / split).exists():
        pickled = data_dir / f"{split}_batch"
        return parse_pickle(pickled.read_bytes()) if pickled.exists() else []
    content = (data_dir / split).read_bytes()
    layouts = {14: [14], 6: [6], 3: [6], None: [14, 6]}[info.get("label_encoding", {}).get("metadata_bytes")]
    readings = [parse_records(content, info, layout) for layout in layouts]
    (records,) = [reading for reading in readings if reading and reading[0] and reading[-1]] or [[]]
    return records


def assert_refuses(ours: Any, number: int, what: str) -> None:
    try:
        ours.read(np.array([number]))
    except VIMHError as error:
        assert f"{what} {number} " in str(error), str(error)
    else:
        raise AssertionError(f"{ours.path}: {what} {number} was read, though it is damaged")


def assert_crosses_processes(reader: VIMHReader) -> None:
    """Another process is handed a few bytes, whatever the size of the dataset, and finds the same."""
    for item in (reader, reader.train, reader.test):
        assert len(pickle.dumps(item)) < MOST_HANDED_OVER
    again = pickle.loads(pickle.dumps(reader))
    assert again.info.to_json() == reader.info.to_json()  # NaN, in keys that nobody reads, does not equal itself
    for ours, theirs in ((again.train, reader.train), (again.test, reader.test)):
        assert ours.records.tobytes() == theirs.records.tobytes()


def assert_nothing_is_wrong(data_dir: Path, info: dict, records: dict[str, list], finding: str) -> None:
    """What full validation has accepted is in order in every respect."""
    assert all(record is not None for found in records.values() for record in found), "a damaged record was accepted"
    content = (data_dir / INFO_NAME).read_bytes()
    stated = info.get("json_sha256")
    if stated is not None:
        assert stated == hashlib.sha256(SEAL.sub(ZEROS, content)).hexdigest(), "an edited JSON was accepted"
    for name, entry in info.get("files", {}).items():
        data = (data_dir / name).read_bytes()
        assert name in FILE_NAMES
        assert (entry["size"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest()), f"{name} was accepted"
    unlisted = [name for name in FILE_NAMES if (data_dir / name).exists() and name not in info.get("files", {})]
    for name in unlisted + ([INFO_NAME] if stated is None else []):
        assert "no checksums here" in finding and name in finding
    assert_agrees_with_its_generator(info)
    for split, found in records.items():
        assert_agree_within_half_a_code(found, info)
        assert_copy_is_the_same(data_dir / f"{split}_batch", found)


def assert_agree_within_half_a_code(records: list[dict], info: dict) -> None:
    ranges = [info["parameter_mappings"][name] for name in info["parameter_names"]]
    for record in records:
        for value, meant, entry in zip(record["value"], decode(record["code"], info), ranges, strict=True):
            assert abs(value - meant) <= 0.51 * (entry["max"] - entry["min"]) / 255, "values that contradict the codes"


def assert_copy_is_the_same(path: Path, records: list[dict]) -> None:
    if not path.exists():
        return
    copy = parse_pickle(path.read_bytes())
    assert len(copy) == len(records)
    for theirs, ours in zip(copy, records, strict=True):
        assert (theirs["code"], theirs["image"]) == (ours["code"], ours["image"])
        assert same(theirs["spec"], ours["spec"])


def assert_agrees_with_its_generator(info: dict) -> None:
    config = (info.get("generator") or {}).get("config")
    config = config if isinstance(config, dict) else {}
    dataset = config.get("dataset") if isinstance(config.get("dataset"), dict) else {}
    for key in ("sample_rate", "duration", "seed", "sampling", "synth_type"):
        if key in dataset and info.get(key) is not None:
            assert info[key] == dataset[key], f"another {key}"
    if not isinstance(config.get("parameters"), dict):
        return
    said = config["parameters"]
    fixed = {
        key: entry for key, entry in said.items() if "value" in entry or entry.get("min", 0) == entry.get("max", 1)
    }
    assert [name for name in said if name not in fixed] == info["parameter_names"]
    for name in info["parameter_names"]:
        for key in ("min", "max", "step"):
            if key in said[name] and said[name].get("scale", "linear") == "linear":
                assert info["parameter_mappings"][name][key] == said[name][key], f"another {key}"
    found = {key: entry["value"] for key, entry in info.get("fixed_parameters", {}).items()}
    assert found == {key: entry.get("value", entry.get("min")) for key, entry in fixed.items()}, "another fixed value"


# damages


def flip(content: bytes, rng: Rng) -> bytes:
    changed = bytearray(content)
    for at in rng.integers(len(content), size=rng.integers(1, 9)):
        changed[at] ^= int(rng.integers(1, 256))
    return bytes(changed)


def cut(content: bytes, rng: Rng) -> bytes:
    return content[: rng.integers(len(content))]


def cut_at_the_front(content: bytes, rng: Rng) -> bytes:
    return content[rng.integers(1, len(content) + 1) :]


def cut_within(content: bytes, rng: Rng) -> bytes:
    first, last = sorted(rng.integers(len(content) + 1, size=2))
    return content[:first] + content[last:]


def lengthen(content: bytes, rng: Rng) -> bytes:
    return content + rng.bytes(int(rng.integers(1, 100)))


def double(content: bytes, rng: Rng) -> bytes:
    return content + content


def insert(content: bytes, rng: Rng) -> bytes:
    at = rng.integers(len(content) + 1)
    return content[:at] + rng.bytes(int(rng.integers(1, 9))) + content[at:]


def fill(content: bytes, rng: Rng) -> bytes:
    first, last = sorted(rng.integers(len(content) + 1, size=2))
    return content[:first] + bytes([int(rng.choice([0, 255, 32]))]) * int(last - first) + content[last:]


def turn_around(content: bytes, rng: Rng) -> bytes:
    return content[::-1]


def exchange_blocks(content: bytes, rng: Rng) -> bytes:
    a, b, c = sorted(rng.integers(len(content) + 1, size=3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def replace_all(content: bytes, rng: Rng) -> bytes:
    return rng.bytes(len(content))


def empty(content: bytes, rng: Rng) -> bytes:
    return b""


OF_BYTES = (
    flip,
    cut,
    cut_at_the_front,
    cut_within,
    lengthen,
    double,
    insert,
    fill,
    turn_around,
    exchange_blocks,
    replace_all,
    empty,
)


def damage_bytes(data_dir: Path, rng: Rng) -> str:
    path, kind = some_file(data_dir, rng), OF_BYTES[rng.integers(len(OF_BYTES))]
    path.write_bytes(kind(path.read_bytes() or b"\0", rng))
    return f"{kind.__name__} {path.name}"


def some_file(data_dir: Path, rng: Rng) -> Path:
    paths = sorted(path for path in data_dir.iterdir() if path.is_file())
    return paths[rng.integers(len(paths))]


# files


def remove(path: Path, other: Path) -> None:
    pass


def make_directory(path: Path, other: Path) -> None:
    path.mkdir()


def make_pipe(path: Path, other: Path) -> None:
    os.mkfifo(path)


def link_to_itself(path: Path, other: Path) -> None:
    path.symlink_to(path.name)


def link_to_nowhere(path: Path, other: Path) -> None:
    path.symlink_to("nowhere")


def link_to_a_long_name(path: Path, other: Path) -> None:
    path.symlink_to("x" * 300)


def link_to_another_file(path: Path, other: Path) -> None:
    path.symlink_to(other.name)


def link_to_zeros(path: Path, other: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_nothing(path: Path, other: Path) -> None:
    path.symlink_to("/dev/null")


def link_below_a_file(path: Path, other: Path) -> None:
    path.symlink_to(f"{other.name}/{path.name}")


def copy_of_another(path: Path, other: Path) -> None:
    if other.exists():
        path.write_bytes(other.read_bytes())


def sparse(path: Path, other: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


IN_PLACE_OF_A_FILE = (
    remove,
    make_directory,
    make_pipe,
    link_to_itself,
    link_to_nowhere,
    link_to_a_long_name,
    link_to_another_file,
    link_to_zeros,
    link_to_nothing,
    link_below_a_file,
    copy_of_another,
    sparse,
)


def damage_files(data_dir: Path, rng: Rng) -> str:
    path, other = some_file(data_dir, rng), some_file(data_dir, rng)
    kind = IN_PLACE_OF_A_FILE[rng.integers(len(IN_PLACE_OF_A_FILE))]
    path.unlink()
    kind(path, other)
    return f"{kind.__name__} {path.name}"


def exchange_files(data_dir: Path, rng: Rng) -> str:
    path, other = some_file(data_dir, rng), some_file(data_dir, rng)
    first, second = path.read_bytes(), other.read_bytes()
    path.write_bytes(second)
    other.write_bytes(first)
    return f"exchange {path.name} {other.name}"


# the JSON


ODD = (
    *(None, True, False, 0, 1, -1, 2, 3, 5, 6, 14, 255, 256, 65536, 2**31, 2**63, 2**70, 10**400),
    *(0.5, 1e-300, 1e300, 1e308, math.nan, math.inf, -math.inf, -0.0, "", "4", "x", "\0", "\x1b[31m", "[/b]", "a\nb"),
    *("../train", "x" * 70_000, "\U0001f600", [], {}, [0], [[]], ["a", "a"], {"min": 0}, {"_target_": "os.system"}),
)


def places(node: Any, path: tuple = ()) -> Iterator[tuple]:
    """Every key and index in nested data."""
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in entries:
        yield (*path, key)
        yield from places(value, (*path, key))


def change_value(info: dict, node: Any, key: Any, rng: Rng) -> None:
    node[key] = ODD[rng.integers(len(ODD))]


def remove_value(info: dict, node: Any, key: Any, rng: Rng) -> None:
    del node[key]


def change_slightly(info: dict, node: Any, key: Any, rng: Rng) -> None:
    value = node[key]
    if isinstance(value, bool) or value is None:
        node[key] = not value
    elif isinstance(value, int | float):
        node[key] = value + int(rng.choice([-1, 1]))
    elif isinstance(value, str):
        node[key] = f"{value}x"
    else:
        node[key] = list(value)[::-1] if isinstance(value, list) else dict(reversed(value.items()))


def change_type(info: dict, node: Any, key: Any, rng: Rng) -> None:
    node[key] = [node[key]] if rng.integers(2) else json.dumps(node[key])


def rename_key(info: dict, node: Any, key: Any, rng: Rng) -> None:
    if isinstance(node, dict):
        node[f"{key}_"] = node.pop(key)


def exchange_values(info: dict, node: Any, key: Any, rng: Rng) -> None:
    keys = list(node) if isinstance(node, dict) else range(len(node))
    other = keys[rng.integers(len(keys))]
    node[key], node[other] = node[other], node[key]


def exchange_parameters(info: dict, node: Any, key: Any, rng: Rng) -> None:
    names = info["parameter_names"]
    names[:] = names[::-1]


def widen_a_range(info: dict, node: Any, key: Any, rng: Rng) -> None:
    name = info["parameter_names"][rng.integers(len(info["parameter_names"]))]
    entry = info["parameter_mappings"][name]
    entry["max"] = entry["max"] + float(rng.choice([1e-3, 1, 1e3])) * entry["step"]
    entry.pop("num_classes", None)


def change_a_fixed_parameter(info: dict, node: Any, key: Any, rng: Rng) -> None:
    info.setdefault("fixed_parameters", {})["note_number"] = {"value": float(rng.integers(1, 99))}


OF_JSON = (
    change_value,
    remove_value,
    change_slightly,
    change_type,
    rename_key,
    exchange_values,
    exchange_parameters,
    widen_a_range,
    change_a_fixed_parameter,
)


def damage_json(data_dir: Path, rng: Rng) -> str:
    info = json.loads((data_dir / INFO_NAME).read_bytes())
    kind = OF_JSON[rng.integers(len(OF_JSON))]
    found = list(places(info))
    *parents, last = found[rng.integers(len(found))]
    node = info
    for key in parents:
        node = node[key]
    kind(info, node, last, rng)
    if rng.integers(2):
        return f"{kind.__name__} {seal(data_dir, info)}"
    (data_dir / INFO_NAME).write_text(json.dumps(info, indent=2) + "\n")
    return kind.__name__


def seal(data_dir: Path, info: dict) -> str:
    """Write a JSON with checksums that are right, so that nothing but the damage itself is wrong."""
    if isinstance(info.get("files"), dict):
        for name in FILE_NAMES & info["files"].keys():
            if (data_dir / name).is_file() and (data_dir / name).stat().st_size < 2**30:
                data = (data_dir / name).read_bytes()
                info["files"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if "json_sha256" in info:
        info["json_sha256"] = "0" * 64
        unsealed = (json.dumps(info, indent=2) + "\n").encode()
        info["json_sha256"] = hashlib.sha256(unsealed).hexdigest()
    (data_dir / INFO_NAME).write_text(json.dumps(info, indent=2) + "\n")
    return "sealed"


def double_a_key(text: str, rng: Rng) -> str:
    entries = list(re.finditer(r'^( *)("[^"]*"): [^\n{[]*?(,?)$', text, re.MULTILINE))
    entry = entries[rng.integers(len(entries))]
    return f"{text[: entry.start()]}{entry[1]}{entry[2]}: {rng.choice(['1', 'null', '[]'])},\n{text[entry.start() :]}"


def nest_deeply(text: str, rng: Rng) -> str:
    depth, (opening, closing) = int(rng.choice([150, 900, 100_000])), rng.choice([("[", "]"), ('{"a":', "}")])
    return text.replace("{", f'{{"deep": {opening * depth}1{closing * depth},', 1)


def write_long_numbers(text: str, rng: Rng) -> str:
    number = rng.choice(["9" * 5_000, "1e99999", "0." + "1" * 5_000, "-" + "9" * 400])
    return re.sub(r": \d+", f": {number}", text, count=1)


def write_constants(text: str, rng: Rng) -> str:
    entries = list(re.finditer(r": -?[\d.]+", text))
    entry = entries[rng.integers(len(entries))]
    odd = rng.choice(["NaN", "Infinity", "-Infinity", "0x10", "01", "+1", "1."])
    return f"{text[: entry.start()]}: {odd}{text[entry.end() :]}"


def write_odd_text(text: str, rng: Rng) -> str:
    odd = rng.choice(["\\ud800", "\\u0000", "\\x00", "\u2028", "\\u001b[2J"])
    return text.replace('"VIMH"', f'"VIMH", "note": "{odd}"', 1)


def append(text: str, rng: Rng) -> str:
    return text + str(rng.choice(["{}", ",", "// a comment", "\0", "null"]))


OF_TEXT = (double_a_key, nest_deeply, write_long_numbers, write_constants, write_odd_text, append)
ENCODINGS = ("utf-8-sig", "utf-16", "utf-32", "latin-1")


def damage_text_of_json(data_dir: Path, rng: Rng) -> str:
    path = data_dir / INFO_NAME
    kind = OF_TEXT[rng.integers(len(OF_TEXT))]
    path.write_text(kind(path.read_text(encoding="utf-8"), rng), encoding="utf-8")
    return kind.__name__


def change_encoding(data_dir: Path, rng: Rng) -> str:
    path, encoding = data_dir / INFO_NAME, ENCODINGS[rng.integers(len(ENCODINGS))]
    text = path.read_text(encoding="utf-8").replace('"VIMH"', '"VIMH", "note": "\u00e4"', 1)
    path.write_bytes(text.encode(encoding))
    return f"encode as {encoding}"


# values, records, pickles


HEADERS = (
    ("<f4", "<f8"),
    ("<f4", ">f4"),
    ("<f4", "|O"),
    ("<f4", "<i4"),
    ("False", "True "),
    ("False", "None "),
    ("(", "(1, "),
    (", ", ", 0"),
    ("(", "(-"),
    ("{", "["),
    ("'shape'", "'shapE'"),
    ("'descr'", "__import__('os').abort() or 'descr'"),
)


def damage_header_of_values(data_dir: Path, rng: Rng) -> str:
    path = some_values(data_dir, rng)
    content = path.read_bytes()
    length = 10 + struct.unpack_from("<H", content, 8)[0]
    old, new = HEADERS[rng.integers(len(HEADERS))]
    header = content[10:length].decode("latin1").replace(old, new, 1)
    size = struct.pack("<H", len(header)) if rng.integers(2) else content[8:10]
    version = rng.choice([b"\x01\x00", b"\x02\x00", b"\x01\x01"], p=[0.8, 0.1, 0.1])
    path.write_bytes(b"\x93NUMPY" + version + size + header.encode("latin1") + content[length:])
    return f"{old} to {new} in the header of values"


def change_a_value(data_dir: Path, rng: Rng) -> str:
    path = some_values(data_dir, rng)
    content = bytearray(path.read_bytes())
    first = 10 + struct.unpack_from("<H", content, 8)[0]
    odd = float(rng.choice([math.nan, math.inf, -math.inf, 1e38, -1.0, 0.0]))
    struct.pack_into("<f", content, first + 4 * int(rng.integers((len(content) - first) // 4)), odd)
    path.write_bytes(content)
    return f"a value {odd}, {seal(data_dir, json.loads((data_dir / INFO_NAME).read_bytes()))}"


def some_values(data_dir: Path, rng: Rng) -> Path:
    paths = [path for path in sorted(data_dir.glob("*_values.npy")) if path.stat().st_size > 128]
    return paths[rng.integers(len(paths))]


def damage_a_record(data_dir: Path, rng: Rng) -> str:
    info = json.loads((data_dir / INFO_NAME).read_bytes())
    path = data_dir / str(rng.choice(SPLITS))
    content = bytearray(path.read_bytes())
    size = len(content) // info[f"{path.name}_samples"]
    before = size - info["height"] * info["width"] * info["channels"]  # the header and the labels
    at = size * int(rng.integers(len(content) // size)) + int(rng.integers(before + 1))
    content[at] = int(rng.integers(256))
    path.write_bytes(content)
    return f"a byte of a record, {seal(data_dir, info)}"


class Hostile:
    """What runs something when it is unpickled by Python."""

    def __reduce__(self) -> tuple:
        return os.abort, ()


def change_image(batch: dict, rng: Rng) -> None:
    batch["data"] = batch["data"] ^ np.uint8(1)


def change_label(batch: dict, rng: Rng) -> None:
    batch["vimh_labels"][rng.integers(len(batch["vimh_labels"]))][2] = int(rng.integers(-1, 300))


def change_labels_kind(batch: dict, rng: Rng) -> None:
    batch["vimh_labels"] = [np.array(batch["vimh_labels"]), "text", None, [[]], 5, [[1e300]]][rng.integers(6)]


def change_levels(batch: dict, rng: Rng) -> None:
    batch["scale_factors"] = np.full((len(batch["data"]), 2), rng.choice([0.0, np.nan]), np.float32)


def drop_entry(batch: dict, rng: Rng) -> None:
    del batch[list(batch)[rng.integers(len(batch))]]


def drop_samples(batch: dict, rng: Rng) -> None:
    batch["data"] = batch["data"][1:]


def change_kind(batch: dict, rng: Rng) -> None:
    key = list(batch)[rng.integers(len(batch))]
    batch[key] = [batch[key], None, "x", 2**70, np.zeros(3, object), np.zeros((2, 0)), 1e300][rng.integers(7)]


def add_hostile(batch: dict, rng: Rng) -> None:
    batch["extra"] = Hostile()


def add_loop(batch: dict, rng: Rng) -> None:
    batch["extra"] = batch


def keep(batch: dict, rng: Rng) -> None:
    pass


OF_PICKLES = (
    change_image,
    change_label,
    change_labels_kind,
    change_levels,
    drop_entry,
    drop_samples,
    change_kind,
    add_hostile,
    add_loop,
    keep,
)


def damage_a_pickle(data_dir: Path, rng: Rng) -> str:
    """Change a pickle copy, and remove the binary file beside it half of the time."""
    info = json.loads((data_dir / INFO_NAME).read_bytes())
    split = str(rng.choice(SPLITS))
    kind = OF_PICKLES[rng.integers(len(OF_PICKLES))]
    batch = pickled(records_of(data_dir, split, info), info)
    kind(batch, rng)
    content = pickle.dumps(batch, protocol=int(rng.integers(6)))
    (data_dir / f"{split}_batch").write_bytes(flip(content, rng) if rng.integers(4) == 0 else content)
    if rng.integers(2):
        (data_dir / split).unlink()
        info.get("files", {}).pop(split, None)
    return f"{kind.__name__} of {split}_batch, {seal(data_dir, info)}"


def pickled(records: list[dict], info: dict) -> dict:
    """The dict of a split as the format's text describes it."""
    labels = [[len(r["code"]), *(n for pair in enumerate(r["code"]) for n in pair)] for r in records]
    batch = {
        "data": np.frombuffer(b"".join(r["image"] for r in records), np.uint8).reshape(len(records), -1),
        "vimh_labels": labels,
        **{key: info[key] for key in ("height", "width", "channels")},
        "image_size": f"{info['height']}x{info['width']}x{info['channels']}",
    }
    if records and records[0]["spec"]:
        batch["scale_factors"] = np.array([r["spec"] for r in records], np.float32)
    return batch


KINDS: tuple[Callable[[Path, Rng], str], ...] = (
    damage_bytes,
    damage_files,
    exchange_files,
    damage_json,
    damage_json,
    damage_text_of_json,
    change_encoding,
    damage_header_of_values,
    change_a_value,
    damage_a_record,
    damage_a_pickle,
)


def mutate(data_dir: Path, rng: Rng) -> str:
    """Damage a healthy dataset in place, in a way that the generator of random numbers decides.

    Returns:
        What was done, in words.
    """
    while True:
        kind = KINDS[rng.integers(len(KINDS))]
        with contextlib.suppress(ValueError, KeyError):  # no values to choose from, no parameter to exchange
            return kind(data_dir, rng)
