"""The notebook of the documentation: as it is stored, and run."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from scripts.notebook import MOST_BYTES, NOTEBOOK, tidy
from src import api

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_whole_small_and_without_errors(notebook):
    nbformat.validate(notebook)
    assert NOTEBOOK.stat().st_size <= MOST_BYTES
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "execute_result", "display_data"}
    shown = "".join(output.get("data", {}).get("text/html", "") for output in outputs)
    assert shown.count("<audio") >= 3
    assert "image/png" in shown


def test_the_notebook_goes_all_the_way(notebook):
    source = "\n".join(cell.source for cell in notebook.cells)
    steps = ("generate_vimh.py", "nsm.Dataset", "src/train.py", "net.predict", ".refine()", "better.sound()")
    places = [source.index(step) for step in steps]
    assert places == sorted(places)
    lines = [line for cell in notebook.cells if cell.cell_type == "code" for line in cell.source.splitlines()]
    tree = ast.parse("\n".join(line for line in lines if not line.startswith("!")))
    named = {node.attr for node in ast.walk(tree) if getattr(getattr(node, "value", None), "id", "") == "nsm"}
    assert named <= set(api.__all__)


def test_nothing_of_this_machine_is_kept(notebook):
    content = NOTEBOOK.read_text()
    assert not [text for text in ("/tmp/", "/root", "/home", str(ROOT), "\\u001b", "Traceback") if text in content]
    assert not any(cell.metadata for cell in notebook.cells)


def test_outputs_are_tidied():
    output = nbformat.v4.new_output("stream", text="\x1b[31mred\x1b[0m /x/project/logs in /x/project\n")
    cell = nbformat.v4.new_code_cell("1", outputs=[output], metadata={"execution": {"at": "now"}})
    made = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": {"name": "mine", "display_name": "Mine"}})
    tidy(made, Path("/x/project"))
    assert output.text == "red logs in .\n"
    assert cell.metadata == {}
    assert made.metadata["kernelspec"]["name"] == "python3"


@pytest.mark.slow
def test_the_notebook_runs():
    command = [sys.executable, "scripts/notebook.py", "--check"]
    before = NOTEBOOK.read_bytes()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "runs" in done.stdout
    assert NOTEBOOK.read_bytes() == before


@pytest.mark.slow
def test_a_cell_that_fails_is_named_and_nothing_is_written(tmp_path):
    broken = tmp_path / "broken.ipynb"
    cells = [nbformat.v4.new_code_cell("from src import api as nsm"), nbformat.v4.new_code_cell("nsm.load('gone')")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), broken)
    before = broken.read_bytes()
    script = f"from pathlib import Path; import scripts.notebook as n; n.NOTEBOOK = Path({str(broken)!r}); n.main()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 1
    assert "broken.ipynb: a cell fails" in done.stderr
    assert "nsm.load('gone')" in done.stderr
    assert broken.read_bytes() == before
    assert json.loads(before)["cells"][0]["outputs"] == []
