"""Measures generation and training on a GPU within a few minutes, wherever one is at hand: `make bench-gpu`.

python3 scripts/bench_gpu.py [--seconds 480] [--only PART,PART] [--list] [--output DIR] [--device cpu --small]

It is made for a GPU that one has for a quarter of an hour, on a machine without network: what its Python lacks beside
torch, lightning, numba, numba-cuda, numpy and scipy is taken from the wheels in gpu_wheels, which scripts/gpu_wheels
fetches before. Every part runs in a process of its own, with a limit of time: whatever becomes of one, the others run.
After each, DIR/gpu.json is written, and at the end DIR/gpu.log with what the parts printed; OUT, if it is set in the
environment, names a second directory for both. scripts/gpu_page.py makes the tables of the documentation from them.
--device cpu --small rehearses it without a GPU in under two minutes.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # without packages of others

from scripts.gpu_parts import wheels
from scripts.gpu_parts.plan import BY_NAME, LEAST, PARTS, Part, Wave, limit, waves
from src.errors import ConfigError
from src.files import write_atomically
from src.programs.command_line import OptionParser, reporting
from src.programs.signals import Interrupt, listening
from src.text import one_line, prepare_streams, printable, say

ROOT = Path(__file__).resolve().parents[1]
TOTAL = 480.0  # s
PROBE = Part("machine", "what the machine is", "machine.measure", 60)
MOST_LOG = 200_000  # bytes of a part, its end
POLL = 0.1  # s
PATIENCE = 5.0  # s, for a process that was killed


class Running:
    """A part that runs in a process group of its own.

    Args:
        part: What it measures.
        seconds: Its limit; then the group is killed.
        options: Of the command line, for the part.
        directory: For its files, the datasets and the runs; shared by all parts.
        environment: Of the process.
    """

    def __init__(
        self, part: Part, seconds: float, options: Sequence[str], directory: Path, environment: dict[str, str]
    ) -> None:
        self.part = part
        self.rows = directory / f"{part.name}.rows"
        self.log = directory / f"{part.name}.log"
        self.start = time.monotonic()
        self.end = self.start + seconds
        self.killed = False
        if "--device=cpu" in options and part.simulated:
            environment = environment | {"NUMBA_ENABLE_CUDASIM": "1"}
        command = [sys.executable, "-m", "scripts.gpu_parts.child", part.measure, f"--rows={self.rows}"]
        command += [f"--seconds={seconds:.1f}", f"--directory={directory}", *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def is_over(self) -> bool:
        """Whether it has ended; it is killed at its limit, and not waited for where a driver does not let it go."""
        if self.process.poll() is None and time.monotonic() >= self.end:
            self.killed = True
            self.kill()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE)
        return self.killed or self.process.poll() is not None

    def kill(self) -> None:
        """End the process and all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def result(self) -> dict[str, Any]:
        """What it found until it ended."""
        self.kill()  # what it left running
        state = "stopped" if self.killed else "done" if self.process.returncode == 0 else "failed"
        result = {"state": state, "seconds": round(time.monotonic() - self.start, 1), "found": read_rows(self.rows)}
        if state == "failed":
            result["message"] = last_line(self.log) or f"It ended with the code {self.process.returncode}."
        return result


def read_rows(path: Path) -> dict[str, Any]:
    """What a part has written: a line of JSON for each finding, its name and its figures; other lines are none."""
    found = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        with suppress(ValueError, TypeError, KeyError):
            row = json.loads(line)
            found[str(row["name"])] = dict(row["figures"])
    return found


def last_line(log: Path) -> str:
    """The last line of a log that is not empty, in printable letters."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((one_line(line.strip(), 300) for line in reversed(lines) if line.strip()), "")


def environment_of(directory: Path) -> dict[str, str]:
    """Variables of the parts: the code, and the packages that this Python lacks, can be imported."""
    carried = sorted((ROOT / "gpu_wheels").glob("*.whl"))
    wanted = wheels.needed(carried, ROOT / "pyproject.toml")
    if wanted:
        say(f"Taken from gpu_wheels: {', '.join(map(wheels.name_of, wanted))}.")
        wheels.unpack(wanted, directory / "packages")
    paths = [str(directory / "packages"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "MPLBACKEND": "agg",
    }


def run_wave(
    wave: Wave, seconds: float, options: Sequence[str], directory: Path, environment: dict[str, str]
) -> Iterator[tuple[Part, dict[str, Any]]]:
    """Run parts side by side; each with its result as it ends."""
    running = [Running(part, seconds, options, directory, environment) for part in wave]
    try:
        while running:
            for one in [one for one in running if one.is_over()]:
                running.remove(one)
                yield one.part, one.result()
            time.sleep(POLL)
    finally:
        for one in running:
            one.kill()


class Report:
    """The results, written after each part.

    Args:
        outputs: Directories that get them.
        **about: What the command line asked for.
    """

    def __init__(self, outputs: Sequence[Path], **about: Any) -> None:
        self.outputs = outputs
        self.start = time.monotonic()
        self.content: dict[str, Any] = {**about, "machine": {}, "parts": {}}
        for output in outputs:
            output.mkdir(parents=True, exist_ok=True)

    def add(self, part: Part, result: dict[str, Any]) -> None:
        """Keep what became of a part, and say it."""
        self.content["parts"][part.name] = result
        self.content["took"] = round(time.monotonic() - self.start, 1)
        self.write("gpu.json", f"{json.dumps(self.content, indent=1)}\n".encode())
        what = result.get("message") or f"{len(result['found'])} findings"
        say(f"{part.name:11} {result['state']:8} {result['seconds']:5.0f} s  {what}")

    def write(self, name: str, content: bytes) -> None:
        """Write a file to every output."""
        for output in self.outputs:
            write_atomically(output / name, content)


def bench(arguments: argparse.Namespace) -> int:
    """Run the parts; the exit code is 1 where one of them failed or was stopped."""
    chosen = chosen_parts(arguments)
    report = Report(arguments.output, seconds=arguments.seconds, small=arguments.small)
    end = time.monotonic() + arguments.seconds
    options = [f"--device={arguments.device}", *(["--small"] if arguments.small else [])]
    with tempfile.TemporaryDirectory(prefix="bench_gpu_", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        environment = environment_of(directory)
        try:
            report.content["machine"] = probe(options, directory, environment)
            for wave in waves(chosen):
                seconds = limit(wave, chosen, arguments.seconds, end - time.monotonic(), stretched=arguments.small)
                if not seconds:
                    for part in wave:
                        report.add(part, left_out(f"There were less than {LEAST:.0f} s left."))
                    continue
                for part, result in run_wave(wave, seconds, options, directory, environment):
                    report.add(part, result)
        finally:
            report.write("gpu.log", joined_logs(directory, (PROBE, *chosen)))
    for output in arguments.output:
        say(f"Results: {output / 'gpu.json'}")
    states = {result["state"] for result in report.content["parts"].values()}
    return 1 if states & {"failed", "stopped"} else 0


def chosen_parts(arguments: argparse.Namespace) -> list[Part]:
    """The parts that are to run, in their order.

    Raises:
        ConfigError: If there is no such part, or no time.
    """
    names = arguments.only.split(",") if arguments.only else [*BY_NAME]
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        raise ConfigError(f"--only {unknown[0]}: there is no such part. There are {', '.join(BY_NAME)}.")
    if not arguments.seconds >= 2 * LEAST:
        raise ConfigError(f"--seconds {arguments.seconds:g}: too few for anything. Give {2 * LEAST:.0f} or more.")
    return [part for part in PARTS if part.name in names and not (part.needs_gpu and arguments.device == "cpu")]


def probe(options: Sequence[str], directory: Path, environment: dict[str, str]) -> dict[str, Any]:
    """What the machine is.

    Raises:
        ConfigError: If the code cannot be imported there, or there is no such device.
    """
    ((_, result),) = run_wave([PROBE], PROBE.seconds, options, directory, environment)
    if result["state"] != "done":
        raise ConfigError(result.get("message") or f"Nothing could be imported within {PROBE.seconds:.0f} s.")
    return result["found"]["machine"]


def left_out(why: str) -> dict[str, Any]:
    """The result of a part that does not run."""
    return {"state": "left out", "seconds": 0.0, "found": {}, "message": why}


def joined_logs(directory: Path, parts: Sequence[Part]) -> bytes:
    """What the parts printed, one after the other, the end of each."""
    texts = []
    for part in parts:
        log = directory / f"{part.name}.log"
        if log.exists():
            texts += [f"===== {part.name}\n", log.read_bytes()[-MOST_LOG:].decode(errors="replace")]
    return printable("".join(texts)).encode()


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = OptionParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=TOTAL, help="for all parts together (480)")
    parser.add_argument("--only", default="", metavar="PART,PART", help="these parts alone")
    parser.add_argument("--list", action="store_true", help="list the parts")
    parser.add_argument("--output", type=Path, default=ROOT / "logs" / "bench_gpu", help="for the results")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="a rehearsal: tiny sets and short trainings")
    arguments = parser.parse_args()
    arguments.output = [arguments.output.absolute(), *map(Path, filter(None, [os.environ.get("OUT")]))]
    return arguments


def main() -> int:
    """Measure, or list what would be."""
    prepare_streams()
    arguments = parsed()
    if arguments.list:
        say(*(f"{part.name:11} {part.seconds:4.0f} s  {part.what}" for part in PARTS))
        return 0

    def work() -> int:
        with listening(Interrupt()):
            return bench(arguments)

    return reporting(work)


if __name__ == "__main__":
    sys.exit(main())
