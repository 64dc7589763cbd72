import pytest

from src.programs.config_names import config_names, unknown_config_name, valid_names_message


@pytest.fixture
def config_dir(tmp_path):
    for name in ("train.yaml", "eval.yaml", "synth/generate_b.yaml", "synth/generate_a.yaml", "synth/part.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def test_names_are_those_that_the_pattern_matches(config_dir):
    assert config_names(config_dir, "synth/generate_*") == ["synth/generate_a", "synth/generate_b"]
    assert config_names(config_dir, "train") == ["train"]


@pytest.mark.parametrize("option", [["--config-name=no"], ["--config-name", "no"], ["-cn", "no"], ["-cn=no.yaml"]])
def test_an_unknown_name_is_found_in_every_spelling(config_dir, option):
    assert unknown_config_name(["seed=1", *option, "-m"], config_dir) == "no"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["data=no", "+x=1", "--help"],
        ["--config-name=train"],
        ["--config-name=train.yaml"],
        ["-cn", "synth/generate_a"],
        ["--config-name=no", "--config-dir=elsewhere"],
        ["--config-name=no", "-cp", "elsewhere"],
    ],
)
def test_other_command_lines_are_not_objected_to(config_dir, arguments):
    assert unknown_config_name(arguments, config_dir) is None


def test_the_message_names_what_was_asked_for_and_every_choice():
    message = valid_names_message("no", ["synth/generate_a", "synth/generate_b"])
    assert "'no'" in message
    assert "--config-name=synth/generate_a" in message
    assert "--config-name=synth/generate_b" in message
