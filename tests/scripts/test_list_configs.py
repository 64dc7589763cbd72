import re

import pytest

from scripts.list_configs import CONFIGS, description, groups, is_complete, main, parameter_count


@pytest.mark.parametrize("columns", [80, 140])
def test_every_configuration_is_listed_on_a_screen(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main([]) == 0
    *lines, hint = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert len(lines) < 40
    assert "make lc ARGS=GROUP" in hint
    listed, group = {}, ""
    for line in lines:
        group = line[:16].strip() or group  # a group goes on in the next line
        listed[group] = listed.get(group, []) + re.findall(r"(\w+)(?: \([\d,]+\))?(?:,|$)", line[16:])
    assert listed == groups()
    assert {path.stem for path in CONFIGS.glob("*/*.yaml")} == {name for names in listed.values() for name in names}


def test_models_come_with_their_size(capsys):
    main(["model"])
    sizes = dict(re.findall(r"^(\w+) +([\d,]+)", capsys.readouterr().out, flags=re.MULTILINE))
    main([])
    beside = dict(re.findall(r"(\w+) \(([\d,]+)\)", capsys.readouterr().out))
    assert {name: int(size.replace(",", "")) for name, size in sizes.items()} == {
        name: parameter_count(name) for name in groups()["model"] if is_complete(name)
    }
    assert beside == sizes
    assert {"cnn_tiny", "vit_micro", "mlp", "convnext_nano", "conv6"} <= sizes.keys()


@pytest.mark.parametrize("group", ["callbacks", "model", "scheduler"])
def test_the_options_of_a_group_are_explained_within_the_width(capsys, monkeypatch, group):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([group]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    for option in groups()[group]:
        assert option in text
        first = description(CONFIGS / group / f"{option}.yaml").partition(" ")[0]
        assert any(line.split()[0] == option and first in line for line in lines if line.strip())


def test_an_unknown_group_is_one_sentence(capsys):
    assert main(["modell"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "modell" in shown.err and "model" in shown.err


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
