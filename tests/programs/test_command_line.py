import errno

import pytest

from src.errors import ConfigError
from src.programs.command_line import OptionParser, config_names, reporting


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


# ----- mistakes


@pytest.fixture
def parser():
    parser = OptionParser(prog="program.py")
    parser.add_argument("--samples", type=int)
    return parser


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--sample5", "3"], "Unrecognized arguments: --sample5 3. Did you mean --samples? "),
        (["--quick"], "Unrecognized arguments: --quick. "),
        (["--samples", "many"], "Argument --samples: invalid int value: 'many'. "),
    ],
)
def test_a_wrong_option_is_one_sentence_and_exit_code_1(parser, capsys, argv, said):
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(argv)
    assert stop.value.code == 1
    assert capsys.readouterr().err == f"{said}program.py --help lists what there is.\n"


def raising(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConfigError("No runs named."), "No runs named."),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: Permission denied. Name another place, or "),
        (OSError(errno.EROFS, "Read-only file system", "/x"), "/x: Read-only file system. Name another place, or "),
    ],
)
def test_what_a_script_cannot_do_is_one_sentence(capsys, error, said):
    assert reporting(raising(error)) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(said) and shown.err.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError("of no place")])
def test_a_bug_is_not_explained(error):
    with pytest.raises(type(error)):
        reporting(raising(error))


def test_every_result_is_passed_on():
    assert reporting(lambda: 3) == 3
