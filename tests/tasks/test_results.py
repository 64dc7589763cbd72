import json
import math

import pytest
from rich.console import Console

from src.params import ParamSpec
from src.tasks.results import FIGURES, head_results, read_visible, results_table, write_results

HEADS = [
    ParamSpec("cutoff", 0.0, 100.0, 10.0, "Hz"),
    ParamSpec("filter_env_release", -1.0, 1.0, 0.1, "log10 s"),
    ParamSpec("shape", 0.0, 4.0, 1.0),
]
METRICS = {
    f"test/{head.name}_{figure}": number + 0.1 * place
    for number, head in enumerate(HEADS)
    for place, figure in enumerate(FIGURES)
}
MAJORITY = {"cutoff": 0.2, "filter_env_release": 0.3, "shape": 0.4}
MEAN_ERROR = {"cutoff": 55.0, "filter_env_release": 0.72, "shape": 0.8}


def results(visible=None):
    return head_results(METRICS, HEADS, MAJORITY, MEAN_ERROR, visible or {})


def printed(table, width=80):
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_results_are_the_figures_of_each_head_and_of_answers_without_a_network():
    found = results({"cutoff": 0.4})
    assert list(found) == [head.name for head in HEADS]
    for head in HEADS:
        row = found[head.name]
        assert {figure: row[figure] for figure in FIGURES} == {
            figure: METRICS[f"test/{head.name}_{figure}"] for figure in FIGURES
        }
        assert row["majority"] == MAJORITY[head.name]
        assert row["mean_mae"] == MEAN_ERROR[head.name]
        assert row["mean_steps"] * head.step == pytest.approx(row["mean_mae"])
        assert row["units"] == head.units
    assert [row["visible"] for row in found.values()] == [0.4, None, None]


def test_results_lack_no_head():
    with pytest.raises(KeyError):
        head_results({"test/cutoff_acc": 1.0}, HEADS[:1], MAJORITY, MEAN_ERROR, {})


def test_results_of_another_stage():
    metrics = {name.replace("test/", "val/"): figure for name, figure in METRICS.items()}
    assert head_results(metrics, HEADS, MAJORITY, MEAN_ERROR, {}, "val") == results()


def test_a_line_of_the_table_holds_all_of_a_head_and_fits_a_terminal():
    lines = printed(results_table(results(), "saw, 100 samples")).splitlines()
    for name, row in results().items():
        (line,) = [line for line in lines if line.startswith(name)]
        mae = f"{row['mae']:.4g} {row['units']}".strip()
        for figure in (f"{row['acc']:.3f}", f"{row['acc1']:.3f}", mae, f"{row['steps']:.3f}", f"{row['coverage']:.0%}"):
            assert figure in line
        assert f"{row['majority']:.3f}" in line
        assert f"{row['mean_steps']:.2f}" in line
    assert max(map(len, lines)) <= 80
    assert "*" not in "".join(lines)


def test_heads_that_hardly_show_are_marked():
    text = printed(results_table(results({"cutoff": 0.89, "shape": 0.9}), "moog"))
    assert "cutoff *" in text
    assert "shape *" not in text
    assert "filter_env_release *" not in text
    assert "less than 90% of the sounds" in text


def cells(text, label):
    (line,) = [line for line in text.splitlines() if line.startswith(label)]
    return line.removeprefix(label).split()


def test_the_last_row_is_the_mean_of_what_has_no_units():
    text = printed(results_table(results(), "saw"))
    rows = list(results().values())

    def mean(figure):
        return sum(row[figure] for row in rows) / 3

    assert text.splitlines()[-1].startswith("mean of 3")
    assert cells(text, "mean of 3") == [
        *(f"{mean(figure):.3f}" for figure in ("acc", "acc1", "majority", "steps")),
        f"{mean('mean_steps'):.2f}",
        f"{mean('coverage'):.0%}",
    ]


def test_heads_that_hardly_show_have_no_part_in_a_second_mean():
    found = results({"cutoff": 0.5})
    kept = {name: row for name, row in found.items() if name != "cutoff"}
    text = printed(results_table(found, "moog"))
    assert cells(text, "mean of 2 without *") == cells(printed(results_table(kept, "moog")), "mean of 2")
    assert "mean of 3" in text
    assert "without *" not in printed(results_table(results(dict.fromkeys(found, 0.5)), "moog"))


def test_a_single_head_is_its_own_mean():
    assert "mean of" not in printed(results_table({"cutoff": results()["cutoff"]}, "digits"))


def test_the_audit_of_a_dataset_is_found_by_its_name(tmp_path):
    path = tmp_path / "audit" / "moog_4p" / "audit.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([{"name": "cutoff", "invisible": 0.25}, {"name": "shape", "invisible": 0.0}]))
    assert read_visible(tmp_path, "moog_4p") == {"cutoff": 0.75, "shape": 1.0}
    assert read_visible(tmp_path, "moog_8p") == {}


@pytest.mark.parametrize(
    "text", ["", "[1]", '[{"name": "cutoff"}]', '{"cutoff": 1}', '[{"name": "a", "invisible": null}]']
)
def test_an_audit_that_cannot_be_read_is_none(tmp_path, text):
    (tmp_path / "audit" / "set").mkdir(parents=True)
    (tmp_path / "audit" / "set" / "audit.json").write_text(text)
    assert read_visible(tmp_path, "set") == {}


def test_results_are_written_as_they_are(tmp_path):
    path = write_results({"heads": results()}, tmp_path)
    assert path == tmp_path / "results.json"
    assert json.loads(path.read_text()) == {"heads": results()}


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_what_is_no_finite_number_is_null_in_json(tmp_path):
    diverged = {"loss": math.nan, "heads": {"a": [1.5, math.inf, -math.inf, "NaN", None, 3, True]}}
    path = write_results(diverged, tmp_path)
    expected = {"loss": None, "heads": {"a": [1.5, None, None, "NaN", None, 3, True]}}
    assert json.loads(path.read_text(), parse_constant=refuse) == expected
