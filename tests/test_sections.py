import pytest
from omegaconf import OmegaConf
from pydantic import Field

from src.errors import ConfigError
from src.sections import Flag, Modules, PositiveInt, Section, Text, WholeNumber, read_section


class Example(Section):
    size: PositiveInt
    seed: WholeNumber
    share: float = Field(gt=0, lt=1, description="it must be above 0 and below 1")
    loud: Flag
    name: Text | None
    modules: Modules


GOOD = {"size": 2, "seed": 0, "share": 0.5, "loud": True, "name": None, "modules": ["mine"]}


def test_settings_are_read_as_they_are_and_other_keys_are_left_alone():
    config = OmegaConf.create(GOOD | {"share": "${half}", "half": 0.5, "other": "${nowhere}"})
    assert read_section(Example, config) == read_section(Example, GOOD)
    assert read_section(Example, config).model_dump(mode="json") == GOOD


def test_a_name_may_be_a_number():
    assert read_section(Example, GOOD | {"name": 2024}).name == "2024"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, r"^example\.size is 0; it must be a whole number of 1 or more\.$"),
        ({"size": True}, r"^example\.size is True; "),
        ({"seed": 1.5}, r"^example\.seed is 1\.5; it must be a whole number of 0 or more\.$"),
        ({"share": float("nan")}, r"^example\.share is nan; it must be above 0 and below 1\.$"),
        ({"share": "half"}, r"^example\.share is 'half'; "),
        ({"loud": 1}, r"^example\.loud is 1; it must be true or false\.$"),
        ({"modules": "mine"}, r"^example\.modules is 'mine'; it must be a list of dotted module names\.$"),
        (
            {"size": 0, "seed": -1},
            r"^example\.size is 0; it must be .* more\. example\.seed is -1; it must be .* more\.$",
        ),
    ],
)
def test_what_cannot_be_used_is_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        read_section(Example, GOOD | changes, "example")


MISSING = (
    r"^the key example\.size is missing\. the key example\.loud is missing\. "
    r"example has the keys seed, share, name, modules\.$"
)


def test_what_is_missing_is_named():
    with pytest.raises(ConfigError, match=MISSING):
        read_section(Example, {key: item for key, item in GOOD.items() if key not in ("size", "loud")}, "example")
