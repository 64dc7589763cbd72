import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from src.errors import VIMHError
from src.params import ParamSpec
from src.pictures.contact_sheet import Sheet, contact_sheet
from src.pictures.plots import (
    COLORS,
    colors_between,
    draw_histogram,
    draw_spectrogram,
    pair_figure,
    png,
    value_text,
)
from src.spectral.functional import mel_filterbank
from src.vimh.axes import Axis, ChannelInfo, channels_of, limits, mel_centres
from src.vimh.info import DatasetInfo
from src.vimh.reader import Batch

CUTOFF = ParamSpec("filter_cutoff", 200.0, 2000.0, 100.0, "Hz")
SPECS = (CUTOFF, ParamSpec("wave", 0.0, 2.0, 1.0, names=("sine", "saw", "square")))
MEL = {"f_min": 50, "f_max": 4000, "mel_scale": "htk"}
PIXELS = ChannelInfo("pixels", Axis("row", np.arange(4)), Axis("column", np.arange(6)), "level", (0.0, 255.0))


def info_of(**changes):
    entries = {
        "format": "VIMH",
        "version": "2.1",
        "height": 4,
        "width": 6,
        "channels": 2,
        "parameter_names": ["p"],
        "train_samples": 2,
        "test_samples": 0,
        "parameter_mappings": {"p": {"min": 0.0, "max": 1.0, "step": 0.5}},
    }
    return DatasetInfo.from_dict(entries | changes, "a test")


def sheet_of(n_samples=5, n_channels=2, specs=SPECS, title="a set", units="dB"):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (n_samples, n_channels, 4, 6)).astype(np.uint8)
    axes = Axis("frequency (Hz)", np.arange(1, 5) * 100.0), Axis("time (s)", np.arange(6) / 10)
    value = np.stack([spec.value_from_normalized(rng.random(50)) for spec in specs], axis=1)
    spec_range = np.float32(np.tile([-80.0, 0.0], (n_samples, 1)))
    batch = Batch(image, np.zeros((n_samples, len(specs)), np.uint8), spec_range, value[:n_samples])
    channels = [ChannelInfo(f"channel {number}", *axes, units, None) for number in range(n_channels)]
    return Sheet(title, "train", channels, specs, np.arange(n_samples), batch, value, {"image": "4x6x2"})


def check_inside(figure):
    """Nothing that is drawn is cut off by the figure's edge."""
    FigureCanvasAgg(figure)
    box = figure.get_tightbbox()  # inches
    width, height = figure.get_size_inches()
    assert (box.x0 >= 0, box.y0 >= 0, box.x1 <= width, box.y1 <= height) == (True,) * 4, box


def test_a_rising_parameter_moves_energy_up_in_the_picture(recipe_of):
    recipe = recipe_of(config_name="synth/generate_moog_basic")
    (channel,) = channels_of(recipe.info("basic"), has_spec_range=True)
    value = np.tile([[120.0, 0.0, 0.0, 0.0]], (8, 1))
    value[:, 2] = np.linspace(300, 2000, 8)  # filter_cutoff
    image, spec_range = recipe.represent(recipe.render(value))
    heights = []
    for level in channel.levels(image[:, 0], spec_range):
        axes = Figure().add_subplot()
        drawn = draw_spectrogram(axes, level, channel, (-90, 0))
        shown = drawn.get_array()
        low, high = axes.get_ylim()
        assert drawn.origin == "lower"
        assert low < high
        power = 10 ** (shown / 10)
        heights.append((power.sum(axis=1) @ np.arange(len(shown))) / power.sum())
    assert (np.diff(heights) > 0).all()


def test_the_lowest_row_is_drawn_at_the_bottom():
    level = np.zeros((4, 6))
    level[0] = 255
    figure = Figure(figsize=(1, 1), dpi=40)
    draw_spectrogram(figure.add_axes((0, 0, 1, 1)), level, PIXELS, (0, 255))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    brightness = np.asarray(canvas.buffer_rgba())[..., :3].mean(axis=(1, 2))
    assert brightness[35] > 200  # from the top
    assert brightness[5] < 50


def test_rows_are_where_the_dataset_has_them(recipe_of):
    for name in ("moog_basic", "moog_envelope"):
        recipe = recipe_of(config_name=f"synth/generate_{name}")
        (channel,) = channels_of(recipe.info(name), has_spec_range=True)
        n_samples = recipe.representation.n_samples
        for row in (3, 20):
            hz = channel.rows.centre[row]
            sine = np.sin(2 * np.pi * hz * np.arange(n_samples) / recipe.representation.sample_rate)
            image, _ = recipe.represent(np.float32(sine)[None])
            assert image[0, 0].sum(axis=1).argmax() == row


def test_columns_are_where_the_dataset_has_them(recipe_of):
    recipe = recipe_of(config_name="synth/generate_moog_envelope")
    (channel,) = channels_of(recipe.info("envelope"), has_spec_range=True)
    click = np.zeros((1, recipe.representation.n_samples), np.float32)
    click[0, round(channel.columns.centre[10] * recipe.representation.sample_rate)] = 1
    image, _ = recipe.represent(click)
    assert image[0, 0].sum(axis=0).argmax() == 10


@pytest.mark.parametrize("mel_scale", ["htk", "slaney"])
def test_mel_centres_are_the_peaks_of_the_filters(mel_scale):
    filters = mel_filterbank(4001, 32, 50.0, 4000.0, 8000, None, mel_scale)  # a bin a Hz
    assert mel_centres(32, 50.0, 4000.0, mel_scale) == pytest.approx(filters.argmax(dim=1).numpy(), abs=1)


def test_positions_and_values_are_inverse():
    axis = Axis("frequency (Hz)", mel_centres(32, 50.0, 4000.0, "slaney"))
    for position in (-0.5, 0.0, 3.25, 31.5):
        assert axis.position(axis.value(position)) == pytest.approx(position)


@pytest.mark.parametrize("centre", [mel_centres(32, 50.0, 4000.0, "slaney"), np.arange(1, 33) * 100.0, np.array([5.0])])
def test_ticks_are_few_round_and_inside(centre):
    axis = Axis("frequency (Hz)", centre)
    positions, labels = axis.ticks(5)
    assert (2 if len(centre) > 1 else 1) <= len(labels) <= 6
    assert [axis.value(position) for position in positions] == pytest.approx([float(label) for label in labels])
    assert all(-0.5 <= position <= len(centre) - 0.5 for position in positions)
    assert all(np.diff(positions) >= len(centre) / 7)


@pytest.mark.parametrize(
    ("changes", "rows", "columns"),
    [
        ({}, "row", "column"),
        ({"duration": 2.0}, "row", "time (s)"),
        ({"sample_rate": 8000, "spectrogram_config": {"n_fft": 64}}, "frequency (Hz)", "column"),
        (
            {"sample_rate": 8000, "spectrogram_config": {"n_fft": "64", "hop_length": 0, "win_length": 1}},
            "row",
            "column",
        ),
        (
            {"sample_rate": 8000, "mel_config": {"f_min": 50, "f_max": 4000, "mel_scale": "htk"}},
            "frequency (Hz)",
            "column",
        ),
        ({"sample_rate": 8000, "spectrogram_config": {"n_fft": 64}, "mel_config": {"n_mels": 4}}, "row", "column"),
    ],
)
def test_axes_say_no_more_than_is_known(changes, rows, columns):
    for channel in channels_of(info_of(**changes), has_spec_range=True):
        assert (channel.rows.label, channel.columns.label) == (rows, columns)
        assert (len(channel.rows.centre), len(channel.columns.centre)) == (4, 6)


def test_channels_have_their_own_units_and_axes():
    info = info_of(
        channel_labels=["level", "delay"],
        channel_ranges=[None, [-1.0, 1.0, "ms"]],
        channel_axes=[{}, {"rows": "quefrency (ms)"}],
        duration=1.0,
    )
    level, delay = channels_of(info, has_spec_range=True)
    assert (level.units, level.ends) == ("dB", None)
    assert (delay.name, delay.units, delay.ends) == ("delay", "ms", (-1.0, 1.0))
    assert (delay.rows.label, delay.columns.label) == ("quefrency (ms)", "time (s)")
    image = np.uint8([[[0, 255]]])
    assert level.levels(image, np.float32([[-80, 0]])).tolist() == [[[-80.0, 0.0]]]
    assert delay.levels(image, np.float32([[-80, 0]])) == pytest.approx(np.array([[[-1.0, 1.0]]]))


def test_axes_lie_where_the_dataset_says_and_else_where_a_spectrogram_has_them():
    placed = {"rows": "bit", "row_first": 0, "row_step": 2, "columns": "lag", "column_first": 0.5, "column_step": 0.25}
    modulation = {"columns": "modulation", "column_first": 5, "column_step": 5, "column_units": "Hz"}
    bad = {"rows": "depth", "row_first": "0", "row_step": 1, "columns": "lag", "column_first": 0, "column_step": 0}
    info = info_of(
        channels=3,
        channel_labels=["a", "b", "c"],
        channel_axes=[placed | {"column_units": "s"}, modulation, bad],
        sample_rate=8000,
        spectrogram_config={"n_fft": 8},
    )
    first, second, third = channels_of(info, has_spec_range=True)
    assert (first.rows.label, first.columns.label) == ("bit", "lag (s)")
    assert first.rows.centre.tolist() == [0, 2, 4, 6]
    assert first.columns.centre.tolist() == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    assert (second.rows.label, second.columns.label) == ("frequency (Hz)", "modulation (Hz)")
    assert second.rows.centre.tolist() == [1000, 2000, 3000, 4000]
    assert second.columns.centre.tolist() == [5, 10, 15, 20, 25, 30]
    assert (third.rows.label, third.columns.label) == ("depth", "lag")
    assert third.rows.centre.tolist() == [0, 1, 2, 3]
    assert third.columns.centre.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("ends", [(-2.0, 2 * 127 / 128), (-1.0, 127 / 128), (-40.0, 40.0)])
def test_what_deviates_to_both_sides_has_no_deviation_in_the_middle_of_its_colours(ends):
    colors = colors_between(ChannelInfo("c", PIXELS.rows, PIXELS.columns, "hops", ends), (-0.2, 0.7))
    assert (colors["vmin"], colors["vmax"]) == (-0.7, 0.7)
    assert colors["cmap"] != COLORS


@pytest.mark.parametrize("ends", [None, (-100.0, 0.0), (0.0, 255.0), (-60.0, 20.0)])
def test_levels_reach_from_their_lowest_colour_to_their_highest(ends):
    colors = colors_between(ChannelInfo("c", PIXELS.rows, PIXELS.columns, "dB", ends), (-30.0, 5.0))
    assert colors == {"cmap": COLORS, "vmin": -30.0, "vmax": 5.0}


def test_without_a_range_levels_are_pixels():
    channel, _ = channels_of(info_of(), has_spec_range=False)
    assert channel.units == "level"
    assert channel.levels(np.uint8([[[7]]]), np.empty((1, 0), np.float32)).tolist() == [[[7.0]]]


@pytest.mark.parametrize("key", ["channel_ranges", "channel_axes"])
def test_descriptions_of_other_channels_are_refused(key):
    with pytest.raises(VIMHError, match=f"{key} has 1 entries for 2 channels"):
        channels_of(info_of(**{key: [None if key == "channel_ranges" else {}]}), has_spec_range=True)


def test_silence_has_limits_too():
    assert limits(np.full((2, 2), -120.0)) == (-120.0, -119.0)


def test_a_histogram_counts_every_sample_in_its_class():
    axes = Figure().add_subplot()
    value = np.array([200.0, 249.0, 251.0, 2000.0])
    draw_histogram(axes, CUTOFF, value)
    (bars,) = axes.patches
    counts, edges, _ = bars.get_data()
    assert (counts.sum(), counts[0], counts[1], counts[-1]) == (4, 2, 1, 1)
    assert (edges[0], edges[-1]) == (150.0, 2050.0)
    assert axes.get_xlabel() == "filter_cutoff (Hz)"


@pytest.mark.parametrize(
    ("spec", "value", "expected"),
    [(CUTOFF, 812.4321, "812.4 Hz"), (SPECS[1], 2.0, "square"), (ParamSpec("r", 0.0, 1.0, 0.5), 0.25, "0.25")],
)
def test_values_are_written_in_natural_units(spec, value, expected):
    assert value_text(spec, value) == expected


MANY = tuple(ParamSpec(f"a_parameter_with_quite_a_long_name_{number}", 0.0, 1.0, 0.1, "$unit$") for number in range(22))


@pytest.mark.parametrize(("n_samples", "n_channels", "specs"), [(1, 1, SPECS), (5, 2, SPECS[:1]), (1, 1, MANY)])
def test_a_contact_sheet_holds_everything_inside(n_samples, n_channels, specs):
    figure = contact_sheet(sheet_of(n_samples, n_channels, specs, title="a very long title " * 20))
    images = [axes for axes in figure.axes if axes.images]
    assert len(images) == n_samples * n_channels
    assert len(figure.axes) == len(images) + n_channels + len(specs)  # and colour bars, and histograms
    assert {f"train {number}" for number in range(n_samples)} <= {text.get_text() for text in figure.texts}
    check_inside(figure)


def test_a_long_name_gives_way_to_its_value():
    sheet = sheet_of(1, 1, MANY)
    lines = [text.get_text() for text in contact_sheet(sheet).texts if text.get_text().startswith("a_parameter")]
    values = [value_text(spec, value) for spec, value in zip(MANY, sheet.batch.value[0], strict=True)]
    assert [line.endswith(f"… {value}") for line, value in zip(lines, values, strict=False)] == [True] * 19


def test_pictures_of_a_channel_share_their_colours():
    figure = contact_sheet(sheet_of(3, 2))
    ends = [axes.images[0].get_clim() for axes in figure.axes if axes.images]
    assert ends[:3] == [ends[0]] * 3
    assert ends[3:] == [ends[3]] * 3


def test_a_pair_shares_its_colours(recipe_of):
    info = recipe_of("dataset.size=8").info("saw")
    true, predicted = np.full((32, 32), -20.0), np.full((32, 32), -70.0)
    figure = pair_figure(info, true, predicted, [("decay", "1", "2 s")])
    first, second, _ = figure.axes
    assert first.images[0].get_clim() == second.images[0].get_clim() == (-70, -20)
    assert (first.get_xlabel(), first.get_ylabel()) == ("time (s)", "frequency (Hz)")
    assert [text.get_text() for text in figure.texts] == ["\ndecay", "true\n1", "predicted\n2 s"]
    check_inside(figure)


def test_the_same_sheet_is_the_same_file():
    assert png(contact_sheet(sheet_of(1, 1))) == png(contact_sheet(sheet_of(1, 1)))
