"""What the page about Python and the docstrings show is what happens."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from src import api

ROOT = Path(__file__).parents[2]
FIGURE = re.compile(r"[-+]?\d[\d,.]*")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = [f"src.api.{module.name}" for module in pkgutil.iter_modules(api.__path__)]


class Checker(doctest.OutputChecker):
    """Takes other figures in a table for the same: what a network reaches differs from machine to machine."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if "─" in want or want.startswith("Network of"):
            want, got = (re.sub("─+", "─", FIGURE.sub("0", text)) for text in (want, got))
        return super().check_output(want, got, optionflags)


def run(test: doctest.DocTest) -> doctest.TestResults:
    return doctest.DocTestRunner(Checker(), optionflags=OPTIONS).run(test)


def test_the_page_shows_what_happens(here):
    page = (ROOT / "docs" / "python.md").read_text()
    examples = "\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL))
    test = doctest.DocTestParser().get_doctest(examples, {}, "docs/python.md", "docs/python.md", 0)
    assert len(test.examples) > 30
    assert run(test).failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_the_docstrings_show_what_happens(here, name):
    module = importlib.import_module(name)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        assert run(test).failed == 0


def test_the_page_names_what_there_is():
    page = (ROOT / "docs" / "python.md").read_text()
    named = set(re.findall(r"nsm\.([A-Za-z]+)", page))
    assert named <= set(api.__all__)
    assert {"load", "Dataset", "runs", "NSMError"} <= named
