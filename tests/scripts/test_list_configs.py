import re

import pytest

from scripts.list_configs import CONFIGS, description, groups, is_complete, main, parameter_count


def test_every_configuration_is_listed(capsys):
    assert main() == 0
    blocks = [block.splitlines() for block in capsys.readouterr().out.strip().split("\n\n")]
    listed = {group: [line.split()[0] for line in options] for group, *options in blocks}
    assert listed == groups()
    assert {path.stem for path in CONFIGS.glob("*/*.yaml")} == {name for names in listed.values() for name in names}


def test_models_come_with_their_size(capsys):
    main()
    sizes = dict(re.findall(r"^  (\w+) +([\d,]+) parameters", capsys.readouterr().out, flags=re.MULTILINE))
    assert {name: int(size.replace(",", "")) for name, size in sizes.items()} == {
        name: parameter_count(name) for name in groups()["model"] if is_complete(name)
    }
    assert {"cnn_tiny", "vit_micro", "mlp", "convnext_nano", "conv6"} <= sizes.keys()


def test_what_models_share_is_no_model():
    assert is_complete("cnn_64k")
    assert not is_complete("cnn")
    assert not is_complete("default")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# One thing. Another.\nkey: 1\n", "One thing"),
        ("# @package _global_\n\n# One thing\n# in two lines.\n\nkey: 1 # not this\n", "One thing in two lines"),
        ("key: 1\n# not this\n", ""),
        ("", ""),
    ],
)
def test_the_description_is_the_first_sentence_of_the_first_comment(tmp_path, text, expected):
    file = tmp_path / "option.yaml"
    file.write_text(text)
    assert description(file) == expected
