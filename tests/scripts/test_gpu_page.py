"""The tables of a GPU: what the pages show is what was measured, and what was not says so."""

import json
import re

import pytest

from scripts import gpu_page
from scripts.gpu_page import (
    BLOCKS,
    MARKS,
    MEASURED,
    MISSING,
    TRAININGS,
    keep,
    limits,
    main,
    measured,
    memory_table,
    on_what,
    pages,
    rounded,
    shown,
    speed_tables,
    trainings_table,
    verdict,
)
from scripts.gpu_parts.plan import BY_NAME
from scripts.pages import between_marks, read_json
from src.errors import ConfigError

MACHINE = {"gpu": "NVIDIA X", "cores": 16, "python": "3.12.3", "torch": "2.11.0", "numba": "0.68", "numba_cuda": "0.30"}


def measurement(**parts):
    """What `bench_gpu.py` writes."""
    parts = {name: {"state": "done", "seconds": 1.0, "found": found} for name, found in parts.items()}
    return {"seconds": 480.0, "small": False, "machine": MACHINE, "parts": parts, "took": 400.0}


def memory(seconds=170.0, device=0.0, host=0.0):
    row = {"samples": 40, "seconds": seconds, "device_mib": 5000.0, "host_mib": 3000.0}
    return {"memory envelope cnn_64k": row | {"device_mib_per_minute": device, "host_mib_per_minute": host}}


def training(name, acc, nmae, rate=500_000.0):
    figures = {"parameters": 86_191, "seconds": 171.4, "sounds": 71_303_168, "acc": acc, "nmae": nmae, "steps": 0.1}
    return {f"training {name}": figures | {"sounds_per_second": rate}}


ALL = measurement(
    generation={
        **{
            f"voice ladder, {block}": {"sounds_per_second": rate, "samples_per_second": 8000 * rate}
            for block, rate in zip(BLOCKS, (1.5e6, 4.25e6, 7.75e6), strict=True)
        },
        "copy": {"bytes_per_second": 4.0e12},
        "product": {"operations_per_second": 5.0e13},
    },
    steps={
        "step envelope cnn_64k, 2,048": {"eager_ms": 4.321, "graph_ms": 2.1, "graph_sounds_per_second": 975_238.0},
        "loop envelope cnn_64k, 2,048": {"sounds_per_second": 500_000.0, "block": 65_536},
    },
    train={
        "stored basic cnn_tiny": {"ms_per_step": 1.234},
        "stream envelope cnn_64k": {"sounds_per_second": 400_000.0},
    },
    envelope={**training("envelope cnn_64k", 0.912, 0.0139, 460_000.0), **memory(device=0.5, host=20.0)},
    tests={"tests": {"passed": 40, "skipped": 0, "failed": ["one"]}},
)


@pytest.fixture
def parts(tmp_path):
    """The parts of a measurement."""
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps(ALL))
    return measured(path)


def cells(lines, first):
    """The row of a table that begins with a cell."""
    (row,) = (line for line in lines if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_pages_show_what_is_in_the_json():
    for path, text in pages(read_json(MEASURED)):
        page = path.read_text(encoding="utf-8")
        assert between_marks(page, MARKS, text) == page


def test_without_a_measurement_every_cell_says_so_and_the_goals_stand():
    lines = [*speed_tables({}), *trainings_table({})]
    rows = [line for line in lines if line.startswith("| ") and "---" not in line]
    figures = [cell for line in rows for cell in line.strip("| ").split(" | ") if MISSING in cell]
    assert len(figures) > 70
    text = "\n".join(lines)
    for goal in (
        "60 Gsamples/s",
        "2.5 Msounds/s",
        "0.9 Msounds/s",
        "goal 0.9",
        "1.4 ms",
        "flat over 5 minutes",
        "goal 0",
    ):
        assert goal in text
    for goal in ("0.91, 0.014", "0.975, 0.0035", "0.95, 0.008"):
        assert f"| {goal} |" in text
    assert not re.search(r"reached|missed", text)
    assert on_what({}) == ["Nothing was measured on a GPU yet; the goals are those for one H100 or H200."]


def test_what_was_measured_is_shown_beside_its_goal(parts):
    lines = speed_tables(parts)
    ladder = cells(lines, "ladder voice, 1 s at 8 kHz")
    assert ladder[1:] == ["1.50 Msounds/s", "4.25 Msounds/s", "7.75 Msounds/s", "62.0 Gsamples/s", "60 Gsamples/s"]
    assert cells(lines, "saw voice, 1 s at 8 kHz")[1:5] == [MISSING] * 4
    (step,) = (line for line in lines if line.startswith("| envelope, `cnn_64k` | 2,048 |"))
    assert "| 4.32 ms | 2.10 ms | 975,238 sounds/s | 500,000 sounds/s | 460,000 sounds/s | 0.92, goal 0.9 |" in step
    assert cells(lines, "basic, 16,384 sounds, `cnn_tiny`, batch 128: a step")[1:] == ["1.23 ms", "1.4 ms"]
    assert cells(lines, "tests that need a GPU")[1] == "40 passed, 1 failed"
    assert cells(limits(parts), "copy within its memory, bytes read and written")[1:] == [
        "4.00 TB/s",
        "waveforms written, 4 bytes a sample: at most 1.00 Tsamples/s",
    ]


def test_without_the_long_training_the_short_one_says_how_fast_it_is(parts):
    without = {name: part for name, part in parts.items() if name != "envelope"}
    (step,) = (line for line in speed_tables(without) if line.startswith("| envelope, `cnn_64k` | 2,048 |"))
    assert "| 500,000 sounds/s | 400,000 sounds/s | 0.80, goal 0.9 |" in step


def test_memory_is_flat_if_it_grows_by_less_than_a_hundredth_in_five_minutes(parts):
    lines = memory_table(parts)
    assert cells(lines, "memory of the GPU")[1:3] == ["5,000 MiB", "0.50 MiB/minute"]
    assert cells(lines, "memory of the GPU")[3] == "flat over 2.8 minutes; goal: flat over 5 minutes"
    assert cells(lines, "memory of the process")[3].startswith("not flat over 2.8 minutes")
    longer = parts | {"memory": {"found": memory(seconds=290.0), "machine": MACHINE}}
    assert "flat over 4.8 minutes" in cells(memory_table(longer), "memory of the process")[3]


def test_trainings_are_held_to_both_of_their_goals(parts):
    lines = trainings_table(parts)
    assert cells(lines, "envelope")[1:] == [
        *("cnn_64k", "86,191", "180", "171", "71.3 Msounds", "0.912", "0.0139", "0.10", "0.91, 0.014: reached"),
    ]
    assert verdict((0.9, 0.01), 0.9, 0.01).endswith("reached")
    assert verdict((0.9, 0.01), 0.95, 0.011).endswith("missed")
    assert verdict((0.9, 0.01), 0.89, 0.009).endswith("missed")
    assert set(TRAININGS) <= set(BY_NAME)


def test_a_page_says_what_was_measured_where(parts):
    other = {"memory": {"found": memory(), "machine": MACHINE | {"gpu": "NVIDIA Y\x1b"}}}
    assert on_what(parts | other) == [
        "Measured on NVIDIA X, 16 cores, python 3.12.3, torch 2.11.0, numba 0.68, numba-cuda 0.30: tests, generation, "
        "steps, train, envelope.",
        r"Measured on NVIDIA Y\x1b, 16 cores, python 3.12.3, torch 2.11.0, numba 0.68, numba-cuda 0.30: memory.",
    ]


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (7.75e6, "sounds/s", "7.75 Msounds/s"),
        (975_238.2, "sounds/s", "975,238 sounds/s"),
        (1.2345, "ms", "1.23 ms"),
        (0.0, "", "0"),
        (1.5e-4, "", "1.50e-04"),
        (None, "ms", MISSING),
    ],
)
def test_numbers_have_three_digits_and_no_exponent_but_for_the_smallest(number, unit, text):
    assert shown(number, unit) == text
    assert rounded(12.345, 2) == "12"


def test_new_parts_are_added_to_those_that_were_there(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_page, "ROOT", tmp_path)
    monkeypatch.setattr(gpu_page, "MEASURED", tmp_path / "docs" / "results" / "gpu.json")
    (tmp_path / "docs" / "results").mkdir(parents=True)
    for name in ("benchmarks.md", "results.md"):
        (tmp_path / "docs" / name).write_text(f"before\n{MARKS[0]}old\n{MARKS[1]}after\n")
    keep(parts)
    keep({"memory": {"found": memory(), "machine": MACHINE}})
    assert list(read_json(gpu_page.MEASURED)) == [*parts, "memory"]
    page = (tmp_path / "docs" / "results.md").read_text()
    assert page.startswith("before\n") and page.endswith("<!-- end of gpu -->\nafter\n") and "old" not in page
    assert "0.91, 0.014: reached" in page


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, r"is no gpu\.json of scripts/bench_gpu\.py"),
        ({"parts": [], "machine": {}}, r"is no gpu\.json of scripts/bench_gpu\.py"),
        (ALL | {"small": True}, "is of a rehearsal, and no measurement"),
        (ALL | {"machine": {"cores": 2}}, "is of a rehearsal, and no measurement"),
    ],
)
def test_what_is_no_measurement_is_not_added(content, says, tmp_path):
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=says):
        measured(path)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path, capsys):
    assert main(["--add", str(tmp_path / "gone.json")]) == 1
    assert "is no gpu.json" in capsys.readouterr().err
