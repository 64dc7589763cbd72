import base64
import html
import io
import json
import math
import re
import zlib
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from reports import (
    HOSTILE,
    N_ALL,
    N_SAMPLES,
    PARAMETERS,
    SAMPLE_RATE,
    changed,
    make_prediction,
    make_refined,
    make_report,
)

from src.errors import ConfigError
from src.evaluation.audio_metrics import bootstrap_interval
from src.evaluation.scoring import summarize
from src.listening import figures as module
from src.listening.figures import confusions
from src.listening.report import render_report
from src.pages.encoding import encode_wav
from src.pages.formats import format_number


class Page(HTMLParser):
    """Tags with their attributes, and the texts of scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.raw, self.inside = [], [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag if tag in ("script", "style") else None

    def handle_data(self, data):
        if self.inside:
            self.raw.append((self.inside, data))
            self.inside = None


@pytest.fixture(scope="module")
def page():
    return render_report(make_report())


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])


def numbers_of(page, place):
    """Numbers of 16 bits at a place of the block: sums of differences, all low bytes before all high bytes."""
    packed = re.search(r'<script type="text/plain" id="block">(.*?)</script>', page)[1]
    (first, count), content = place, zlib.decompress(base64.b64decode(packed))
    low, high = np.frombuffer(content[first : first + 2 * count], np.uint8).reshape(2, count).astype(np.uint16)
    return np.cumsum(low + 256 * high, dtype=np.uint16)


def samples_of(page, place):
    return numbers_of(page, place).view(np.int16) / 32767


def text_of(page):
    return html.unescape(re.sub(r"<[^>]+>", "", page))


def test_names_from_a_dataset_are_text(page):
    parsed = Page(page)
    assert [tag for tag, _ in parsed.tags].count("script") == 3  # sounds and pictures, data, the one that runs
    assert all(set(attributes) <= {"id", "type"} for tag, attributes in parsed.tags if tag == "script")
    assert HOSTILE not in page
    assert page.count(html.escape(HOSTILE).replace("&quot;", "&#34;")) >= 4  # title, heading, fact, list
    assert data_of(page)["sounds"][-1]["name"] == HOSTILE
    assert data_of(page)["sounds"][-1]["notes"] == [HOSTILE]


def test_the_page_needs_nothing_outside(page):
    parsed = Page(page)
    outside = [
        attributes[name] for _, attributes in parsed.tags for name in ("src", "href", "action") if name in attributes
    ]
    assert set(outside) == {"#sounds", "data:,"}
    assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttpRequest|innerHTML", page)


def test_the_policy_names_the_script_and_the_style_that_are_there(page):
    parsed = Page(page)
    (policy,) = (a["content"] for _, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    style, _, _, script = parsed.raw
    for kind, text in (style, script):
        digest = base64.b64encode(sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=50))
def test_a_wav_file_holds_the_waveform_to_half_a_step(samples):
    waveform, rate = soundfile.read(io.BytesIO(encode_wav(np.array(samples), SAMPLE_RATE)), dtype="int16")
    assert rate == SAMPLE_RATE
    assert np.abs(waveform / 32767 - samples).max() <= 0.5 / 32767 + 1e-12


def test_the_page_holds_both_waveforms(page):
    for sound, told in zip(make_report().sounds, data_of(page)["sounds"], strict=True):
        for side, place in zip(sound.sides, told["waves"], strict=True):
            samples = samples_of(page, place)
            assert samples.size == N_SAMPLES
            np.testing.assert_allclose(samples, side.waveform, atol=0.5001 / 32767)
    assert data_of(page)["rate"] == SAMPLE_RATE


def test_a_sound_beyond_full_scale_is_played_softer_and_said_so():
    report = make_prediction()
    loud = changed(report.sounds[0], 1, waveform=4 * report.sounds[0].sides[0].waveform)
    page = render_report(replace(report, sounds=[loud]))
    (told,) = data_of(page)["sounds"]
    true, predicted = (samples_of(page, place) for place in told["waves"])
    assert np.abs(predicted).max() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(predicted, 4 * true, atol=1e-4)
    assert told["peak"] == pytest.approx(np.abs(loud.sides[1].waveform).max(), abs=1e-6)
    assert "softer" in told["notes"][-1]


def test_the_shorter_of_two_sounds_ends_in_silence():
    report = make_prediction()
    short = changed(report.sounds[0], 1, waveform=report.sounds[0].sides[1].waveform[:100])
    page = render_report(replace(report, sounds=[short]))
    samples = samples_of(page, data_of(page)["sounds"][0]["waves"][1])
    assert samples.size == N_SAMPLES
    assert not samples[100:].any()


def test_all_pictures_share_one_scale_and_hold_their_levels(page):
    data = data_of(page)
    bottom, top = data["levels"]
    assert (top, bottom) == (0, -80)
    for sound, told in zip(make_report().sounds, data["sounds"], strict=True):
        for side, place in zip(sound.sides, told["pictures"], strict=True):
            shown = bottom + numbers_of(page, place).reshape(side.spectrogram_db.shape) / 65535 * (top - bottom)
            assert np.abs(shown - np.maximum(side.spectrogram_db, bottom)).max() <= 0.5 * (top - bottom) / 65535 + 1e-9


def test_the_summary_is_mean_median_and_bootstrap_interval():
    report = make_report()
    rows = summarize(report.scores, 3, report.parameters)
    figures = [*(spec.name for spec in PARAMETERS if not spec.names), "wave_acc", "wave_f1"]
    names = [*report.scores[0].metrics, *figures]
    assert [(row.estimate, row.metric) for row in rows] == [(a.name, name) for a in report.scores for name in names]
    for row in rows:
        answer = next(answer for answer in report.scores if answer.name == row.estimate)
        values = answer.metrics.get(row.metric)
        if row.metric == "wave_f1":
            assert (row.mean, row.median, row.low, row.high) == (answer.f1["wave"], None, None, None)
            continue
        if row.metric == "wave_acc":
            values = (answer.errors[:, 2] == 0).astype(float)
            assert row.median is None
        elif values is None:
            values = answer.errors[:, [spec.name for spec in PARAMETERS].index(row.metric)]
        assert (row.mean, row.median) == (values.mean(), None if row.metric == "wave_acc" else np.median(values))
        assert (row.low, row.high) == bootstrap_interval(values, 3)


def test_the_page_shows_what_summarize_says(page):
    report = make_report()
    cells = re.findall(
        r'class="mean">(.*?)</span>(?: <span class="median">median (.*?)</span>)?\s*'
        r'(?:<span class="interval"><span class="unseen">interval </span>(.*?) to (.*?)</span>)?',
        page,
    )
    shown = np.array([[math.nan if text in "–" else float(text.replace("−", "-")) for text in cell] for cell in cells])
    rows = {(row.metric, row.estimate): row for row in summarize(report.scores, report.seed, report.parameters)}
    figures = [*(spec.name for spec in PARAMETERS if not spec.names), "wave_acc", "wave_f1"]
    lines = [*figures, "mss", "stft_pcc", "snr"]
    ordered = [rows[line, answer.name] for line in lines for answer in report.scores]
    expected = np.array([[row.mean, row.median, row.low, row.high] for row in ordered], dtype=float)
    np.testing.assert_array_equal(np.isnan(shown), np.isnan(expected))
    width = np.nan_to_num(expected[:, 3] - expected[:, 2], nan=0.01)  # F1 has no interval: three digits
    assert (np.nan_to_num(np.abs(shown - expected)) <= 0.05 * width[:, None]).all()


def test_the_tables_say_what_the_page_does_not_show(page):
    text = text_of(page)
    assert "Sensitive to phase" in text
    assert "95 % bootstrap interval" in text
    for words in ("lower is better", "higher is better", "Signal-to-noise ratio", "stft_pcc", "filter_cutoff"):
        assert words in text


def test_every_sound_is_a_dot_within_its_frame():
    pictures = module.scatters(make_report())
    assert len(pictures) == sum(not spec.categorical for spec in PARAMETERS)
    for picture in pictures:
        x, y = np.array([dot.split() for dot in picture["dots"].replace("h0", "").split("M")[1:]], dtype=float).T
        frame = picture["frame"]
        assert len(x) == N_ALL
        assert frame["left"] <= x.min() <= x.max() <= frame["right"]
        assert frame["top"] <= y.min() <= y.max() <= frame["bottom"]


def test_a_dot_of_no_error_lies_on_the_zero_line():
    report = replace(make_report(), scores=())
    page = render_report(replace(report, value=report.true_value))
    for zero, dots in re.findall(r'class="zero" d="M\d+ ([\d.]+)H.*?class="dots" d="(.*?)"', page, flags=re.DOTALL):
        assert set(re.findall(r" ([\d.]+)h0", dots)) == {f"{float(zero):g}"}


def test_without_true_values_what_needs_them_is_left_out():
    page = render_report(make_prediction())
    text = text_of(page)
    assert "Absolute error" not in text
    assert "Error over true value" not in text
    data = data_of(page)
    assert data["sides"] == ["Recording", "Predicted"]
    assert data["means"] is None
    for sound in data["sounds"]:
        assert sound["true"] is None
        assert all(not {"error", "steps"} & set(entry) for (answer,) in [sound["answers"]] for entry in answer)
    assert {figure["group"] for figure in data["figures"]} == {"Metrics"}


def test_what_is_not_finite_is_missing_in_the_data():
    report = make_prediction()
    sound = changed(report.sounds[0], 1, std=np.array([1.0, np.nan, np.inf]), metrics={"mss": float("nan")})
    (told,) = data_of(render_report(replace(report, sounds=[sound])))["sounds"]
    (answer,) = told["answers"]
    assert [entry.get("spread") for entry in answer] == [" ± 1.0", None, None]
    assert [[name for name, *_ in entry["marks"]] for entry in answer] == [["spread", "guess"], ["guess"], ["guess"]]
    assert told["metrics"] == [["–"]]


def test_every_answer_has_its_own_numbers():
    page = render_report(make_refined())
    data = data_of(page)
    assert data["sides"] == ["True", "Refined", "Unrefined", "Neighbour"]
    names = [metric["name"] for metric in data["metrics"]]
    for sound, told in zip(make_refined().sounds, data["sounds"], strict=True):
        assert len(told["waves"]) == len(told["pictures"]) == 4
        for side, answer, metrics in zip(sound.sides[1:], told["answers"], told["metrics"], strict=True):
            shown = [float(entry["text"].replace("−", "-")) for entry in answer[:2]]
            assert shown == pytest.approx(side.value[:2].tolist(), abs=0.51)
            assert ("spread" in answer[0]) == (side.std is not None)
            expected = [format_number(side.metrics.get(name)) for name in names]
            assert metrics == expected


def test_a_metric_that_is_not_defined_here_is_shown_by_its_name():
    report = make_report()
    answer = replace(report.scores[0], metrics={"mss": np.ones(3), "residual": np.full(3, 2.5)})
    sounds = [changed(sound, 1, metrics={"residual": 1.0, **sound.sides[1].metrics}) for sound in report.sounds]
    page = render_report(replace(report, scores=[answer], sounds=sounds))
    data = data_of(page)
    assert [metric["name"] for metric in data["metrics"]] == ["mss", "stft_pcc", "snr", "residual"]
    assert (data["sounds"][0]["metrics"][0][-1], data["means"][-1]) == ("1.00", "2.50")
    assert "residual" in text_of(page)


def test_places_of_a_value_that_is_not_finite_are_numbers():
    report = make_prediction()
    sound = changed(report.sounds[0], 1, value=np.array([np.nan, np.inf, 1.0]))
    (told,) = data_of(render_report(replace(report, sounds=[sound])))["sounds"]
    (answer,) = told["answers"]
    assert [entry["text"] for entry in answer] == ["–", "–", "square"]
    assert all(0 <= place <= 1 for entry in answer for _, place, _ in entry["marks"])


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (0, {"spectrogram_db": np.zeros((3, 4))}, r"spectrogram_db has the shape \(3, 4\)"),
        (1, {"value": np.zeros(2)}, r"value has the shape \(2,\)"),
        (1, {"std": np.zeros(4)}, r"std has the shape \(4,\)"),
        (1, {"waveform": np.array([0.0, np.nan])}, "test 1, Predicted: the waveform must be finite"),
        (0, {"waveform": np.zeros((2, 5))}, "test 1, Recording: the waveform"),
        (0, {"spectrogram_db": np.full((8, 12), np.nan)}, "a level of spectrogram_db is not finite"),
        (1, {"name": "Another"}, "its sides are Recording, Another; every sound needs the same"),
    ],
)
def test_what_contradicts_itself_is_refused(number, change, message):
    report = make_prediction()
    with pytest.raises(ConfigError, match=message):
        render_report(replace(report, sounds=[report.sounds[0], changed(report.sounds[1], number, **change)]))


@pytest.mark.parametrize("count", [1, 5])
def test_a_sound_has_two_to_four_sides(count):
    sound = make_report().sounds[0]
    sides = [replace(sound.sides[0], name=str(i)) for i in range(count)]
    with pytest.raises(ConfigError, match="two to 4"):
        render_report(replace(make_prediction(), sounds=[replace(sound, sides=sides)]))


def test_a_report_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="one sound or more"):
        render_report(replace(make_prediction(), sounds=[]))


@pytest.mark.parametrize(
    ("number", "decimals", "text"),
    [
        (0.0, None, "0"),
        (1234.5, None, "1234"),
        (12.345, None, "12.3"),
        (-0.01234, None, "−0.0123"),
        (0.00001234, None, "1.2e−05"),
        (-0.001, 2, "0.00"),
        (-1.0, 1, "−1.0"),
        (float("nan"), None, "–"),
    ],
)
def test_numbers_are_written_for_people(number, decimals, text):
    assert format_number(number, decimals) == text


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
def test_ticks_are_few_within_the_axis_and_say_where_they_are(low, width):
    ticks = module.ticks(low, low + width)
    places = np.array([place for place, _ in ticks])
    assert 2 <= len(ticks) <= 6
    assert low - 1e-6 * width <= places.min() <= places.max() <= low + width * (1 + 1e-6)
    said = [float(text.replace("−", "-")) for _, text in ticks]
    np.testing.assert_allclose(said, places, atol=1e-6 * width)


def test_classes_are_counted_by_the_true_one_and_the_one_that_was_said():
    report = make_report()
    (found,) = confusions(report)
    spec = PARAMETERS[2]
    true, said = (spec.index_from_value(of[:, 2]).astype(int) for of in (report.true_value, report.value))
    assert found["name"] == "wave"
    for number, (name, counts) in enumerate(found["rows"]):
        assert name == spec.names[number]
        assert counts == np.bincount(said[true == number], minlength=3).tolist()
    assert "<summary>Confusion of wave</summary>" in render_report(report)
    assert confusions(make_prediction()) == []
