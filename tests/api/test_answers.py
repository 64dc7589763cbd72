"""Answers, datasets and runs: as sequences, as numbers, and as what is shown of them."""

import html
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from src import api as nsm
from src.api.shown import MOST_ROWS, Audio, TextTable
from src.models.metrics import WIDTH
from src.params import ParameterSpace, ParamSpec
from src.readings.reading import SampleReading
from src.vimh.info import new_info
from src.vimh.reader import VIMHReader, numbers_of


@pytest.fixture(scope="module")
def answer(net, place):
    return net.predict(place / "sounds")


# ----- numbers


def test_an_interval_is_the_standard_deviation_within_the_range(net, answer):
    for p, spec in enumerate(net.parameters):
        half = WIDTH * answer.std[:, p, None] * np.array([-1, 1])
        expected = np.clip(answer.values[:, p, None] + half, spec.min, spec.max)
        assert np.allclose(answer.interval[:, p], expected, rtol=1e-6)


@pytest.fixture(scope="module")
def kinds():
    """An answer about a category, a parameter that acts with one of its classes, and one on a log scale."""
    specs = (
        ParamSpec("wave", 0, 2, 1, names=("sine", "saw <b>", "noise")),
        ParamSpec("width", 0.0, 1.0, 0.1, active_if={"wave": "saw <b>"}),
        ParamSpec("cutoff", 2.0, 4.0, 0.1, "log10 <i>Hz", scale="log"),
    )
    info = new_info("kinds", (1, 4, 4), ParameterSpace(specs), {"train": 2, "test": 0})
    values = np.float32([[1, 0.5, 3], [0, 0, 2.5]])
    readings = [
        SampleReading(
            name=f"train {number}",
            image=np.zeros((1, 4, 4), dtype=np.uint8),
            spec_range=np.float32([-80, 0]),
            value=value,
            std=np.float32([0.1, 0.1, 0.05]),
            distance=distance,
            apart=None,
            true_value=value,
        )
        for number, (value, distance) in enumerate(zip(values, (0.5, None), strict=True))
    ]
    return nsm.Answer(info, tuple(readings), None, None)


def test_values_are_natural_and_what_does_not_act_is_nan(kinds):
    assert np.allclose(kinds.values, [[1, 0.5, 1000], [0, np.nan, 10**2.5]], equal_nan=True)
    assert np.isnan(kinds.std).tolist() == [[True, False, False], [True, True, False]]
    assert np.isnan(kinds.interval[..., 0]).tolist() == np.isnan(kinds.std).tolist()
    assert kinds.interval[0, 2].tolist() == pytest.approx([10 ** (3 - WIDTH * 0.05), 10 ** (3 + WIDTH * 0.05)])
    assert kinds["wave"].tolist() == ["saw <b>", "sine"]
    assert np.allclose(kinds["width"], [0.5, np.nan], equal_nan=True)
    assert kinds.units == ("", "", "<i>Hz")
    assert kinds.zone == ("inside", "")
    assert np.isnan(kinds.distance).tolist() == [False, True]
    assert np.isnan(kinds.db_away).all()
    assert np.array_equal(kinds.true_values, kinds.values, equal_nan=True)


def test_categories_are_shown_by_name_and_escaped(kinds):
    first, second = (repr(one.table()) for one in kinds)
    assert "saw <b>" in first
    assert "not active" in second
    page = kinds._repr_html_()
    assert "<b>" not in page
    assert "<i>" not in page
    assert html.escape("saw <b>") in page
    frame = kinds.to_dataframe()
    assert frame["wave"].tolist() == ["saw <b>", "sine"]
    assert "wave_std" not in frame
    assert frame["width"].isna().tolist() == [False, True]


def test_a_column_that_is_not_there_is_named(answer, data):
    for table in (answer, data):
        with pytest.raises(nsm.NSMError, match=r"cutof: there is no such parameter, only note_velocity, log10"):
            table["cutof"]


def test_a_dataframe_holds_the_arrays(answer):
    frame = answer.to_dataframe()
    assert frame["sound"].tolist() == list(answer.names)
    for p, spec in enumerate(answer.parameters):
        assert np.array_equal(frame[spec.name], answer.values[:, p])
        assert np.array_equal(frame[f"{spec.name}_std"], answer.std[:, p])
        assert np.array_equal(frame[[f"{spec.name}_low", f"{spec.name}_high"]], answer.interval[:, p])


def test_without_pandas_a_sentence_says_what_to_do(answer, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for table in (answer, data):
        with pytest.raises(nsm.NSMError, match=r"pandas is not installed\. Install it with"):
            table.to_dataframe()


# ----- sounds and pictures


def test_nothing_is_an_answer_too(net, data, answer):
    for nothing in (answer[:0], net.predict(data[:0])):
        assert nothing.values.shape == nothing.std.shape == (0, 2)
        assert nothing.interval.shape == (0, 2, 2)
        assert len(nothing.table()) == len(nothing.to_dataframe()) == len(nothing.to_dicts()) == 0
        assert len(nothing.refine()) == 0
        assert nothing.outside.shape == nothing["note_velocity"].shape == (0,)


def test_a_resynthesis_is_rendered_from_the_values(net, answer):
    for number in (1, -1):
        sound = answer.sound(number)
        expected = net.trained.recipe.render(answer.readings[number].value[None].astype(np.float64))[0]
        assert np.array_equal(sound, expected)
    assert sound.sample_rate == net.info.sample_rate
    assert sound.duration == net.info.duration


def test_the_original_is_what_the_network_got(answer, data):
    for number in range(2):
        heard = answer.original(number).waveform
        assert np.abs(heard).max() == pytest.approx(np.abs(answer.original(0).waveform).max(), rel=1e-3)
        shape = np.asarray(data.test[number].sound())
        assert np.corrcoef(heard, shape)[0, 1] > 0.99


def test_a_sound_is_saved_as_it_is_shown(answer, tmp_path):
    loud = Audio(4 * answer.sound().waveform / np.abs(answer.sound().waveform).max(), 8000, "loud")
    path = loud.save(tmp_path / "loud.wav")
    samples, rate = soundfile.read(path)
    assert rate == 8000
    assert np.abs(samples * 4 - loud.waveform).max() < 4 * 2 / 32767
    with pytest.raises(nsm.NSMError, match="cannot be written"):
        loud.save(path / "loud.wav")  # a file is no directory
    assert "too long" in Audio(np.zeros(8000 * 61), 8000)._repr_html_()


def test_pictures_are_figures_that_a_notebook_shows(answer, data, net):
    for figure in (answer.plot(), data[0].plot(), data[:5].plot(), net.predict(data[:2]).plot()):
        assert figure._repr_png_().startswith(b"\x89PNG")
        assert len(figure._repr_png_()) < 800_000


def test_a_picture_of_nothing_is_refused(data, answer):
    nothing = answer[:0]
    for wanted in (data[:0].plot, lambda: data.plot(channel=3), data[:0].sound, nothing.plot, nothing.sound):
        with pytest.raises(nsm.NSMError, match="does not exist"):
            wanted()


# ----- sequences


@pytest.fixture(params=["answer", "data", "runs"])
def sequence(request, answer, data, place):
    return {"answer": answer, "data": data, "runs": nsm.runs(place / "logs")}[request.param]


def test_sequences_are_indexed_as_arrays_are(sequence):
    n = len(sequence)
    assert n > 0
    assert len(list(sequence)) == n
    assert len(sequence[:0]) == 0
    assert len(sequence[:n]) == len(sequence[np.arange(n)]) == len(sequence[np.ones(n, dtype=bool)]) == n
    assert repr(sequence[np.int64(-1)]) == repr(sequence[n - 1]) == repr(list(sequence)[-1])
    for wrong in (n, -n - 1, [0, n], 1.5, [0.5], None, [[0]], np.ones(n + 1, dtype=bool), [[0], [0, 0]]):
        with pytest.raises(nsm.NSMError, match=r"does not exist|is no index"):
            sequence[wrong]
    for shown in (sequence, sequence[:1], sequence[:0]):
        assert 0 < len(repr(shown)) < 20_000
        assert "\x1b" not in repr(shown)
    for shown in (sequence[:1], sequence[:0]):
        page = shown._repr_html_()
        assert page.count("<") == page.count(">")


def test_an_index_out_of_bounds_ends_a_loop_as_pythons_own(data):
    with pytest.raises(IndexError):
        data[len(data)]
    split = VIMHReader(data.path).test
    assert len(list(split)) == len(split) == 13


def test_a_split_is_indexed_by_numbers(data):
    split = VIMHReader(data.path).train
    one, last, some = split[3], split[-1], split[[5, 3]]
    assert one.image.shape == some.image.shape[1:] == data.images.shape[1:]
    for name in one._fields:
        assert np.array_equal(getattr(one, name), getattr(some, name)[1])
        assert np.array_equal(getattr(last, name), getattr(split[:], name)[-1])


@pytest.mark.parametrize("item", [slice(None), slice(None, None, -7), [60, 3, 3, 51, 0], np.arange(64) % 3 == 0])
def test_samples_come_in_the_order_that_was_asked_for(data, item):
    numbers = numbers_of(item, 64)
    some = data[item]
    assert np.array_equal(some.images, data.images[numbers])
    assert np.array_equal(some.values, data.values[numbers])
    assert np.array_equal(some.spec_range, data.spec_range[numbers])
    assert some.names == tuple(data.names[number] for number in numbers)
    assert some.train.names + some.test.names == tuple(
        sorted(some.names, key=lambda name: not name.startswith("train"))
    )
    assert len(some.to_dataframe()) == len(numbers)


# ----- what is shown


def test_a_table_is_bounded_and_obeys_nothing(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # a notebook's kernel does
    wild = ("\x1b[31mred", "<script>x</script>", "日本", "x" * 500, "a\nb")
    table = TextTable(("name", "number"), tuple((text, "1") for text in wild * 40), ("name",), "title\x07", "below")
    shown, page = repr(table), table._repr_html_()
    assert "\x1b" not in shown + page
    assert "\x07" not in shown + page
    assert "<script>" not in page
    assert shown.count("\n") == MOST_ROWS + 4
    assert f"… and {200 - MOST_ROWS} more rows" in shown
    assert max(map(len, shown.splitlines())) < 110
    assert re.search(r"below$", shown)


def test_tables_of_usual_networks_fit_80_columns(answer, net, data, place):
    for shown in (answer, net.predict(data[:2]), data, nsm.runs(place / "logs")):
        lines = [line for line in repr(shown).splitlines() if not line.startswith("/") and ";" not in line]  # titles
        assert max(map(len, lines)) <= 80


def test_nothing_changes_afterwards(answer, net):
    for frozen, name in ((answer, "readings"), (net, "path"), (answer.sound(), "waveform"), (answer.table(), "rows")):
        with pytest.raises(AttributeError):
            setattr(frozen, name, None)
    before = answer.values
    answer.values[:] = 0
    answer.refine()
    assert np.array_equal(answer.values, before)


def test_runs_are_found_filtered_and_loaded(place):
    runs = nsm.runs(place / "logs")
    assert runs.best.name == "example/2026-01-31_12-00-00"
    assert len(runs.where(experiment="example", epochs=2)) == 1
    assert len(runs.where(complete=False)) == 0
    assert runs.where(complete=False).best is None
    with pytest.raises(nsm.NSMError, match="experimnt: runs have no such attribute"):
        runs.where(experimnt="example")
    assert nsm.load(runs[0], place / "logs").path == runs[0].checkpoint
    assert len(nsm.runs(Path("/nowhere"))) == 0
    assert "make ex" in repr(nsm.runs(Path("/nowhere")))
