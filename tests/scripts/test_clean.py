import fcntl
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import scripts.clean as clean_module
from scripts.clean import FILLING, FREED, KINDS, TRASH, main
from scripts.faults.file_operations import at, interrupt, operations

ROOT = Path(__file__).parents[2]

FILES = ("train", "test", "train_values.npy", "test_values.npy")


def make_dataset(path, generator=None, info=True, **entries):
    path.mkdir(parents=True)
    for name in FILES:
        (path / name).write_bytes(b"123")
    if info:
        (path / "vimh_dataset_info.json").write_text(json.dumps({"format": "VIMH", "generator": generator, **entries}))
    return path


def make_run(path, step=None):
    """A run, which is complete and has an error if `step` says how large."""
    (path / ".hydra").mkdir(parents=True)
    (path / "checkpoints").mkdir()
    (path / "checkpoints" / "epoch=1.ckpt").write_bytes(b"weights")
    if step is not None:
        heads = {"cutoff": {"steps": step, "acc": 0.5}}
        results = {"dataset": "set", "checkpoint": "checkpoints/epoch=1.ckpt", "heads": heads}
        (path / "results.json").write_text(json.dumps(results))
    return path


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    for name in ("data/.gitkeep", "logs/.gitkeep", "src/models/net.py", "src/__pycache__/x.nbi"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.fixture
def elsewhere(tmp_path):
    """A directory outside, to which links will point."""
    path = make_dataset(tmp_path / "elsewhere" / "set", {"version": "0.1.0"}).parent
    run = path / "2026-01-01_00-00-00"
    (run / ".hydra").mkdir(parents=True)
    (path / "__pycache__").mkdir()
    return path


def contents(root):
    """What there is, outside of the trash."""
    paths = (path.relative_to(root) for path in root.rglob("*"))
    return {path.as_posix() for path in paths if not {TRASH, FILLING, FREED} & set(path.parts)}


def files(root):
    """Files with their bytes, outside of the trash."""
    return {name: (root / name).read_bytes() for name in contents(root) if (root / name).is_file()}


def trash(place):
    """Files in the trash of data/ or logs/."""
    return {path.relative_to(place / TRASH).as_posix() for path in (place / TRASH).rglob("*") if path.is_file()}


def clean(project, *arguments):
    return main([*arguments, "--yes"], project)


def undo(project, *options):
    return main(["data", "logs", "--undo", *options], project)


def test_generated_datasets_go_and_others_stay(project):
    make_dataset(project / "data" / "mine", {"version": "0.1.0"})
    make_dataset(project / "data" / ".mine.partial", info=False)
    make_dataset(project / "data" / "foreign")
    make_dataset(project / "data" / "unfinished", info=False)
    (project / "data" / "recording.wav").touch()
    before = contents(project)
    assert clean(project, "data") == 0
    gone = before - contents(project)
    assert {path.split("/")[1] for path in gone} == {"mine", ".mine.partial"}
    assert not (project / "data" / "mine").exists()
    assert (project / "data" / ".gitkeep").exists()


@pytest.mark.parametrize("text", ["", "not JSON", "[]", '{"generator": null}', '{"generator": "me"}', "[" * 100_000])
def test_a_set_whose_origin_cannot_be_read_stays(project, text):
    dataset = make_dataset(project / "data" / "odd")
    (dataset / "vimh_dataset_info.json").write_text(text)
    before = contents(project)
    clean(project, "data")
    assert contents(project) == before


def test_notes_inside_a_dataset_stay(project, capsys):
    dataset = make_dataset(project / "data" / "mine", {"version": "0.1.0"})
    (dataset / "notes.txt").touch()
    clean(project, "data", "--verbose")
    assert contents(dataset) == {"notes.txt"}
    assert "data/mine/notes.txt: not made by this project" in capsys.readouterr().out


def test_a_dataset_that_is_being_written_stays(project):
    partial = make_dataset(project / "data" / ".mine.partial", info=False)
    lock = os.open(partial, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    clean(project, "data")
    assert contents(partial) == set(FILES)
    os.close(lock)
    clean(project, "data")
    assert not partial.exists()


def test_runs_go_and_other_things_in_logs_stay(project):
    logs = project / "logs"
    (logs / "train/cnn/2026-01-01_00-00-00/.hydra").mkdir(parents=True)
    (logs / "train/cnn/2026-01-01_00-00-00/checkpoints").mkdir()
    (logs / "train/cnn/2026-01-01_00-00-00/checkpoints/last.ckpt").touch()
    (logs / "train/cnn/2026-01-01_00-00-00_2").mkdir()
    (logs / "train/multiruns/cnn/sweep/0/.hydra").mkdir(parents=True)
    (logs / "train/multiruns/cnn/sweep/multirun.yaml").touch()
    (logs / "debug/mine/named_by_hand/.hydra").mkdir(parents=True)
    (logs / "eval/notes").mkdir(parents=True)
    (logs / "eval/notes/idea.txt").touch()
    clean(project, "logs")
    assert contents(logs) == {".gitkeep", "eval", "eval/notes", "eval/notes/idea.txt"}


def test_caches_go_wherever_the_code_is(project):
    tools = (".pytest_cache/v", ".ruff_cache", ".mypy_cache/3.11", ".hypothesis")
    for name in ("src/models/__pycache__", *tools, "__pycache__"):
        (project / name).mkdir(parents=True)
    (project / "venv/lib/__pycache__").mkdir(parents=True)
    clean(project, "caches")
    assert contents(project) == {
        *("data", "data/.gitkeep", "logs", "logs/.gitkeep", "src", "src/models", "src/models/net.py"),
        *("venv", "venv/lib", "venv/lib/__pycache__"),
    }


def test_each_kind_leaves_the_others_alone(project):
    make_dataset(project / "data" / "mine", {"version": "0.1.0"})
    (project / "logs/train/cnn/run/.hydra").mkdir(parents=True)
    for kind, directory in (("data", "data"), ("logs", "logs"), ("caches", "src/__pycache__")):
        before = contents(project)
        clean(project, kind)
        gone = before - contents(project)
        assert gone
        assert all(path.startswith(directory) for path in gone)


@pytest.mark.parametrize("place", ["data/link", "logs/link", "logs/train/link", "src/link", "src/models/link"])
def test_no_link_is_followed(project, elsewhere, place):
    link = project / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere / "set" if place == "data/link" else elsewhere)
    before = contents(elsewhere)
    clean(project, *KINDS)
    assert contents(elsewhere) == before
    assert link.is_symlink()


@pytest.mark.parametrize("directory", ["data", "logs", "src"])
def test_a_link_in_the_place_of_a_directory_is_not_followed(project, elsewhere, directory):
    (project / directory).rename(project / "moved")
    (project / directory).symlink_to(elsewhere)
    before = contents(elsewhere)
    clean(project, *KINDS)
    assert contents(elsewhere) == before


def test_links_inside_what_goes_lose_nothing_behind_them(project, elsewhere):
    dataset = make_dataset(project / "data" / "mine", {"version": "0.1.0"})
    (dataset / "train").unlink()
    (dataset / "train").symlink_to(elsewhere / "set" / "train")
    run = project / "logs/train/cnn/run"
    (run / ".hydra").mkdir(parents=True)
    (run / "link").symlink_to(elsewhere)
    (project / "src/__pycache__/link").symlink_to(elsewhere)
    before = contents(elsewhere)
    clean(project, *KINDS)
    assert contents(elsewhere) == before
    assert contents(dataset) == {"train"}
    assert not run.exists()


def test_a_linked_description_does_not_make_a_dataset_ours(project, elsewhere):
    dataset = make_dataset(project / "data" / "foreign", info=False)
    (dataset / "vimh_dataset_info.json").symlink_to(elsewhere / "set" / "vimh_dataset_info.json")
    before = contents(project)
    clean(project, "data")
    assert contents(project) == before


def test_everything_is_listed_before_it_goes(project, capsys):
    make_dataset(project / "data" / "mine", {"version": "0.1.0"})
    make_run(project / "logs/train/cnn/run")
    before = contents(project)
    clean(project, *KINDS, "--dry-run", "--verbose")
    assert contents(project) == before
    listed = capsys.readouterr().out
    clean(project, *KINDS, "--verbose")
    assert capsys.readouterr().out.startswith(listed)
    gone = before - contents(project)
    roots = [line.split()[-1].rstrip("/") for line in listed.splitlines() if line.endswith("/")]
    assert set(roots) == {"data/mine", "logs/train/cnn/run", "src/__pycache__"}
    of_runs = {"logs/train", "logs/train/cnn"}  # nothing else is in them
    assert all(any(path == root or path.startswith(f"{root}/") for root in roots) for path in gone - of_runs)


def test_a_clean_project_says_so(project, capsys):
    clean(project, *KINDS)
    capsys.readouterr()
    assert clean(project, *KINDS) == 0
    assert "Nothing to delete." in capsys.readouterr().out


def test_missing_directories_are_nothing_to_delete(tmp_path):
    assert clean(tmp_path, *KINDS) == 0


# ----- which sets are the project's own


def test_sets_go_wherever_they_are_and_what_belongs_to_somebody_else_is_one_thing(project, capsys):
    for name in ("study/full/a", "study/full/b", "study/c"):
        make_dataset(project / "data" / name, {"version": "0.1.0"})
    make_dataset(project / "data" / "mixed" / "mine", {"version": "0.1.0"})
    make_dataset(project / "data" / "mixed" / "foreign")
    (project / "data" / "recordings" / "deep").mkdir(parents=True)
    (project / "data" / "empty").mkdir()
    for n in range(9):
        (project / "data" / "recordings" / "deep" / f"{n}.wav").touch()
    before = contents(project / "data")
    clean(project, "data", "--verbose")
    kept = {path for path in before if path.partition("/")[0] in (".gitkeep", "mixed", "recordings", "empty")}
    assert contents(project / "data") == {path for path in kept if not path.startswith("mixed/mine")}
    shown = capsys.readouterr().out
    assert shown.count("not made by this project") == 3  # empty, mixed/foreign, recordings
    assert "recordings/deep" not in shown


@pytest.mark.parametrize("source", ["digits", {}, {"kind": None}, {"kind": ["digits"]}, {"kind": "a tape"}, None])
def test_a_set_of_another_source_stays(project, source):
    make_dataset(project / "data" / "odd", source=source)
    before = contents(project)
    clean(project, "data")
    assert contents(project) == before


def test_the_digits_go_and_what_was_converted_from_a_users_files_only_when_told(project, capsys):
    make_dataset(project / "data" / "digits", source={"kind": "digits", "seed": 42})
    for kind in ("images", "idx", "cifar10", "audio"):
        make_dataset(project / "data" / kind, source={"kind": kind, "seed": 42})
    clean(project, "data")
    assert contents(project / "data") & {"digits", "images", "audio"} == {"images", "audio"}
    assert "4 made from other data (--converted-too)" in " ".join(capsys.readouterr().out.split())
    clean(project, "data", "--converted-too")
    assert contents(project / "data") == {".gitkeep"}


# ----- the question and the table


def answer(monkeypatch, typed):
    """A terminal at which this is typed; None: Ctrl-C."""

    def asked(question):
        if typed is None:
            raise KeyboardInterrupt
        return typed

    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", asked)


@pytest.mark.parametrize(("typed", "goes"), [("y", True), (" Yes ", True), ("", False), ("no", False), (None, False)])
def test_a_terminal_is_asked(project, monkeypatch, capsys, typed, goes):
    make_dataset(project / "data" / "mine", {"version": "0.1.0"})
    answer(monkeypatch, typed)
    assert main([*KINDS], project) == 0
    assert (project / "data" / "mine").exists() is not goes
    assert (project / "src" / "__pycache__").exists() is not goes
    assert ("Nothing was deleted." in capsys.readouterr().out) is not goes


def test_without_a_terminal_nothing_goes_unasked(project, monkeypatch, capsys):
    make_dataset(project / "data" / "mine", {"version": "0.1.0"})
    before = contents(project)
    for stream in (None, io.StringIO("y\n")):
        monkeypatch.setattr("sys.stdin", stream)
        assert main([*KINDS], project) == 1
        said = capsys.readouterr()
        assert "data: synthesized sets" in said.out
        assert said.err == "Nothing was deleted: no terminal to ask at. Add --yes (make: ARGS=--yes).\n"
        assert contents(project) == before


def test_the_table_fits_a_screen_however_much_there_is(project, capsys):
    for n in range(60):
        make_dataset(project / "data" / f"{'long' * 20}{n}" / "set", {"version": "0.1.0"})
        make_run(project / "logs" / "train" / f"experiment{n}" / "run")
        (project / "logs" / f"notes{n}").touch()
        (project / "data" / f"sound{n}").touch()
    clean(project, *KINDS)
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) < 40
    assert max(map(len, shown)) <= 80
    assert any(line.startswith("97 smaller groups") for line in shown)
    assert "60 not made by this project, 60 that belong to no run" in " ".join(shown)


def test_numbers_and_sizes_are_those_of_the_groups(project, capsys):
    for name in ("a", "b", "study/c"):
        make_dataset(project / "data" / name, {"version": "0.1.0"})
    (project / "data" / "a" / "train").write_bytes(bytes(1_234_567))
    clean(project, "data", "--dry-run")
    rows = [line.rsplit(maxsplit=3) for line in capsys.readouterr().out.splitlines()]
    assert ["data: synthesized sets", "2", "1.23", "MB"] in rows
    assert ["data/study: synthesized sets", "1", "65", "B"] in rows


# ----- runs


def test_the_best_run_stays_unless_told(project, capsys):
    train = project / "logs" / "train" / "cnn"
    good, bad = make_run(train / "good", step=1.0), make_run(train / "bad", step=2.0)
    sweep = project / "logs" / "train" / "multiruns" / "cnn" / "sweep"
    job, better_job = make_run(sweep / "0", step=3.0), make_run(sweep / "1", step=0.5)
    (sweep / "multirun.yaml").touch()
    clean(project, "logs")
    assert better_job.exists()
    assert not any(path.exists() for path in (job, good, bad))
    assert "1 best on its dataset (--best-too)" in capsys.readouterr().out
    clean(project, "logs", "--best-too")
    assert contents(project / "logs") == {".gitkeep"}


def test_a_run_that_is_being_trained_stays(project):
    run = make_run(project / "logs" / "train" / "cnn" / "run")
    job = make_run(project / "logs" / "train" / "multiruns" / "cnn" / "sweep" / "0")
    locks = [os.open(path, os.O_RDONLY) for path in (run, job)]
    for lock in locks:
        fcntl.flock(lock, fcntl.LOCK_EX)
    (job.parent / "multirun.yaml").touch()
    before = contents(project)
    clean(project, "logs")
    assert contents(project) == before
    for lock in locks:
        os.close(lock)
    clean(project, "logs")
    assert contents(project / "logs") == {".gitkeep"}


def test_without_the_environment_trainings_stay_unless_told(project, monkeypatch, capsys):
    run = make_run(project / "logs" / "train" / "cnn" / "run")
    other = make_run(project / "logs" / "eval" / "cnn" / "run")
    monkeypatch.setattr(clean_module, "find_runs", None)
    clean(project, "logs")
    assert run.exists()
    assert not other.exists()
    assert "which are best is known in the environment (sh setup.sh)" in " ".join(capsys.readouterr().out.split())
    clean(project, "logs", "--best-too")
    assert not run.exists()


def test_it_runs_on_a_python_without_packages(project):
    """-S leaves out site-packages, and with them PyYAML."""
    for directory in ("scripts", "src"):
        shutil.copytree(ROOT / directory, project / directory, dirs_exist_ok=True)
    make_dataset(project / "data" / "mine", {"version": "0.1.0"})
    command = [sys.executable, "-S", "scripts/clean.py", "data", "logs", "--yes"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert trash(project / "data") == {f"1/mine/{name}" for name in (*FILES, "vimh_dataset_info.json")}


# ----- the trash


@pytest.fixture
def full(project):
    """Sets and runs of every kind, with things of somebody else between them."""
    make_dataset(project / "data" / "mine", {"version": "0.1.0"})
    make_dataset(project / "data" / "study" / "a", {"version": "0.1.0"})
    make_dataset(project / "data" / "with_notes", {"version": "0.1.0"})
    (project / "data" / "with_notes" / "notes.txt").write_text("mine")
    make_dataset(project / "data" / ".half.partial", info=False)
    run = make_run(project / "logs" / "train" / "cnn" / "2026-01-01_00-00-00")
    (run / "link").symlink_to(project / "data" / "mine")
    (project / "logs" / "train" / "notes.txt").write_text("mine")
    return project


def test_undo_restores_everything_but_caches(full, capsys):
    shutil.rmtree(full / "src" / "__pycache__")
    before = contents(full), files(full)
    clean(full, *KINDS)
    assert contents(full) != before[0]
    assert undo(full) == 0
    assert (contents(full), files(full)) == before
    assert not (full / "data" / TRASH).exists()
    assert undo(full) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Nothing to restore: the trash is empty."


def test_the_next_clean_frees_the_trash_and_says_how_much(full, capsys):
    clean(full, "data")
    make_dataset(full / "data" / "new", {"version": "0.1.0"})
    n_bytes = sum(path.stat().st_size for path in (full / "data" / TRASH).rglob("*") if path.is_file())
    capsys.readouterr()
    clean(full, "data")
    shown = capsys.readouterr().out
    assert "data: trash of the clean before, freed for good" in shown
    assert f"Freed {n_bytes:,} bytes." in shown
    assert {path.split("/")[1] for path in trash(full / "data")} == {"new"}
    clean(full, "data")  # also where there is nothing else
    assert not (full / "data" / TRASH).exists()


def test_a_clean_of_another_kind_leaves_the_trash(full):
    clean(full, "data")
    in_trash = trash(full / "data")
    clean(full, "logs")
    assert trash(full / "data") == in_trash


def test_nothing_of_the_trash_goes_unasked(full, capsys):
    clean(full, "data")
    in_trash = trash(full / "data")
    assert main(["data"], full) == 1
    assert clean(full, "data", "--dry-run") == 0
    assert undo(full, "--dry-run") == 0
    assert trash(full / "data") == in_trash


def test_what_has_come_since_is_not_overwritten(full, capsys):
    clean(full, "data", "logs")
    new = make_dataset(full / "data" / "mine", {"version": "0.2.0"})
    (full / "data" / "with_notes" / "train").write_text("new")
    (full / "logs" / "train" / "cnn").symlink_to(full / "src")
    new_files = files(full)
    assert undo(full) == 1
    assert "3 of 5 stay in the trash" in capsys.readouterr().err
    after = files(full)
    assert {name: after[name] for name in new_files} == new_files
    back = {"data/study", "data/.half.partial"}
    assert all(any(name.startswith(path) for path in back) for name in after.keys() - new_files.keys())
    shutil.rmtree(new)
    (full / "data" / "with_notes" / "train").unlink()
    (full / "logs" / "train" / "cnn").unlink()
    assert undo(full) == 0
    assert (full / "logs/train/cnn/2026-01-01_00-00-00/checkpoints/epoch=1.ckpt").read_bytes() == b"weights"
    assert json.loads((full / "data/mine/vimh_dataset_info.json").read_text())["generator"] == {"version": "0.1.0"}


def test_an_empty_directory_is_in_nobodys_way(full):
    before = files(full)
    clean(full, "data")
    (full / "data" / "mine").mkdir()
    assert undo(full) == 0
    assert files(full) == before


@pytest.mark.parametrize("name", [TRASH, FILLING, FREED])
def test_a_trash_that_is_a_link_is_refused(full, elsewhere, name, capsys):
    (full / "data" / name).symlink_to(elsewhere)
    before = contents(elsewhere), files(full)
    for act in (lambda: clean(full, "data"), lambda: undo(full)):
        assert act() == 1
        assert f"{name}: is no directory" in capsys.readouterr().err
        assert (contents(elsewhere), files(full)) == before


def test_only_one_process_cleans(full, capsys):
    before = files(full)
    lock = os.open(full / "data", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert clean(full, *KINDS) == 1
    assert "data: another process is cleaning up" in capsys.readouterr().err
    assert files(full) == before
    os.close(lock)


def test_what_begins_to_be_written_after_the_question_stays(full, monkeypatch):
    run = full / "logs" / "train" / "cnn" / "2026-01-01_00-00-00"
    locks = []

    def begin(question):
        locks.append(os.open(run, os.O_RDONLY))
        fcntl.flock(locks[0], fcntl.LOCK_EX)
        return "y"

    answer(monkeypatch, "y")
    monkeypatch.setattr("builtins.input", begin)
    assert main(["data", "logs"], full) == 0
    assert run.exists()
    assert not (full / "data" / "mine").exists()
    os.close(*locks)


# ----- interruptions: at each operation on a file


NOT_OF_RUNS = ("logs/.gitkeep", "logs/train/notes.txt")


def interrupted_everywhere(project, act):
    """Copies of a project, each with an act that was interrupted at another operation."""
    for k in itertools.count(1):
        copy = project.with_name(f"copy{k}")
        shutil.copytree(project, copy, symlinks=True)
        with operations(copy, at(k, interrupt)) as done:
            code = act(copy)
        if len(done) < k:
            assert code == 0
            assert k > 6
            return
        assert code == 130
        yield copy


def test_a_clean_that_is_stopped_loses_nothing(full):
    """It can be undone, and it can go on."""
    shutil.rmtree(full / "src")
    before = files(full)
    for copy in interrupted_everywhere(full, lambda copy: clean(copy, "data", "logs")):
        other = copy.with_name(f"{copy.name}_goes_on")
        shutil.copytree(copy, other, symlinks=True)
        while files(copy) != before:
            assert undo(copy) == 0
        assert clean(other, "data", "logs") == 0
        assert set(files(other)) == {"data/.gitkeep", "data/with_notes/notes.txt", *NOT_OF_RUNS}


def test_a_clean_that_is_stopped_and_goes_on_can_be_undone(full):
    before = files(full / "data")
    for copy in interrupted_everywhere(full, lambda copy: clean(copy, "data")):
        if (copy / "data" / TRASH).exists():
            continue  # it had come to its end
        assert clean(copy, "data") == 0
        assert undo(copy) == 0
        assert files(copy / "data") == before


def test_freeing_that_is_stopped_keeps_what_was_moved_last(full):
    clean(full, "data")
    make_dataset(full / "data" / "new", {"version": "0.1.0"})
    expected = {name: content for name, content in files(full / "data").items()}
    for copy in interrupted_everywhere(full, lambda copy: clean(copy, "data")):
        while not (copy / "data" / "new").exists():
            assert undo(copy) == 0
        after = files(copy / "data")
        assert {name: after[name] for name in expected} == expected


def test_an_undo_that_is_stopped_goes_on(full):
    before = files(full)
    clean(full, "data", "logs")
    for copy in interrupted_everywhere(full, undo):
        undo(copy)
        assert files(copy) == before
        assert not (copy / "data" / TRASH).exists()
