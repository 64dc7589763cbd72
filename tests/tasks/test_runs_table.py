import csv
import io
import json
import subprocess
import sys
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path

import pytest
from rich.cells import cell_len

from scripts.runs import main
from src.runs import RunRecord
from src.tasks import runs as table

ROOT = Path(__file__).parents[2]
HOSTILE = 'a,"b"\x1b[31m &%$#_{}~^\\ \n漢'


def record(number=1, **changes):
    known = {
        "directory": Path(f"/logs/train/cnn/2026-01-{number:02}_00-00-00"),
        "name": f"cnn/2026-01-{number:02}_00-00-00",
        "experiment": "cnn",
        "dataset": "vimh-organ_4p",
        "data": "organ_basic",
        "network": "cnn_64k",
        "loss": "soft_target",
        "weights": 65842,
        "seed": number,
        "epochs": 10,
        "train_sounds": 185,
        "seconds": 75.4,
        "error": 0.5 / number,
        "accuracy": 0.8,
        "val_error": 0.6 / number,
        "val_accuracy": 0.75,
        "date": datetime(2026, 1, number),
        "checkpoint": Path(f"/logs/train/cnn/{number}/checkpoints/epoch_003.ckpt"),
        "last": None,
        "state": "complete",
    }
    return RunRecord(**known | changes)


def unknown(number=9):
    kept = {"directory", "name", "experiment", "date", "state", "best"}
    nothing = {field.name: None for field in fields(RunRecord) if field.name not in kept}
    return replace(record(number), **nothing, state="not ended")


@pytest.fixture
def runs():
    return [record(2), record(1, best=True, network="rnn_tiny", data="organ_envelope"), unknown()]


def read_back(column, text):
    """A cell of CSV as the value that was written."""
    if text == "":
        return None
    kind = {"complete": ["True", "False"].index, "best": ["True", "False"].index}.get(column)
    if kind:
        return text == "True"
    numbers = {"weights": int, "seed": int, "epochs": int, "train_sounds": int, "seconds": float}
    numbers |= dict.fromkeys(("error", "accuracy", "val_error", "val_accuracy"), float)
    return numbers.get(column, str)(text)


# ----- for programs


def test_csv_holds_every_value_exactly(runs):
    rows = list(csv.DictReader(io.StringIO(table.as_csv(runs))))
    found = [{name: read_back(name, text) for name, text in row.items()} for row in rows]
    assert found == [{column.key: column.value(run) for column in table.COLUMNS} for run in runs]


def test_json_holds_every_value_exactly(runs):
    assert json.loads(table.as_json(runs)) == [{c.key: c.value(run) for c in table.COLUMNS} for run in runs]


def test_hostile_names_come_back_from_csv_and_json():
    runs = [record(experiment=HOSTILE, network=HOSTILE)]
    (row,) = csv.DictReader(io.StringIO(table.as_csv(runs)))
    (entry,) = json.loads(table.as_json(runs))
    assert row["experiment"] == row["network"] == entry["experiment"] == entry["network"] == HOSTILE


def test_latex_escapes_what_it_would_obey():
    text = table.as_latex([record(experiment="a&b%c$d#e_f{g}h~i^j\\k"), unknown()])
    assert r"a\&b\%c\$d\#e\_f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k" in text
    lines = text.splitlines()
    layout = lines[0].removeprefix(r"\begin{tabular}{").removesuffix("}")
    body = [line for line in lines if line.endswith(r"\\")]
    assert len(body) == 3
    assert {line.replace(r"\&", "").count("&") for line in body} == {len(layout) - 1}
    assert [lines[i] for i in (1, 3, -2, -1)] == [r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}"]


def test_latex_has_one_line_a_run_whatever_its_names():
    assert table.as_latex([record(experiment="two\nlines")]).count(r" \\") == 2


# ----- which, and in which order


def names(runs):
    return [int(run.directory.name[8:10]) for run in runs]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [2, 1, 9]),
        (["data=organ_basic"], [2]),
        (["data=organ"], [2, 1]),
        (["data=vimh-organ"], [2, 1]),
        (["network=RNN,cnn_64k"], [2, 1]),
        (["network=rnn", "data=organ_basic"], []),
        (["seed=1"], [1]),
        (["seed=1,2"], [2, 1]),
        (["best=true"], [1]),
        (["complete=false"], [9]),
        (["state=not"], [9]),
        (["state=best"], [1]),
        (["sort=error"], [2, 1, 9]),
        (["sort=-error"], [1, 2, 9]),
        (["sort=date"], [1, 2, 9]),
        (["sort=seed", "limit=1"], [1]),
        (["limit=0"], []),
    ],
)
def test_words_choose_and_sort(runs, words, expected):
    assert names(table.wanted_runs(runs, words)) == expected


@pytest.mark.parametrize(
    ("word", "facts"),
    [
        ("sotr=error", ["sotr=error", "Did you mean sort?", "Columns: "]),
        ("eror=0.1", ["Did you mean error?"]),
        ("sort=eror", ["sort=eror", "Did you mean error?"]),
        ("organ", ["organ: give COLUMN=TEXT"]),
        ("limit=-1", ["limit=-1", "whole number"]),
        ("limit=x", ["limit=x", "whole number"]),
    ],
)
def test_other_words_are_refused_with_what_was_meant(runs, word, facts, tmp_path, capsys):
    assert main([word, "--log-dir", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    for fact in facts:
        assert fact in error


# ----- for people


def printed(runs, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    table.print_table(runs, Path("/logs"))
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_a_table_is_never_wider_than_the_screen(runs, width, monkeypatch, capsys):
    long = record(3, experiment="organ_cnn_envelope_regression", network="rnn_nano_漢漢漢", state="not a training")
    lines = printed([*runs, long], width, monkeypatch, capsys)
    assert max(map(cell_len, lines)) <= width
    rows = [line for line in lines if "-0" in line and "00-00-00" in line and "make" not in line]
    assert len(rows) == 4


def test_numbers_are_whole_at_80_columns(runs, monkeypatch, capsys):
    lines = printed(runs, 80, monkeypatch, capsys)
    (best,) = [line for line in lines if line.rstrip().endswith("best")]
    for text in ("65.8k", "0.500", "0.800", "1:15"):
        assert text in best
    assert any("not ended" in line for line in lines)


def test_there_is_more_where_there_is_more_room(runs, monkeypatch, capsys):
    headings = [printed(runs, width, monkeypatch, capsys)[0].split() for width in (60, 80, 200)]
    assert len(headings[0]) < len(headings[1]) < len(headings[2])
    for shown in headings:
        assert {"error", "acc."} <= {*shown}


def test_what_all_runs_have_alike_is_said_once(monkeypatch, capsys):
    lines = printed([record(1), record(2)], 120, monkeypatch, capsys)
    assert "network" not in lines[0]
    (said,) = [line for line in lines if line.startswith("all: ")]
    assert "network cnn_64k" in said
    assert "loss soft_target" in said


def test_the_shortened_name_of_a_run_is_one_that_programs_take(tmp_path):
    assert table.WITHOUT_YEAR.text(record(3)) == "01-03_00-00-00"
    assert table.WITHOUT_YEAR.text(record(directory=Path("/logs/train/x/7"))) == "7"
    assert table.WITHOUT_YEAR.text(record(name="multiruns/cnn/2026-01-03_00-00-00/7")) == "01-03_00-00-00/7"


def test_names_out_of_files_are_escaped(monkeypatch, capsys):
    out = "\n".join(printed([record(experiment=HOSTILE)], 120, monkeypatch, capsys))
    assert "\x1b" not in out


@pytest.mark.parametrize(("exists", "answer"), [(False, "no runs yet"), (True, "none of the 1 runs is like that")])
def test_an_empty_table_says_why(tmp_path, capsys, exists, answer):
    if exists:
        (tmp_path / "train/cnn/2026-01-01_00-00-00/checkpoints").mkdir(parents=True)
    assert main(["seed=5", "--log-dir", str(tmp_path)]) == 0
    assert answer in capsys.readouterr().out


# ----- files


@pytest.mark.parametrize("arguments", [["--csv"], ["--output", "{}.csv"], ["--csv", "--output", "{}.txt"]])
def test_a_file_holds_what_would_be_printed(tmp_path, capsys, arguments):
    (tmp_path / "train/cnn/2026-01-01_00-00-00/checkpoints").mkdir(parents=True)
    output = tmp_path / "deep" / "runs"
    given = [argument.format(output) for argument in arguments]
    assert main([*given, "--log-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    files = list(tmp_path.glob("deep/*"))
    text = files[0].read_text() if files else out
    assert text.startswith("experiment,run,data,")
    assert len(text.splitlines()) == 2


def test_a_file_of_no_known_format_is_refused(tmp_path, capsys):
    assert main(["--output", str(tmp_path / "runs.txt"), "--log-dir", str(tmp_path)]) == 1
    assert "name a format, --csv, --json or --latex" in capsys.readouterr().err
    assert not (tmp_path / "runs.txt").exists()


def test_many_runs_show_progress(tmp_path, monkeypatch):
    for number in range(5):
        (tmp_path / f"train/cnn/{number}/checkpoints").mkdir(parents=True)
    counted = []
    monkeypatch.setattr(table, "MANY", 5)
    monkeypatch.setattr(table, "progress", lambda *a: __import__("contextlib").nullcontext(counted.append))
    assert len(table.read_runs(tmp_path)) == sum(counted) == 5


def test_the_table_is_fast_to_start(tmp_path):
    code = "import sys; from scripts.runs import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", code, "--log-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert not {"torch", "lightning", "numpy", "numba", "matplotlib"} & set(done.stderr.split())
