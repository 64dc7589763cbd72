"""Paths as a shell gives them: whatever characters they hold, Hydra and OmegaConf read them as they are."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from src.hydra_versions import initialize_configs
from src.overrides import quoted
from src.programs.arguments import IN_QUOTES, PATHS, TEMPLATES, cannot_resolve, hydra_arguments
from src.programs.run_dirs import register_resolvers

ROOT = Path(__file__).parents[2]
PROGRAMS = {f"src/{name}.py": name for name in ("train", "eval", "predict", "audio_eval", "export")}
PROGRAMS["generate_vimh.py"] = "synth/generate_simple_saw"

# What means something to Hydra, OmegaConf, YAML or a shell, and a letter of each kind.
MEANINGFUL = ["${", "\t", "\n", "null", "a", "0", "ü", "漢", "😀", *" !\"#$%&'()*+,-./:;<=>?@[\\]^`{|}~"]
texts = st.lists(st.sampled_from(MEANINGFUL), max_size=10).map("".join)
texts |= st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=12)
paths = texts.filter(lambda text: text not in ("", "null", "???") and not IN_QUOTES.fullmatch(text))
keys = st.sampled_from([*PATHS, "audio"])
templates = st.sampled_from(["paths.log_dir", "hydra.run.dir", "callbacks.model_checkpoint.dirpath"])


def read(override):
    """What Hydra and OmegaConf make of an override: the values of a sweep, or the only one."""
    parsed = OverridesParser.create().parse_override(override)
    if parsed.is_sweep_override():
        return [one for text in parsed.sweep_string_iterator() for one in read(f"key={text}")]
    cfg = OmegaConf.create({"key": None})
    OmegaConf.update(cfg, "key", parsed.value())
    return [cfg.key]


@given(keys, paths)
def test_a_path_is_read_character_for_character(key, path):
    (argument,) = hydra_arguments([f"{key}={path}"], paths=["audio"])
    assert read(argument) == [path]
    assert hydra_arguments([argument], paths=["audio"]) == [argument]  # as in the processes of a training


@given(templates, paths)
def test_directories_of_runs_are_too_apart_from_interpolations(key, path):
    assume("${" not in path)
    assert read(*hydra_arguments([f"{key}={path}"])) == [path]


@given(keys, st.lists(paths, min_size=1, max_size=3))
def test_in_a_sweep_commas_separate_paths(key, several):
    several = [part.strip(" \t") for path in several for part in path.split(",")]
    assume(all(part not in ("", "null", "???") and part[0] not in "\"'" for part in several))
    assume(not re.match(r"\w+\(", several[0]))
    _, argument = hydra_arguments(["-m", f"{key}={','.join(several)}"], paths=["audio"])
    assert read(argument) == several


@given(texts)
def test_quoted_text_is_itself(text):
    assume(text != "???")
    assert read(f"key={quoted(text)}") == [text]


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("ckpt_path=null", None),
        ("ckpt_path=", ""),
        ("ckpt_path='a, b'", "a, b"),
        ('ckpt_path="a, b"', "a, b"),
        ('data.data_dir="${oc.env:PLACE}/set"', "here/set"),
        ("paths.log_dir=${oc.env:PLACE}/logs (1)", "here/logs (1)"),
        ("data.data_dir=${oc.env:PLACE}/set", "${oc.env:PLACE}/set"),
        ("ckpt_path=???", "./???"),
        ("ckpt_path=3", "3"),
        ("+ckpt_path=a=b", "a=b"),
        ("++data_dir=a b", "a b"),
    ],
)
def test_quotes_are_hydras_and_null_is_none(argument, expected, monkeypatch):
    monkeypatch.setenv("PLACE", "here")
    assert read(*hydra_arguments([argument])) == [expected]


@pytest.mark.parametrize("name", ["'a'", '"a,b"', "a,b"])
def test_a_file_of_that_very_name_comes_first(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    for first in ([], ["-m"], ["--multirun"], ["hydra.mode=MULTIRUN"]):
        assert read(hydra_arguments([*first, f"ckpt_path={name}"])[-1]) == [name]


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("ckpt_path=a=1.ckpt,null,'b,c'", ["a=1.ckpt", None, "b,c"]),
        ('ckpt_path="a,b","c"', ["a,b", "c"]),
        ('ckpt_path="a", b , " c,d" ', ["a", "b", " c,d"]),
        ("ckpt_path=choice(a,b)", ["a", "b"]),
    ],
)
def test_a_sweep_takes_quoted_paths_and_functions(argument, expected):
    assert read(hydra_arguments(["-m", argument])[-1]) == expected


@pytest.mark.parametrize("argument", ["seed=1", "tags=[a,b]", "model=cnn_tiny", "hydra.searchpath=[x]", "--cfg", "~a"])
def test_other_arguments_stay(argument):
    assert hydra_arguments([argument], paths=["audio"]) == [argument]


def leaves(section, prefix=""):
    for name, value in section.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@pytest.mark.parametrize("entry", PROGRAMS)
def test_what_configurations_fill_with_a_path_takes_one(entry):
    register_resolvers()
    overrides = ["logger=many_loggers"] if entry == "src/train.py" else []
    with initialize_configs(ROOT / "configs"):
        cfg = compose(PROGRAMS[entry], overrides, return_hydra_config=True)
    values = dict(leaves(OmegaConf.to_container(cfg)))
    filled = {key for key, value in values.items() if re.search(r"dir\}|PROJECT_ROOT", str(value))}
    taken = {key for key in values if key in (*PATHS, *own_paths(entry)) or TEMPLATES.fullmatch(key)}
    assert filled - {"hydra.sweeper.storage"} <= taken
    assert set(own_paths(entry)) <= {*values}


def own_paths(entry):
    """What an entry file says of its own keys."""
    tree = ast.parse((ROOT / entry).read_text(encoding="utf-8"))
    found = [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "paths"]
    return [constant.value for node in found for constant in node.elts]


def test_the_programs_name_their_own_paths():
    assert own_paths("src/predict.py") == ["audio", "dataset"]
    assert own_paths("src/export.py") == ["output"]
    assert own_paths("generate_vimh.py") == ["dataset.name", "dataset.suffix"]


def test_what_hydra_cannot_resolve_is_said():
    assert "--cfg all --resolve" in cannot_resolve(["seed=1", "--cfg", "hydra", "--resolve"])
    assert cannot_resolve(["--resolve", "--cfg=hydra"])
    for fine in ([], ["--cfg", "hydra"], ["--cfg", "all", "--resolve"], ["--resolve", "-c", "job", "a=hydra"]):
        assert cannot_resolve(fine) is None


NASTY = [
    *("epoch=3-step=90.ckpt", "a (1), b={c} [d].wav", "${x}", "a $HOME $$ \\${y} `b` \\", "'a", "a\"b'c", '"a" b'),
    *("~#:*?!&|;<>%@+-^", " blanks  ", "漢 ü 😀\u0301", "new\nline\ttab", "NULL", "a\udc80b"),
]


@pytest.fixture(scope="module")
def shown():
    """What programs, each in a process of its own, take a path for."""

    def run(*command):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        environment |= {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8:surrogateescape"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return os.fsdecode(done.stdout).removesuffix("\n")

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", NASTY)
def test_real_programs_take_a_path_as_it_is(shown, name):
    for entry, key in (("src/train.py", "data.data_dir"), ("generate_vimh.py", "output_dir")):
        assert shown(sys.executable, entry, f"{key}={name}", "--cfg", "job", "--package", key) == name


@pytest.mark.slow
@pytest.mark.parametrize("name", NASTY)
def test_make_hands_a_path_on_as_it_is(shown, name):
    arguments = "ARGS=--cfg job --package audio"
    assert shown("make", "-s", "pr", f"AUDIO={name}", arguments, "-o", ".venv/.installed") == name.lstrip(" ")


@pytest.mark.slow
def test_a_dataset_a_checkpoint_and_a_recording_can_be_called_anything(tmp_path):
    place = tmp_path / "a ${x} $y \\ \\${z} 'q\" =,{}()[]:~#*漢"
    common = [f"paths.log_dir={tmp_path}/logs", "extras.print_config=false"]

    def run(entry, *arguments):
        command = [sys.executable, entry, *common, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr

    training = ["model=cnn_micro", "trainer=cpu", "trainer.max_epochs=1", "logger=none", "callbacks=model_checkpoint"]
    run("src/train.py", *training, f"data.data_dir={place}/set", "data.make_dataset.name=set")
    (written,) = (tmp_path / "logs").rglob("checkpoints/*.ckpt")
    checkpoint = written.replace(place / f"{place.name}.ckpt")
    run("src/eval.py", "trainer=cpu", f"ckpt_path={checkpoint}")
    run("src/predict.py", f"ckpt_path={checkpoint}", f"dataset={place}/set")
    run("src/export.py", f"ckpt_path={checkpoint}", f"data_dir={place}/set", f"output={place}/a.onnx", "repeats=1")
    assert {path.name for path in place.iterdir()} == {"set", checkpoint.name, "a.onnx"}
