"""Makes a fork of this template a project of its own: cuts out what it does not need, and renames the rest.

python scripts/start.py NAME [--keep "moog vit"] [--yes]

Without NAME it lists the parts that go, and that --keep can hold. It asks before it changes anything, and works on a
clean checkout only, so that git undoes all of it: git restore .
"""

import argparse
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

if find_spec("rootutils") is None:
    raise SystemExit("This Python lacks the packages: run sh setup.sh, then . .venv/bin/activate")

import rootutils

ROOT = rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from scripts.forks.fork import Fork, title_of  # noqa: E402
from scripts.forks.parts import BY_NAME, PARTS, parts_to_remove, with_needs  # noqa: E402
from src.errors import ConfigError, NSMError  # noqa: E402
from src.files import write_atomically  # noqa: E402
from src.text import complain, name_of, prepare_streams, say  # noqa: E402

DISTRIBUTION_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")  # as PEP 508 has it
FIRST_FILES = (
    ("configs/experiment/example.yaml", "the experiment that `make ex` runs"),
    ("src/synth/voices.py", "the synth: the place for your own sounds"),
    ("src/models/components/cnn.py", "the network"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the fork that the command line describes; the exit code."""
    prepare_streams()
    options = parse(arguments)
    try:
        return start(options.name, options.keep, options.yes)
    except NSMError as error:
        complain(f"Error: {error}")
        return 1
    except KeyboardInterrupt:
        complain("Interrupted: nothing was changed.")
        return 130


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="?", default="", help="of the project: letters, digits and dashes")
    parser.add_argument("--keep", default="", help="parts to keep, with blanks or commas between them")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser.parse_args(arguments)


def start(name: str, keep: str, is_sure: bool) -> int:
    """Plan the fork, ask, and write it; nothing is written before all of it is made."""
    if not name:
        list_parts()
        raise ConfigError("The project has no name yet. Name it: make start NAME=my-project")
    check_name(name)
    kept = chosen_parts(keep)
    check_checkout()
    show_plan(name, kept)
    if not is_sure and not agreed():
        return 1
    say("Cutting …")
    fork = Fork.of(ROOT, parts_to_remove(kept))
    n_before, lines_before = len(fork.texts) + len(fork.binaries) + len(fork.gone), count_lines(ROOT)
    fork.cut()
    fork.rename(name)
    fork.write_readme(name, (ROOT / "scripts/forks/README.template.md").read_text(encoding="utf-8"))
    fork.format()
    write(fork)
    n_after = len(fork.texts) + len(fork.binaries)
    n_lines = count_lines(ROOT)
    say(f"{name}: {n_after:,} files of {n_before:,} are left, {n_lines:,} lines of Python of {lines_before:,}.")
    say("Kept beside what everything needs: " + (", ".join(sorted(kept)) or "nothing") + ".", "", "Look first at")
    for path, what in FIRST_FILES:
        say(f"  {path:<34}{what}")
    say("", "Then: make ex, make t, and git add -A && git commit. To undo: git restore .")
    return 0


# ----- what is asked for


def check_name(name: str) -> None:
    """Refuse what no distribution can be called."""
    if not DISTRIBUTION_NAME.fullmatch(name) or not re.match(r"[A-Za-z]", name):
        raise ConfigError(
            f"NAME is {name_of(name)!r}, which no distribution can be called: use letters, digits, and dashes between "
            "them, a letter first, as in my-project."
        )


def chosen_parts(keep: str) -> set[str]:
    """Names of the parts to keep, and of those that they need."""
    names = keep.replace(",", " ").split()
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        raise ConfigError(f"KEEP names {name_of(unknown[0])!r}, which is none of the parts: {', '.join(BY_NAME)}.")
    return with_needs(names)


def check_checkout() -> None:
    """Refuse a directory in which git could not undo everything."""
    command = ["git", "status", "--porcelain", "--untracked-files=normal"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ConfigError("git is not installed, which is to undo all this if you want: install it.") from error
    top = subprocess.run(
        ["git", "rev-parse", "--show-toplevel"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    if done.returncode or not top or Path(top).resolve() != ROOT.resolve():
        raise ConfigError(f"{ROOT} is no git checkout, so that nothing could be undone: clone the project with git.")
    changed = [line[3:] for line in done.stdout.splitlines()]
    if changed:
        others = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise ConfigError(
            f"{changed[0]}{others} is not as git has it: commit or stash your changes, so that git can undo all this."
        )


def list_parts() -> None:
    """Print the parts that go, and that KEEP can hold."""
    say('Parts that go, unless KEEP names them (make start NAME=my-project KEEP="moog vit"):')
    for part in PARTS:
        say(f"  {part.name:<12}{part.what}")


def show_plan(name: str, kept: set[str]) -> None:
    """Print what stays, what goes and what is renamed."""
    say(f"Keep    the saw synth, STFT and mel spectrograms, CNNs, every loss, the experiment example{_listed(kept)}")
    for part in PARTS:
        if part.name not in kept:
            say(f"Remove  {part.name:<12}{part.what}")
    say(f"Rename  the project to {name}, its title to {title_of(name)!r}; README.md is written anew", "")


def _listed(kept: set[str]) -> str:
    return "".join(f"\nKeep    {part.name:<12}{part.what}" for part in PARTS if part.name in kept)


def agreed() -> bool:
    """Ask; without a terminal there is nobody to ask."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError("Nothing was changed: no terminal to ask at. Add --yes (make: ARGS=--yes).")
    sys.stdout.flush()
    with suppress(EOFError):  # Ctrl-D
        if input("Go ahead? [y/N] ").strip().lower() in ("y", "yes"):
            return True
    say("Nothing was changed.")
    return False


# ----- writing


def write(fork: Fork) -> None:
    """Write what has changed, then delete what goes; Ctrl-C waits for the end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for path, text in sorted(fork.texts.items()):
        place = ROOT / path
        if place.read_bytes() != text.encode():
            mode = place.stat().st_mode
            write_atomically(place, text.encode())
            os.chmod(place, mode)
    for path in sorted(fork.gone):
        place = ROOT / path
        place.unlink()
        while not any(place.parent.iterdir()):
            place = place.parent
            place.rmdir()


def count_lines(root: Path) -> int:
    """Lines of Python that git knows of and that are there."""
    listed = subprocess.run(["git", "ls-files", "-z", "*.py"], cwd=root, capture_output=True, text=True, check=True)
    files = [root / path for path in listed.stdout.split("\0") if path]
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files if file.is_file())


if __name__ == "__main__":
    sys.exit(main())
