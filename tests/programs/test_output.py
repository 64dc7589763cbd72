import io
import logging
import sys
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from src.programs import output
from src.programs.output import (
    CONFIG_TREE,
    DEFAULT_TAGS,
    RANK_VARIABLES,
    RankedLogger,
    config_tree,
    console,
    enforce_tags,
    print_config_tree,
    process_rank,
    progress,
)
from src.text import IN_ASCII


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in RANK_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("variable", RANK_VARIABLES)
def test_the_rank_is_what_a_launcher_says(monkeypatch, variable):
    assert process_rank() == 0
    monkeypatch.setenv(variable, "3")
    assert process_rank() == 3


def test_rank_zero_speaks_for_all(monkeypatch, caplog):
    log = RankedLogger("test")
    with caplog.at_level(logging.INFO):
        log.info("rank %d", 0)
        monkeypatch.setenv("LOCAL_RANK", "1")
        log.info("rank %d", 1)
    assert [record.getMessage() for record in caplog.records] == ["rank 0"]


def test_the_level_of_the_logger_holds(caplog):
    with caplog.at_level(logging.WARNING):
        RankedLogger("test").info("too quiet")
    assert caplog.messages == []


@pytest.fixture
def cfg():
    return OmegaConf.create(
        {"seed": 42, "trainer": {"max_epochs": "${seed}"}, "data": {"batch_size": 8}, "callbacks": None, "left": "???"}
    )


def test_every_key_is_a_branch_and_sections_come_first(cfg):
    labels = [branch.label for branch in config_tree(cfg, ("data", "model", "trainer")).children]
    assert labels == ["data", "trainer", "seed", "callbacks", "left"]


def test_interpolations_are_resolved(cfg):
    console = Console(width=80)
    with console.capture() as capture:
        console.print(config_tree(cfg))
    assert "max_epochs: 42" in capture.get()


def test_the_file_says_what_the_terminal_says(cfg, tmp_path, capsys):
    print_config_tree(cfg, tmp_path)
    printed = capsys.readouterr().out.split()
    assert (tmp_path / CONFIG_TREE).read_text().split() == printed
    assert "batch_size:" in printed


def test_other_ranks_are_silent(cfg, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    print_config_tree(cfg, tmp_path)
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


def test_tags_that_are_there_stay():
    assert enforce_tags(["a", "b"]) == ["a", "b"]


@pytest.mark.parametrize("tags", [None, []])
def test_there_is_no_prompt_without_a_terminal(tags, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    monkeypatch.setattr(output.Prompt, "ask", lambda *_, **__: pytest.fail("asked"))
    assert enforce_tags(tags) == list(DEFAULT_TAGS)


def test_a_person_at_a_terminal_is_asked(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(output.Prompt, "ask", lambda *_, **__: " saw, small ,")
    assert enforce_tags([]) == ["saw", "small"]


# ----- the console; what it does with hostile texts is in tests/test_hostile_texts.py


class Screen(io.TextIOWrapper):
    """A terminal that keeps what is written to it."""

    def __init__(self, encoding):
        super().__init__(io.BytesIO(), encoding=encoding, errors=IN_ASCII)

    def isatty(self):
        return True

    def content(self):
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


def test_neither_markup_nor_emoji_nor_numbers_are_marked():
    screen = Screen("utf-8")
    console(file=screen).print("[red]x[/b] :smile: 12 'a'")
    assert screen.content() == "[red]x[/b] :smile: 12 'a'\n"


def screen_of(monkeypatch, term, encoding="utf-8"):
    """Standard error as a terminal."""
    screen = Screen(encoding)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", term)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return screen


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_bar_shows_progress_on_a_terminal(monkeypatch, encoding):
    screen = screen_of(monkeypatch, "xterm", encoding)
    with progress(4, "Reading [/b]", "files") as advance:
        advance(4)
    assert "Reading [/b]" in screen.content()
    assert "4/4" in screen.content()
    assert "\x1b[" in screen.content()
    assert encoding == "utf-8" or screen.content().isascii()


def test_a_dumb_terminal_gets_lines(monkeypatch):
    screen = screen_of(monkeypatch, "dumb")
    monkeypatch.setattr(output.time, "monotonic", iter(range(0, 100, 4)).__next__)
    with progress(4, "Reading [/b]", "files") as advance:
        advance(1)
    assert screen.content() == "Reading [/b]: 1 of 4 files, 0/s, 12 s left\n"


def test_colours_are_left_out_where_nobody_wants_them(monkeypatch):
    screen = screen_of(monkeypatch, "xterm-256color")
    console(stderr=True).print("x", style="red")
    coloured = screen.content()
    monkeypatch.setenv("NO_COLOR", "1")
    console(stderr=True).print("x", style="red")
    assert "\x1b[31m" in coloured
    assert "\x1b[31m" not in screen.content().removeprefix(coloured)
