"""A campaign of faults: damaged files, hostile files, kills, full disks, odd environments, odd recordings.

python scripts/campaign.py [--scale 0.05] [--seed 1] [--only ROW,ROW] [--list] [--page]

Every try is made in a process of its own group with a limit of time, and either holds or fell: what the documentation
promises was kept, or not; a try that takes too long fell. Tries are numbered, and a try of a seed is the same every
time: `--only "kills of a training:17"` repeats one. A scale of 1 takes about 40 minutes on two cores; the tries of a
row grow with it, but for those that are all there are. What fell is kept, with its directory, below logs/campaign.
"""

import argparse
import contextlib
import multiprocessing
import os
import platform
import shutil
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

import numpy as np  # noqa: E402

from scripts.faults.rows import ROWS, Fixtures, Row, Try, make_fixtures  # noqa: E402
from scripts.pages import between_marks, table, write_json  # noqa: E402
from src.errors import ConfigError, NSMError  # noqa: E402
from src.files import claim_directory, write_atomically  # noqa: E402
from src.programs.command_line import OptionParser  # noqa: E402
from src.programs.output import console, plain_table, progress  # noqa: E402
from src.text import complain, prepare_streams, say  # noqa: E402

PAGE = ROOT / "docs" / "reliability.md"
MARKS = ("<!-- campaign: made by scripts/campaign.py -->\n", "<!-- end -->")
FEWEST = 2  # tries of a row at any scale


@dataclass
class Result:
    """What became of a row.

    Attributes:
        tried: Number of tries.
        fell: Number of those that fell.
        seconds: Time that they took, of all processes together.
    """

    tried: int = 0
    fell: int = 0
    seconds: float = 0.0


@dataclass
class Worker:
    """A process that makes tries, one after the other.

    Attributes:
        process: It leads a group of its own, so that what it starts can be stopped with it.
        pipe: Takes the name of a row and the number of a try; gives what fell, or None.
        job: What it is doing: the row and the number; None: nothing.
        began: When it began that, s.
    """

    process: BaseProcess
    pipe: Connection
    job: tuple[Row, int] | None = None
    began: float = 0.0

    @classmethod
    def start(cls, fixtures: Fixtures, seed: int, output: Path) -> "Worker":
        """Start a process."""
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=make_tries, args=(theirs, fixtures, seed, output), daemon=False)
        process.start()
        theirs.close()
        return cls(process, ours)

    def give(self, row: Row, number: int) -> None:
        """Give it a try to make."""
        self.job, self.began = (row, number), time.monotonic()
        self.pipe.send((row.name, number))

    @property
    def is_late(self) -> bool:
        """Whether its try takes longer than it may."""
        return self.job is not None and time.monotonic() - self.began > self.job[0].limit

    def stop(self) -> None:
        """End it and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def make_tries(pipe: Connection, fixtures: Fixtures, seed: int, output: Path) -> None:
    """What a worker does: tries until nobody wants any more. What they print goes to a file."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which is ignored in the background of a script, by children as well
    log = os.open(output / "output.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    rows = {row.name: row for row in ROWS}
    with contextlib.suppress(EOFError):
        while True:
            name, number = pipe.recv()
            pipe.send(make_try(rows[name], number, fixtures, seed, output))


def make_try(row: Row, number: int, fixtures: Fixtures, seed: int, output: Path) -> str | None:
    """Make a try.

    Returns:
        What fell, with the traceback; None if all held. The directory of a try that fell is kept.
    """
    place = output / f"{row.name.replace(' ', '_')}_{number}"
    place.mkdir()
    rng = np.random.default_rng((seed, *row.name.encode(), number))
    try:
        row.attempt(Try(number, rng, place, fixtures))
    except BaseException:
        return traceback.format_exc()
    shutil.rmtree(place, ignore_errors=True)
    return None


@dataclass
class Campaign:
    """All tries of some rows, made by several processes.

    Attributes:
        fixtures: What tries begin with.
        seed: Decides every try.
        output: Directory of this campaign.
        results: By the names of the rows.
    """

    fixtures: Fixtures
    seed: int
    output: Path
    results: dict[str, Result] = field(default_factory=dict)

    def run(self, jobs: Sequence[tuple[Row, int]], n_workers: int) -> None:
        """Make tries, so that a crash or a hang of one ends that one alone."""
        waiting = deque(jobs)
        workers = [self._start() for _ in range(min(n_workers, len(jobs)))]
        try:
            with progress(len(jobs), "Campaign", "tries") as advance:
                while waiting or any(worker.job for worker in workers):
                    for n, worker in enumerate(workers):
                        if worker.job is None and waiting:
                            worker.give(*waiting.popleft())
                        elif worker.is_late:
                            self._count(worker, f"took more than {worker.job[0].limit:g} s")
                            worker.stop()
                            workers[n] = self._start()
                            advance(1)
                    for pipe in wait([worker.pipe for worker in workers if worker.job], timeout=0.5):
                        n = next(n for n, worker in enumerate(workers) if worker.pipe is pipe)
                        try:
                            self._count(workers[n], pipe.recv())
                        except (EOFError, ConnectionResetError):
                            workers[n].process.join(5)
                            self._count(workers[n], f"crashed with exit code {workers[n].process.exitcode}")
                            workers[n].stop()
                            workers[n] = self._start()
                        advance(1)
        finally:
            for worker in workers:
                worker.stop()

    def _start(self) -> Worker:
        return Worker.start(self.fixtures, self.seed, self.output)

    def _count(self, worker: Worker, fell: str | None) -> None:
        """Enter what became of a worker's try."""
        row, number = worker.job
        worker.job = None
        result = self.results.setdefault(row.name, Result())
        result.tried += 1
        result.seconds += time.monotonic() - worker.began
        if fell is not None:
            result.fell += 1
            with (self.output / "fell.log").open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"===== {row.name}:{number}\n{fell}\n")


def jobs_of(rows: Sequence[Row], scale: float, numbers: dict[str, int]) -> Iterator[tuple[Row, int]]:
    """The tries of a campaign, the longest first."""
    for row in sorted(rows, key=lambda row: -row.limit):
        if row.name in numbers:
            yield row, numbers[row.name]
            continue
        n_tries = max(FEWEST, round(row.tries * scale)) if row.grows else row.tries
        yield from ((row, number) for number in range(n_tries))


def choose_rows(names: str | None) -> tuple[list[Row], dict[str, int]]:
    """The rows that `--only` means, and the numbers of the tries for those of which one is wanted.

    Raises:
        ConfigError: If there is no such row.
    """
    if names is None:
        return list(ROWS), {}
    rows, numbers = {row.name: row for row in ROWS}, {}
    chosen = []
    for text in names.split(","):
        name, _, number = text.strip().partition(":")
        if name not in rows or (number and not number.isdecimal()):
            raise ConfigError(f"--only {text.strip()!r}: is no row; there are: {'; '.join(rows)}.")
        chosen.append(rows[name])
        if number:
            numbers[name] = int(number)
    return chosen, numbers


def page_with(results: dict[str, Result], about: str, page: str) -> str:
    """The page of the documentation with the table of a campaign."""
    cells = [
        [row.name, row.law, f"{found.tried:,}", f"{found.tried - found.fell:,}", f"{found.fell:,}"]
        for row in ROWS
        if (found := results.get(row.name))
    ]
    lines = table(["tried", "what must hold", "tries", "held", "fell"], cells)
    return between_marks(page, MARKS, "\n".join(["", *lines, "", about, "", ""]))


def show(results: dict[str, Result]) -> None:
    """Print the table of a campaign."""
    found = plain_table("Campaign", ["tried"], ["tries", "held", "fell", "s"])
    for name, result in results.items():
        counts = (result.tried, result.tried - result.fell, result.fell, round(result.seconds))
        found.add_row(name, *(f"{count:,}" for count in counts))
    console().print(found)


def main() -> int:
    """Make the campaign that the command line describes."""
    prepare_streams()
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the tries of rows that grow with it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", metavar="ROW,ROW", help="some rows, or one try of a row as in ROW:NUMBER")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that make tries at once")
    parser.add_argument("--list", action="store_true", help="print the rows, and make none")
    parser.add_argument("--page", action="store_true", help=f"put the table into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    try:
        rows, numbers = choose_rows(options.only)
    except NSMError as error:
        complain(error)
        return 1
    if options.list:
        for row in rows:
            say(f"{row.name:<32} {row.tries:>6,}  {row.law}")
        return 0
    return campaign(options, rows, numbers)


def campaign(options: Any, rows: Sequence[Row], numbers: dict[str, int]) -> int:
    """Prepare, run and report a campaign; 1 if anything fell, 130 if it was interrupted."""
    output = claim_directory(ROOT / "logs" / "campaign" / time.strftime("%Y-%m-%d_%H-%M-%S"))
    complain("Preparing a dataset and a network ...")
    run = Campaign(make_fixtures(output / "fixtures"), options.seed, output)
    begun, interrupted = time.monotonic(), False
    try:
        run.run(list(jobs_of(rows, options.scale, numbers)), options.workers)
    except KeyboardInterrupt:
        interrupted = True
    show(run.results)
    n_fell = sum(result.fell for result in run.results.values())
    write_json({name: vars(result) for name, result in run.results.items()}, output / "results.json")
    if options.page and not interrupted:
        minutes = round((time.monotonic() - begun) / 60)
        about = (
            f"Seed {options.seed}, scale {options.scale:g}: {minutes} minutes, Python {platform.python_version()}, "
            f"{platform.system()}, {options.workers} processes at once."
        )
        write_atomically(PAGE, page_with(run.results, about, PAGE.read_text(encoding="utf-8")).encode())
    say(f"{n_fell} fell: {output / 'fell.log'}" if n_fell else f"None fell: {output}")
    return 130 if interrupted else int(n_fell > 0)


if __name__ == "__main__":
    sys.exit(main())
