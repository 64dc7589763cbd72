import fcntl
import json
import os

import pytest

from scripts.clean import KINDS, main

FILES = ("train", "test", "train_values.npy", "test_values.npy")


def make_dataset(path, generator=None, info=True):
    path.mkdir(parents=True)
    for name in FILES:
        (path / name).write_bytes(b"123")
    if info:
        (path / "vimh_dataset_info.json").write_text(json.dumps({"format": "VIMH", "generator": generator}))
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
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


def test_generated_datasets_go_and_others_stay(project):
    make_dataset(project / "data" / "mine", {"version": "0.1.0"})
    make_dataset(project / "data" / ".mine.partial", info=False)
    make_dataset(project / "data" / "foreign")
    make_dataset(project / "data" / "unfinished", info=False)
    (project / "data" / "recording.wav").touch()
    before = contents(project)
    assert main(["data"], project) == 0
    gone = before - contents(project)
    assert {path.split("/")[1] for path in gone} == {"mine", ".mine.partial"}
    assert not (project / "data" / "mine").exists()
    assert (project / "data" / ".gitkeep").exists()


@pytest.mark.parametrize("text", ["", "not JSON", "[]", '{"generator": null}', '{"generator": "me"}', "[" * 100_000])
def test_a_set_whose_origin_cannot_be_read_stays(project, text):
    dataset = make_dataset(project / "data" / "odd")
    (dataset / "vimh_dataset_info.json").write_text(text)
    before = contents(project)
    main(["data"], project)
    assert contents(project) == before


def test_notes_inside_a_dataset_stay(project, capsys):
    dataset = make_dataset(project / "data" / "mine", {"version": "0.1.0"})
    (dataset / "notes.txt").touch()
    main(["data"], project)
    assert contents(dataset) == {"notes.txt"}
    assert "data/mine/notes.txt" in capsys.readouterr().out


def test_a_dataset_that_is_being_written_stays(project):
    partial = make_dataset(project / "data" / ".mine.partial", info=False)
    lock = os.open(partial, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    main(["data"], project)
    assert contents(partial) == set(FILES)
    os.close(lock)
    main(["data"], project)
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
    main(["logs"], project)
    assert contents(logs) == {".gitkeep", "eval", "eval/notes", "eval/notes/idea.txt"}


def test_caches_go_wherever_the_code_is(project):
    tools = (".pytest_cache/v", ".ruff_cache", ".mypy_cache/3.11", ".hypothesis")
    for name in ("src/models/__pycache__", *tools, "__pycache__"):
        (project / name).mkdir(parents=True)
    (project / "venv/lib/__pycache__").mkdir(parents=True)
    main(["caches"], project)
    assert contents(project) == {
        *("data", "data/.gitkeep", "logs", "logs/.gitkeep", "src", "src/models", "src/models/net.py"),
        *("venv", "venv/lib", "venv/lib/__pycache__"),
    }


def test_each_kind_leaves_the_others_alone(project):
    make_dataset(project / "data" / "mine", {"version": "0.1.0"})
    (project / "logs/train/cnn/run/.hydra").mkdir(parents=True)
    for kind, directory in (("data", "data"), ("logs", "logs"), ("caches", "src/__pycache__")):
        before = contents(project)
        main([kind], project)
        gone = before - contents(project)
        assert gone
        assert all(path.startswith(directory) for path in gone)


@pytest.mark.parametrize("place", ["data/link", "logs/link", "logs/train/link", "src/link", "src/models/link"])
def test_no_link_is_followed(project, elsewhere, place):
    link = project / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere / "set" if place == "data/link" else elsewhere)
    before = contents(elsewhere)
    main(list(KINDS), project)
    assert contents(elsewhere) == before
    assert link.is_symlink()


@pytest.mark.parametrize("directory", ["data", "logs", "src"])
def test_a_link_in_the_place_of_a_directory_is_not_followed(project, elsewhere, directory):
    (project / directory).rename(project / "moved")
    (project / directory).symlink_to(elsewhere)
    before = contents(elsewhere)
    main(list(KINDS), project)
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
    main(list(KINDS), project)
    assert contents(elsewhere) == before
    assert contents(dataset) == {"train"}
    assert not run.exists()


def test_a_linked_description_does_not_make_a_dataset_ours(project, elsewhere):
    dataset = make_dataset(project / "data" / "foreign", info=False)
    (dataset / "vimh_dataset_info.json").symlink_to(elsewhere / "set" / "vimh_dataset_info.json")
    before = contents(project)
    main(["data"], project)
    assert contents(project) == before


def test_everything_is_listed_before_it_goes(project, capsys):
    make_dataset(project / "data" / "mine", {"version": "0.1.0"})
    (project / "logs/train/cnn/run/.hydra").mkdir(parents=True)
    before = contents(project)
    main([*KINDS, "--dry-run"], project)
    assert contents(project) == before
    listed = capsys.readouterr().out
    main(list(KINDS), project)
    assert capsys.readouterr().out == listed
    gone = before - contents(project)
    roots = [line.split()[-1].rstrip("/") for line in listed.splitlines()]
    assert all(any(path == root or path.startswith(f"{root}/") for root in roots) for path in gone)


def test_a_clean_project_says_so(project, capsys):
    main(list(KINDS), project)
    capsys.readouterr()
    assert main(list(KINDS), project) == 0
    assert "Nothing to delete." in capsys.readouterr().out


def test_missing_directories_are_nothing_to_delete(tmp_path):
    assert main(list(KINDS), tmp_path) == 0


def test_an_interrupted_deletion_can_be_repeated(project, monkeypatch):
    dataset = make_dataset(project / "data" / "mine", {"version": "0.1.0"})
    unlink = type(dataset).unlink

    def interrupted(path):
        unlink(path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(dataset), "unlink", interrupted)
        with pytest.raises(KeyboardInterrupt):
            main(["data"], project)
    assert dataset.exists()
    main(["data"], project)
    assert not dataset.exists()
