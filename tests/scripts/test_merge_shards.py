import contextlib
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.faults.file_operations import at, interrupt, operations
from scripts.merge_shards import main, merge
from src.errors import ConfigError, VIMHError
from src.generation import generate, is_made
from src.vimh.info import Shard
from src.vimh.reader import VIMHReader
from src.vimh.writer import UNFINISHED, delete_dataset, partial_dir

ROOT = Path(__file__).parents[2]


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture(scope="module")
def recipe(recipe_of):
    return recipe_of("dataset.size=40")


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole") / "set"
    generate(recipe, directory)
    return directory


def make_parts(recipe, directory, count, name="set"):
    parts = [directory / f"{name}_part{index}of{count}" for index in range(count)]
    for index, part in enumerate(parts):
        generate(recipe, part, batch_size=3, shard=Shard(index=index, count=count))
    return parts


@pytest.mark.parametrize("count", [2, 3, 8])
def test_the_parts_make_the_bytes_of_one_run(recipe, whole, tmp_path, count):
    parts = make_parts(recipe, tmp_path, count)
    merged = merge(parts[::-1])
    assert merged == tmp_path / "set"
    assert contents(merged) == contents(whole)
    assert is_made(merged, recipe.config)


def test_a_part_is_a_dataset_of_its_own_and_not_the_whole(recipe, tmp_path):
    part, _ = make_parts(recipe, tmp_path, 2)
    reader = VIMHReader(part)
    reader.validate()
    assert (len(reader.train), len(reader.test)) == (16, 4)
    assert is_made(part, recipe.config, Shard(index=0, count=2))
    with pytest.raises(VIMHError, match=r"shard.count: 2 there, 1 asked for"):
        is_made(part, recipe.config)


def test_parts_that_do_not_belong_together_are_refused(recipe_of, recipe, whole, tmp_path, capsys):
    first, second = make_parts(recipe, tmp_path, 2)
    other = recipe_of("dataset.size=40", "dataset.seed=5")
    _, stranger = make_parts(other, tmp_path, 2, "other")
    third, *_ = make_parts(recipe, tmp_path, 3, "three")
    for parts, message in (
        ([first], "each of"),
        ([first, first], "each of"),
        ([first, stranger], "seed"),
        ([first, third], "shard.count"),
        ([first, second, second], "each of"),
        ([whole], "not a part"),
    ):
        with pytest.raises(VIMHError, match=message):
            merge(parts, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_damaged_part_is_refused_and_nothing_is_left(recipe, tmp_path, monkeypatch, capsys):
    parts = make_parts(recipe, tmp_path, 2)
    damaged = bytearray((parts[1] / "train").read_bytes())
    damaged[-1] ^= 1
    (parts[1] / "train").write_bytes(damaged)
    monkeypatch.setattr("sys.argv", ["merge_shards.py", *map(str, parts)])
    assert main() == 1
    assert "SHA-256" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set_part0of2", "set_part1of2"]


def test_the_program_deletes_the_parts_only_when_told(recipe, whole, tmp_path, monkeypatch, capsys):
    parts = make_parts(recipe, tmp_path, 2)
    monkeypatch.setattr("sys.argv", ["merge_shards.py", *map(str, parts)])
    assert main() == 0
    assert all(part.is_dir() for part in parts)
    shutil.rmtree(tmp_path / "set")
    monkeypatch.setattr("sys.argv", ["merge_shards.py", "--delete", *map(str, parts)])
    assert main() == 0
    assert contents(tmp_path / "set") == contents(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def run_main(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["merge_shards.py", *map(str, arguments)])
    code = main()
    return code, capsys.readouterr()


@pytest.mark.slow
def test_the_same_command_goes_on_wherever_it_was_stopped(recipe, whole, tmp_path, monkeypatch, capsys):
    """While it deletes the parts, too: they are fewer then, one may be half there, or a pattern matches nothing."""
    made = make_parts(recipe, tmp_path / "made", 3)
    stops = itertools.count(1)
    for k in stops:
        directory = tmp_path / str(k)
        for part in made:
            shutil.copytree(part, directory / part.name)
        parts = [directory / part.name for part in made]
        with operations(directory, at(k, interrupt)) as done, contextlib.suppress(KeyboardInterrupt):
            run_main(monkeypatch, capsys, "--delete", *parts)
        given = sorted(directory.glob("set_part*of3")) or [directory / "set_part*of3"]
        code, said = run_main(monkeypatch, capsys, "--delete", *given)
        assert code == 0, said
        assert contents(directory / "set") == contents(whole)
        assert [path.name for path in directory.iterdir()] == ["set"]
        if len(done) < k:
            break
    assert k > 30


def test_a_set_is_kept_that_was_made_of_the_parts_and_no_other(recipe_of, recipe, tmp_path, monkeypatch, capsys):
    parts = make_parts(recipe, tmp_path, 2)
    assert run_main(monkeypatch, capsys, *parts)[0] == 0
    code, said = run_main(monkeypatch, capsys, *parts)
    assert (code, said.out.splitlines()) == (
        0,
        [f"Kept: {tmp_path / 'set'} was made of these parts already.", str(tmp_path / "set")],
    )
    other = make_parts(recipe_of("dataset.size=40", "dataset.seed=5"), tmp_path / "other", 2)
    for place in (parts[0], tmp_path / "set"):
        code, said = run_main(monkeypatch, capsys, "--delete", "--output", place, *other)
        assert code == 1
        assert "exists already, and is not made of" in said.err
        assert "seed" in said.err
    damaged = bytearray((tmp_path / "set" / "train").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "set" / "train").write_bytes(damaged)
    code, said = run_main(monkeypatch, capsys, "--delete", *parts)
    assert code == 1
    assert "SHA-256" in said.err
    assert all(VIMHReader(part) for part in (*parts, *other))


def test_a_deletion_that_was_stopped_is_ended(recipe, whole, tmp_path, monkeypatch, capsys):
    parts = make_parts(recipe, tmp_path, 4)
    assert run_main(monkeypatch, capsys, *parts)[0] == 0
    delete_dataset(parts[0])
    for name in ("test", "train"):
        (parts[1] / name).unlink()
    for path in parts[2].iterdir():
        path.unlink()
    for given in (parts, [tmp_path / "set_part*of4"]):
        code, said = run_main(monkeypatch, capsys, "--delete", *given)
        assert code == 0, said
        assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert contents(tmp_path / "set") == contents(whole)


@pytest.mark.parametrize("shard", [Shard(index=2, count=2), Shard(index=0, count=9)])
def test_a_shard_that_cannot_be_is_refused(recipe, tmp_path, shard):
    with pytest.raises(ConfigError, match=r"shard\.index"):
        generate(recipe, tmp_path / "set", shard=shard)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stop_after", [0, 3, 16, 31, 33, 38])
@pytest.mark.parametrize("torn", [0, 1, 500])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(recipe, whole, tmp_path, stop_after, torn):
    """`torn` bytes of the record in the making are on the disk as well, as after a kill."""
    done = 0

    def interrupt(n):
        nonlocal done
        done += n
        if done > stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(recipe, tmp_path / "set", batch_size=3, advance=interrupt)
    partial = partial_dir(tmp_path / "set")
    assert (partial / UNFINISHED).is_file()
    split = "train" if stop_after < 32 else "test"
    with (partial / split).open("ab") as file:
        file.write(b"\x20" * torn)
    made = generate(recipe, tmp_path / "set", batch_size=7, resume=True)
    assert contents(tmp_path / "set") == contents(whole)
    assert made == 40 - done
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_another_configuration_does_not_go_on_with_it(recipe_of, recipe, tmp_path):
    def interrupt(n):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(recipe, tmp_path / "set", batch_size=3, advance=interrupt)
    before = contents(partial_dir(tmp_path / "set"))
    other = recipe_of("dataset.size=40", "dataset.seed=5")
    with pytest.raises(VIMHError, match="another configuration"):
        generate(other, tmp_path / "set", resume=True)
    assert contents(partial_dir(tmp_path / "set")) == before


@pytest.mark.slow
def test_parts_that_a_launcher_makes_side_by_side_are_those_of_one_run(recipe_of, tmp_path):
    whole = recipe_of("dataset.size=40", config_name="synth/generate_moog_basic")
    generate(whole, tmp_path / "one" / "set")
    command = [sys.executable, "generate_vimh.py", "-m", "--config-name=synth/generate_moog_basic"]
    overrides = ["dataset.size=40", f"output_dir={tmp_path}", "dataset.name=set", "shard.count=2"]
    launch = ["shard.index=range(0,2)", "hydra/launcher=joblib", f"hydra.sweep.dir={tmp_path}/sweep"]
    subprocess.run([*command, *overrides, *launch], cwd=ROOT, check=True, capture_output=True)
    merged = merge([tmp_path / "set_part0of2", tmp_path / "set_part1of2"])
    assert contents(merged) == contents(tmp_path / "one" / "set")
