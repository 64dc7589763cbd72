"""What the short files of programs import: light, so that a Ctrl-C finds its handler as early as can be."""

import atexit
import signal
import sys
from collections.abc import Callable
from typing import Any

from src.programs.command_line import load_task
from src.programs.signals import leave, listen, listening


def program(config_name: str, task: str, **options: Any) -> Callable[[], None]:
    """The main function of a program.

    Args:
        config_name: The primary configuration.
        task: Dotted name of the function of a configuration that does the work.
        **options: Further arguments of `src.programs.program.program`, which is imported when the program runs.
    """
    if (
        "__mp_main__" in sys.modules
    ):  # a process that trains along with others: it reads the file again, but runs nothing
        load_task("src.programs.output.warn_only")()

    def main() -> None:
        atexit.register(listen, signal.SIG_IGN)  # what is registered first is called last: only memory is freed then
        with listening(leave):
            try:
                load_task("src.programs.program.program")(config_name, task, **options)()
            finally:
                atexit.register(listen, leave)  # while the interpreter ends

    return main
