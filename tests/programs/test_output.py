import io
import logging
import re
import sys
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from src.programs import output
from src.programs.entry import program
from src.programs.output import (
    CONFIG_TREE,
    DEFAULT_TAGS,
    RANK_VARIABLES,
    ProgressLine,
    RankedLogger,
    announce,
    clock,
    config_tree,
    console,
    end_of,
    enforce_tags,
    print_config_tree,
    process_rank,
    progress,
    shown_path,
    sign_of_life,
    write_config_tree,
)
from src.programs.output import Screen as ScreenOfLog
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
    write_config_tree(cfg, tmp_path)
    assert capsys.readouterr().out == ""
    print_config_tree(cfg)
    printed = capsys.readouterr().out.split()
    assert (tmp_path / CONFIG_TREE).read_text().split() == printed
    assert "batch_size:" in printed


def test_other_ranks_are_silent(cfg, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    write_config_tree(cfg, tmp_path)
    print_config_tree(cfg)
    announce("a", "b", "c")
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
    assert "4 of 4 files" in screen.content()
    assert "\x1b[" in screen.content()
    assert encoding == "utf-8" or screen.content().isascii()


def test_a_dumb_terminal_gets_lines(monkeypatch):
    screen = screen_of(monkeypatch, "dumb")
    now = [0.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: now[0])
    with progress(4, "Reading [/b]", "files") as advance:
        advance(0)
        now[0] = 0.4
        advance(1)
        assert screen.content() == ""
        now[0] = 4.0
        advance(1)
    assert screen.content() == "Reading [/b]: 2 of 4 files, 0/s, 0:04 left\n"


def test_colours_are_left_out_where_nobody_wants_them(monkeypatch):
    screen = screen_of(monkeypatch, "xterm-256color")
    console(stderr=True).print("x", style="red")
    coloured = screen.content()
    monkeypatch.setenv("NO_COLOR", "1")
    console(stderr=True).print("x", style="red")
    assert "\x1b[31m" in coloured
    assert "\x1b[31m" not in screen.content().removeprefix(coloured)


# ----- a line of progress


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0, None])
@pytest.mark.parametrize("columns", [30, 60, 80, 140])
def test_the_line_with_a_bar_is_one_line_at_every_width(monkeypatch, columns, share):
    screen_of(monkeypatch, "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    line = ProgressLine("Nearest neighbours", "sounds")
    line.start -= 1.0
    line.show(share, "123 of 12,345 training sounds", 123_456)
    with line.live.console.capture() as capture:
        line.live.console.print(line._drawn())
    (shown,) = re.sub(r"\x1b\[[\d;]*m", "", capture.get()).splitlines()
    assert len(shown) <= columns
    assert ("123 of 12,345 training sounds" in shown) == (columns >= 60)
    assert share != 1.0 or ("━" in shown) == (columns >= 80)
    assert columns == 80 or ("sounds/s" in shown) == (columns > 80)


def test_the_time_left_is_that_of_the_rest(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: now[0])
    line = ProgressLine("Epoch", "sounds")
    line.begin_at(0.5)  # a training that is resumed
    now[0] += 60
    assert line.time() == "1:00"  # nothing is known yet
    line.show(0.75, "", 6000)
    assert (line.time(), line.rate()) == ("1:00 left", "100 sounds/s")
    line.show(1.0, "", 6000)
    now[0] += 3600
    line.__exit__()
    assert line.time() == "in 1:01:00"


@pytest.mark.parametrize(("seconds", "expected"), [(0, "0:00"), (59.6, "1:00"), (3599.4, "59:59"), (36000, "10:00:00")])
def test_a_time_is_short(seconds, expected):
    assert clock(seconds) == expected


def test_what_is_printed_beside_a_bar_goes_where_it_belongs(monkeypatch, capsys):
    screen = screen_of(monkeypatch, "xterm")
    with progress(2, "Reading", "files"):
        print("a result")  # of a program whose output is a pipe
    assert capsys.readouterr().out == "a result\n"
    assert "a result" not in screen.content()


def test_a_sign_of_life_leaves_nothing(monkeypatch):
    screen = screen_of(monkeypatch, "xterm")
    with sign_of_life("Starting ..."):
        assert screen.content() == "Starting ..."
    assert screen.content() == "Starting ...\r\x1b[2K"
    dumb = screen_of(monkeypatch, "dumb")
    with sign_of_life("Starting ..."):
        assert dumb.content() == ""


# ----- what is shown of the log


@pytest.mark.parametrize(
    ("name", "level", "stream"),
    [
        ("src.tasks.train", logging.DEBUG, None),
        ("src.tasks.train", logging.INFO, "out"),
        ("src", logging.INFO, "out"),
        ("src.tasks.train", logging.WARNING, "err"),
        ("srcery", logging.INFO, None),
        ("lightning.pytorch", logging.INFO, None),
        ("lightning.pytorch", logging.WARNING, "err"),
        ("lightning.pytorch", logging.ERROR, "err"),
    ],
)
def test_the_screen_shows_own_messages_and_warnings_of_all(name, level, stream, capsys, monkeypatch):
    monkeypatch.setattr(logging.root, "level", logging.INFO)
    ScreenOfLog(["src"]).handle(logging.LogRecord(name, level, "file.py", 1, "a %s", ("message",), None))
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("a message\n" * (stream == "out"), "a message\n" * (stream == "err"))


def test_messages_are_broken_between_words_on_a_terminal_and_nowhere_else(capsys, monkeypatch):
    message = f"{'word ' * 30}/a/{'long_path/' * 12}"
    record = logging.LogRecord("src", logging.INFO, "file.py", 1, message, (), None)
    ScreenOfLog(["src"]).handle(record)
    assert capsys.readouterr().out == f"{message}\n"
    monkeypatch.setattr("src.programs.output.console", lambda: Console(force_terminal=True, width=40))
    ScreenOfLog(["src"]).handle(record)
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(lines) == message and len(lines) == 5
    assert all(len(line) <= 40 for line in lines[:-1]) and lines[-1].startswith("/a/")


def test_a_process_of_several_that_train_shows_warnings_alone(capsys, monkeypatch):
    monkeypatch.setattr(logging.root.manager, "disable", 0)
    monkeypatch.setitem(sys.modules, "__mp_main__", sys)  # as `multiprocessing` has it while it reads the file again
    program("train", task="no.task")
    lightning = logging.Logger("lightning")
    lightning.manager = logging.root.manager
    lightning.addHandler(logging.StreamHandler())
    lightning.info("Initializing")
    lightning.warning("beware")
    assert capsys.readouterr().err == "beware\n"


def test_whoever_asks_for_more_sees_everything(capsys, monkeypatch):
    monkeypatch.setattr(logging.root, "level", logging.DEBUG)
    ScreenOfLog([]).handle(logging.LogRecord("other", logging.DEBUG, "file.py", 1, "detail", (), None))
    assert capsys.readouterr().out == "detail\n"


# ----- names and paths


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_what_runs_is_one_line_that_shows_what_it_can_of_a_name(monkeypatch, capsys, caplog, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    name = "vimh-32x32x1_8000Hz_1p0s_256dss_simple_2p"
    with caplog.at_level(logging.DEBUG):
        announce("example: 256 sounds of ", name, ", cnn_64k, cpu")
    shown = capsys.readouterr().out
    assert shown.count("\n") == 1
    assert len(shown) - 1 == min(columns, len(name) + 37)
    assert shown.startswith("example: 256 sounds of ")
    assert shown.endswith("simple_2p, cnn_64k, cpu\n")
    assert caplog.messages == [f"example: 256 sounds of {name}, cnn_64k, cpu"]


def test_the_end_of_a_name_says_most():
    assert end_of("short", 3) == "short"  # never fewer than twelve characters
    assert end_of("a" * 20 + "_simple_2p", 12) == "…a_simple_2p"
    assert end_of("a\nb", 20) == r"a\nb"


def test_a_path_is_shown_as_a_command_takes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "logs" / "a.ckpt") == "logs/a.ckpt"
    assert shown_path("logs/a.ckpt") == "logs/a.ckpt"
    assert shown_path(tmp_path.parent / "a.ckpt") == str(tmp_path.parent / "a.ckpt")
    assert shown_path("/nowhere/\x1b[2K") == r"/nowhere/\x1b[2K"
