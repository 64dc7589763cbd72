"""What this project needs is said where it lacks, and the versions that are named in several places agree."""

import os
import re
import subprocess
import sys
import tomllib
from itertools import chain, product
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from src import __version__

ROOT = Path(__file__).parents[1]
PROGRAMS = [*ROOT.glob("*.py"), *(ROOT / "src").glob("*.py"), *(ROOT / "scripts").glob("*.py")]
FILES = [path for path in PROGRAMS if "rootutils" in path.read_text(encoding="utf-8")]
WITHOUT_PACKAGES = {"bench_gpu.py", "clean.py", "show_curves.py"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
PYTHONS = ["3.11", "3.12", "3.13"]


def requirements(lines):
    """Every requirement in lines of text, which may have comments."""
    return [Requirement(line) for line in (line.partition("#")[0].strip() for line in lines) if line]


PINNED = requirements((ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())
BOUNDS = requirements(chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()))


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


# ----- without the packages


def test_all_programs_are_tried():
    assert {"train.py", "generate_vimh.py", "display_vimh.py", "to_vimh.py"} <= {path.name for path in FILES}
    others = {path.name for path in PROGRAMS if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")}
    assert others - {path.name for path in FILES} == WITHOUT_PACKAGES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_without_the_packages_a_program_says_how_to_get_them(path):
    done = run(sys.executable, "-S", "-E", path.name, "--help", cwd=path.parent)  # -S: without site-packages
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "run sh setup.sh, then . .venv/bin/activate" in line


# ----- with packages that do not suit each other


def broken_torchaudio(directory, error, extension="_torchaudio.abi3.so"):
    """A torchaudio that cannot be imported, and a torch that is imported at once."""
    library = directory / "torchaudio" / "lib"
    library.mkdir(parents=True)
    (library / extension).touch()
    (directory / "torchaudio" / "__init__.py").write_text(f"raise {error}\n")
    (directory / "torch.py").write_text("__version__, Tensor = '2.15.0', object\n")
    return {**os.environ, "PYTHONPATH": f"{directory}{os.pathsep}{ROOT}"}


@pytest.mark.parametrize(
    "error",
    [
        'OSError("libcudart.so.13: cannot open shared object file")',
        'RuntimeError("Detected that PyTorch and TorchAudio were compiled with different CUDA versions.\\nPlease …")',
        'ImportError("Failed to load libtorchaudio")',
    ],
    ids=lambda error: error.partition("(")[0],
)
def test_a_torchaudio_that_cannot_be_imported_is_one_sentence(tmp_path, error):
    done = run(sys.executable, "-c", "import src.spectral.functional", env=broken_torchaudio(tmp_path, error))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    said = re.fullmatch(r"torchaudio cannot be imported beside torch 2.15.0 \((.+)\)\. Delete (.+): nothing .*\.", line)
    assert said[1] in error
    assert said[2] == str(tmp_path / "torchaudio" / "lib" / "_torchaudio.abi3.so")


def test_without_an_extension_to_delete_the_environment_is_made_anew(tmp_path):
    environment = broken_torchaudio(tmp_path, 'ImportError("damaged")', extension="other.so")
    done = run(sys.executable, "-c", "import src.spectral.functional", env=environment)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.endswith("(damaged). Delete .venv and run sh setup.sh.\n")


@pytest.mark.slow
def test_a_program_says_it_as_well_and_leaves_no_run(tmp_path):
    environment = broken_torchaudio(tmp_path, 'OSError("no such library")')
    (tmp_path / "torch.py").unlink()
    command = [sys.executable, ROOT / "src" / "train.py", f"paths.log_dir={tmp_path / 'logs'}"]
    done = run(*command, "extras.print_config=false", env=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("torchaudio cannot be imported beside torch ")
    assert len(done.stderr.splitlines()) == 1
    assert [path for path in (tmp_path / "logs").rglob("*") if path.is_file()] == []


# ----- on Windows


@pytest.mark.parametrize("module", ["src", "src.programs.entry", "src.files"])
def test_windows_is_told_before_anything_else_is_imported(module):
    done = run(sys.executable, "-c", f"import sys; sys.platform = 'win32'; import {module}", cwd=ROOT)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line == "Windows is not supported. Use Linux in WSL 2, by the same commands: wsl --install"


def test_what_windows_lacks_is_imported_behind_that_only():
    files = [*ROOT.glob("*.py"), *(ROOT / "scripts").rglob("*.py")]
    assert [path for path in files if re.search(r"^import (fcntl|termios)", path.read_text("utf-8"), re.M)] == []


# ----- setup.sh


DRIVER_TOOL = "nvidia-smi"
FAKE_PYTHON = """#!/bin/sh
# An interpreter and its environments: what setup.sh asks of one, without any package.
home=@HOME@
case "$*" in
    *"< (3, 14)"*) [ @OLD@ = no ] ;;
    *sys.base_prefix*) echo "@VERSION@ $home" ;;
    "-m venv --clear .venv") rm -rf .venv && "$home/python" -m venv .venv ;;
    "-m venv .venv")
        mkdir -p .venv/bin .venv/lib/python3/site-packages/torchaudio/lib
        cp "$home/python" .venv/bin/python ;;
    "-m pip --version") [ "$0" = .venv/bin/python ] ;;
    "-m pip install "*)
        echo "$*" >>pip.log
        case "$*" in *numba-cuda*) if [ -f absent ]; then exit 1; fi ;; esac
        if [ -f extension ]; then touch .venv/lib/python3/site-packages/torchaudio/lib/_torchaudio.abi3.so; fi ;;
    *"import torch, torchaudio"*)
        if [ -f unusable ]; then echo "OSError: no libcudart" >&2 && exit 1; fi ;;
    *"import torchaudio"*) ! [ -f .venv/lib/python3/site-packages/torchaudio/lib/_torchaudio.abi3.so ] ;;
    *torch.version.cuda*) if [ -f cuda ]; then cat cuda; fi ;;
    *"import torch"*) ;;
    *) echo "unexpected: $*" >&2 && exit 9 ;;
esac
"""


@pytest.fixture
def clone(tmp_path):
    """A clone with setup.sh alone, on a machine with a Python 3.11 and, as far as it sees, without an NVIDIA driver."""
    text = (ROOT / "setup.sh").read_text(encoding="utf-8")
    for sign in (DRIVER_TOOL, "/proc/driver/nvidia"):
        assert sign in text
        text = text.replace(sign, f"{tmp_path}/bin/{Path(sign).name}")
    (tmp_path / "setup.sh").write_text(text)
    (tmp_path / "requirements.txt").write_text("torch==1.0\ntorchaudio==1.0\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3.11").symlink_to(python(tmp_path, "3.11.7"))
    return tmp_path


def python(clone, version, old="no"):
    """The path of a fake interpreter of a version."""
    home = clone / f"home {version}"
    home.mkdir(exist_ok=True)
    text = FAKE_PYTHON.replace("@HOME@", f"'{home}'").replace("@VERSION@", version).replace("@OLD@", old)
    (home / "python").write_text(text)
    (home / "python").chmod(0o755)
    return str(home / "python")


def setup(clone, **environment):
    """Run setup.sh; gives what it did and what pip was told."""
    (clone / "pip.log").unlink(missing_ok=True)
    path = f"{clone / 'bin'}:/usr/bin:/bin"
    done = run("sh", "setup.sh", cwd=clone, env={"PATH": path, "NO_UV": "1", **environment})
    log = clone / "pip.log"
    return done, log.read_text().splitlines() if log.exists() else []


def test_an_environment_is_made_once(clone):
    done, told = setup(clone, PYTHON=python(clone, "3.12.1"))
    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in told] == ["torch==1.0", "requirements.txt", "."]
    for environment in ({}, {"PYTHON": python(clone, "3.12.1")}):  # what is not named stays as it is
        done, told = setup(clone, **environment)
        assert (done.returncode, told) == (0, []), done.stderr
        assert "up to date" in done.stdout
    (clone / "requirements.txt").write_text("torch==1.1\n")
    assert setup(clone)[1][0].endswith("torch==1.1")


def test_what_is_asked_for_beside_is_installed_without_dependencies_and_kept(clone):
    setup(clone)
    done, told = setup(clone, SOUNDFONT="1")
    assert done.returncode == 0, done.stderr
    assert told[-1].endswith("--no-deps tinysoundfont==0.3.7")
    for environment in ({}, {"SOUNDFONT": "1"}):
        assert "up to date" in setup(clone, **environment)[0].stdout
    told = setup(clone, PEERS="1")[1]
    assert ["--no-deps" in line for line in told[-2:]] == [True, True]
    assert "tinysoundfont" in told[-2] and "swift-f0" in told[-1] and "basic-pitch" in told[-1]
    told = setup(clone, PYTHON=python(clone, "3.12.1"))[1]  # anew, with all of them
    assert "tinysoundfont" in told[-2] and "swift-f0" in told[-1]


def test_another_interpreter_makes_the_environment_anew(clone):
    setup(clone)
    (clone / ".venv" / "old").touch()
    done, told = setup(clone, PYTHON=python(clone, "3.12.1"))
    assert done.returncode == 0, done.stderr
    assert "Making .venv anew, with Python 3.12.1" in done.stdout
    assert len(told) == 3
    assert not (clone / ".venv" / "old").exists()


def test_another_index_makes_the_environment_anew_and_is_kept(clone):
    setup(clone)
    (clone / ".venv" / "old").touch()
    done, told = setup(clone, TORCH_INDEX_URL="https://cpu")
    assert done.returncode == 0, done.stderr
    assert "torch from https://cpu" in done.stdout
    assert not (clone / ".venv" / "old").exists()
    assert [("--index-url https://cpu" in line, line.split()[-1]) for line in told] == [
        (True, "torch==1.0"),
        (True, "torchaudio==1.0"),
        (False, "requirements.txt"),
        (False, "."),
    ]
    assert "up to date" in setup(clone)[0].stdout
    assert "up to date" in setup(clone, TORCH_INDEX_URL="https://cpu")[0].stdout


def test_an_interpreter_that_was_not_tried_is_refused(clone):
    done, told = setup(clone, PYTHON=python(clone, "3.14.0", old="yes"))
    assert (done.returncode, told) == (1, [])
    assert done.stderr.startswith("setup.sh: no Python 3.11, 3.12 or 3.13 found under the name ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("extension", [True, False])
def test_an_extension_that_cannot_be_loaded_is_removed(clone, extension):
    if extension:
        (clone / "extension").touch()
    done, _ = setup(clone, PYTHON=python(clone, "3.13.0"))
    assert done.returncode == 0, done.stderr
    assert ("Removing .venv/lib/python3/site-packages/torchaudio/lib/_torchaudio.abi3.so" in done.stdout) == extension
    assert list((clone / ".venv").rglob("_torchaudio*")) == []


def add_driver(clone):
    """An NVIDIA driver comes to the machine of a clone."""
    (clone / "bin" / DRIVER_TOOL).write_text("#!/bin/sh\n")
    (clone / "bin" / DRIVER_TOOL).chmod(0o755)
    return clone


@pytest.fixture
def with_driver(clone):
    """A clone on a machine with an NVIDIA driver."""
    return add_driver(clone)


@pytest.mark.parametrize("cuda", ["12", "13"])
def test_with_a_driver_the_numba_cuda_of_this_torch_is_installed(with_driver, cuda):
    (with_driver / "cuda").write_text(cuda)
    done, told = setup(with_driver)
    assert done.returncode == 0, done.stderr
    (pinned,) = requirements([told[-1].split()[-1]])
    assert (pinned.name, pinned.extras) == ("numba-cuda", {f"cu{cuda}"})
    (bound,) = [bound for bound in BOUNDS if bound.name == "numba-cuda" and bound.extras == pinned.extras]
    (version,) = pinned.specifier
    assert version.version in bound.specifier
    assert "Installing numba-cuda, since an NVIDIA driver is here" in done.stdout
    assert "up to date" in setup(with_driver)[0].stdout


def test_with_a_driver_and_a_torch_for_the_cpu_it_is_not(with_driver):
    done, told = setup(with_driver)
    assert done.returncode == 0, done.stderr
    assert not any("numba-cuda" in line for line in told)
    assert "this torch is a build for the CPU" in done.stdout


def test_an_environment_is_made_without_numba_cuda_where_no_index_has_it(with_driver):
    (with_driver / "cuda").write_text("13")
    (with_driver / "absent").touch()
    done, _ = setup(with_driver)
    assert done.returncode == 0, done.stderr
    assert "numba-cuda could not be installed: sounds will be rendered on the CPU" in done.stdout


def test_a_driver_that_comes_later_is_noticed(clone):
    setup(clone)
    (add_driver(clone) / "cuda").write_text("13")
    assert setup(clone)[1][-1].endswith("numba-cuda[cu13]==0.30.4")


def test_packages_that_cannot_be_imported_are_one_sentence_and_no_environment(clone):
    (clone / "unusable").touch()
    done, _ = setup(clone, PYTHON=python(clone, "3.13.0"))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "cannot be imported together (OSError: no libcudart). Delete .venv and run this again" in line
    assert not (clone / ".venv" / ".installed").exists()


def test_setup_says_that_windows_is_not_supported(clone):
    (clone / "bin" / "uname").write_text("#!/bin/sh\necho MINGW64_NT-10.0\n")
    (clone / "bin" / "uname").chmod(0o755)
    done, told = setup(clone)
    assert (done.returncode, told) == (1, [])
    assert "WSL 2" in done.stderr


# ----- versions


def test_what_is_pinned_lies_within_the_bounds_of_the_project():
    bounds = {bound.name.lower(): bound.specifier for bound in BOUNDS}
    for pin in PINNED:
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert pin.name.lower() in bounds, f"{pin.name} is not in pyproject.toml"
        assert specifier.version in bounds[pin.name.lower()], pin


def test_the_bounds_end_at_what_was_tried():
    """Every package that the project needs has an upper bound, and its next release is beyond it."""
    pinned = {pin.name.lower(): next(iter(pin.specifier)).version for pin in PINNED}
    for bound in requirements(PROJECT["dependencies"]):
        first, second, *_ = map(int, pinned[bound.name.lower()].split("."))
        assert f"{first + 1}.0" not in bound.specifier, bound
        assert f"{first}.{second + 20}" not in bound.specifier or bound.name in ("pillow", "rich"), bound


def test_the_releases_to_come_are_beyond_the_bounds():
    """Once they are within, they belong into requirements.txt."""
    bounds = {bound.name.lower(): bound.specifier for bound in BOUNDS}
    following = requirements((ROOT / "requirements-next.txt").read_text(encoding="utf-8").splitlines())
    for pin in following:
        assert next(iter(pin.specifier)).version not in bounds[pin.name.lower()], pin


def test_the_workflow_checks_every_python_that_is_allowed():
    matrix = WORKFLOW["jobs"]["check"]["strategy"]["matrix"]
    assert list(product(matrix["os"], matrix["python"])) == list(product(["ubuntu-latest", "macos-latest"], PYTHONS))
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(5, 30) if f"3.{minor}" in allowed] == PYTHONS
    assert "(3, 11) <= sys.version_info < (3, 14)" in (ROOT / "setup.sh").read_text(encoding="utf-8")


def test_the_version_is_in_one_place():
    assert "version" not in PROJECT and "version" in PROJECT["dynamic"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
