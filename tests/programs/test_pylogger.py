import logging

import pytest

from src.programs.pylogger import RANK_VARIABLES, RankedLogger, process_rank


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


def test_every_rank_may_speak_with_its_number(monkeypatch, caplog):
    log = RankedLogger("test", rank_zero_only=False)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with caplog.at_level(logging.INFO):
        log.info("hello")
    assert caplog.messages == ["[rank 2] hello"]


def test_the_level_of_the_logger_holds(caplog):
    with caplog.at_level(logging.WARNING):
        RankedLogger("test").info("too quiet")
    assert caplog.messages == []
