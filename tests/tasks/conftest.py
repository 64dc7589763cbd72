"""What tests of several programs share: running one as the command line does, in this process."""

import logging
import signal
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def program(monkeypatch, capfd):
    """Runs an entry point as the command line does, in this process; returns exit code, stdout and stderr."""
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setenv("PROJECT_ROOT", str(ROOT))
    monkeypatch.setenv("HYDRA_MAIN_MODULE", "__main__")  # or else Hydra looks for a package of configurations
    before = logging.root.handlers[:], logging.root.level
    listening = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}

    def run(entry_point, *arguments):
        monkeypatch.setattr(sys, "argv", [entry_point.__file__, *arguments])
        code = 0
        try:
            entry_point.main()
        except SystemExit as stop:
            code = stop.code
        return code, *capfd.readouterr()

    yield run
    for handler in set(logging.root.handlers) - set(before[0]):
        handler.close()
    logging.root.handlers[:], logging.root.level = before
    for signum, handler in listening.items():  # Lightning leaves them ignored: the program is at its end
        signal.signal(signum, handler)
