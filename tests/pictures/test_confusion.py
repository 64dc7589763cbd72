import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from src.params import ParamSpec
from src.pictures.confusion import MOST_COUNTS, MOST_NAMES, confusion_figure
from src.pictures.plots import STYLE


def spec_of(n, name="a class of $animals$ with a long name"):
    return ParamSpec("animal", 0, n - 1, 1, names=tuple(f"{name} {number}" for number in range(n)))


def test_rows_are_true_classes_and_shares_add_up():
    counts = np.array([[3, 1, 0], [0, 0, 0], [2, 0, 6]])
    (axes,) = confusion_figure(spec_of(3), counts, "test samples").axes
    share = axes.images[0].get_array()
    assert share.tolist() == [[0.75, 0.25, 0], [0, 0, 0], [0.25, 0, 0.75]]
    assert {text.get_text(): text.get_position() for text in axes.texts} == {
        "3": (0, 0),
        "1": (1, 0),
        "2": (0, 2),
        "6": (2, 2),
    }
    assert "0.750 of 12 test samples right" in axes.figure.texts[1].get_text()


@pytest.mark.parametrize("n", [2, MOST_COUNTS, MOST_NAMES])
@matplotlib.rc_context(STYLE)
def test_no_texts_lie_on_each_other_or_beyond_the_picture(n):
    figure = confusion_figure(spec_of(n), 9999 * np.eye(n, dtype=int))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    places = [text.get_window_extent(canvas.get_renderer()) for text in texts]
    assert len(texts) == 2 + 2 * n + (n if n <= MOST_COUNTS else 0)
    for one, other in itertools.combinations(places, 2):
        assert not one.overlaps(other)
    assert all(place.x0 >= 0 and place.y0 >= 0 for place in places)
    assert all(place.x1 <= figure.bbox.width and place.y1 <= figure.bbox.height for place in places)


def test_many_classes_have_no_names_and_nothing_can_be_counted():
    (axes,) = confusion_figure(spec_of(256), np.zeros((256, 256), int)).axes
    assert not [label for label in axes.get_yticklabels() if label.get_text()]
    assert axes.figure.texts[1].get_text().startswith("no samples")
