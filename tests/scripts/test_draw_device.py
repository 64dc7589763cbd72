from xml.etree import ElementTree

import pytest

from scripts import draw_device
from scripts.draw_device import draw
from scripts.draw_networks import WIDTH, text_width
from scripts.list_configs import ROOT

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def picture(recipe_of):
    return draw(recipe_of(config_name="synth/generate_moog_basic"), "basic")


def test_the_picture_of_the_documentation_is_that_of_the_code(picture):
    assert (ROOT / "docs" / "device.svg").read_text() == picture, "run python scripts/draw_device.py"


def test_every_text_is_within_the_picture_and_meets_no_other(picture):
    root = ElementTree.fromstring(picture)
    places = []
    for element in root.iter(f"{SVG}text"):
        size = float(element.get("font-size"))
        width = text_width(element.text, size, element.get("font-weight") == "bold")
        anchor = element.get("text-anchor", "start")
        left = float(element.get("x")) - {"start": 0, "middle": width / 2, "end": width}[anchor]
        if anchor != "middle":  # that one runs down the edge
            places.append((left, float(element.get("y")), left + width, size, element.text))
    for number, (left, bottom, right, size, content) in enumerate(places):
        assert 0 < left < right < WIDTH, content
        for other in places[:number]:
            assert right <= other[0] or other[2] <= left or abs(bottom - other[1]) >= size, f"{content}: {other[4]}"


def test_sizes_are_in_words():
    assert [draw_device.size(n) for n in (2.1e9, 6.71e7, 4.2e6)] == ["2.1 GB", "67.1 MB", "4.2 MB"]
