import pytest

from src.programs.command_line import config_names


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
