"""Names, units, descriptions and titles out of files, in every table, figure, page and file that shows them."""

import csv
import functools
import inspect
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from cases import naming
from hostile_texts import HOSTILE, hostile
from omegaconf import OmegaConf

from scripts.pages import table as markdown_table
from src.callbacks.head_figures import INK, HeadPredictions, head_figure, pixels, spectrogram_figure
from src.checkpoints.trusted import instantiate_own
from src.evaluation.scoring import csv_text
from src.listening.report import Axes, Report, Side, Sound, render_report
from src.params import FixedParam, ParameterSpace, ParamSpec
from src.pictures.contact_sheet import Sheet, contact_sheet
from src.pictures.plots import matplotlib, png
from src.playback import Playback
from src.programs.output import PlainTable, console, plain_table, print_config_tree, write_config_tree
from src.readings.reading import RecordingReading
from src.readings.words import title_of
from src.recordings import Recording
from src.sheet.content import SheetContent, SplitContent
from src.sheet.saved import saved_page
from src.tasks.answer_tables import reading_table
from src.tasks.results import FIGURES, results_table
from src.text import IN_ASCII, name_of, printable
from src.vimh.axes import Axis, ChannelInfo
from src.vimh.format import METADATA_BYTES, record_dtype
from src.vimh.info import new_info
from src.vimh.reader import Batch, VIMHSplit

ROOT = Path(__file__).parents[1]
TEXTS = HOSTILE | {f"mixture {seed}": hostile(seed) for seed in range(4)}
every_text = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)


def each(law):
    """A test that a law holds for every text, which it gets as its last argument."""

    @functools.wraps(law)
    def test(*arguments, **fixtures):
        for name, text in TEXTS.items():
            with naming(name):
                law(*arguments, **fixtures, text=text)

    parameters = list(inspect.signature(law).parameters.values())
    test.__signature__ = inspect.Signature([parameter for parameter in parameters if parameter.name != "text"])
    return test


def printed(*renderables, encoding="utf-8", terminal=False, width=100):
    """What a console shows, as bytes."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=IN_ASCII)
    shown_on = console(file=stream, width=width)
    if terminal:
        shown_on = type(shown_on)(
            file=stream,
            width=width,
            force_terminal=True,
            color_system="truecolor",
            markup=False,
            emoji=False,
            highlight=False,
        )
    for renderable in renderables:
        shown_on.print(renderable)
    stream.flush()
    return stream.buffer.getvalue()


def spec_of(text, name="cutoff"):
    return ParamSpec(name, 0.0, 2.0, 1.0, text, text)


def class_of(text):
    return ParamSpec("wave", 0.0, 2.0, 1.0, text, text, (text, f"{text}2", "c"))


def results_of(text):
    row = dict.fromkeys(FIGURES, 0.5) | {"majority": 0.1, "mean_mae": 1.0, "mean_steps": 2.0, "visible": 0.1}
    return results_table({"cutoff": row | {"units": text}, "b": row | {"units": text}}, f"Results of {text}")


def reading_of(text):
    recording = Recording(Path(text.replace("\0", "")), np.zeros(8), 1.0, 0.0, (text,))
    nothing = np.zeros(1)
    arrays = dict.fromkeys(("waveform", "image", "spec_range", "value", "std", "by_gain"), nothing)
    about = {"name": name_of(recording.path), "gain_db": 0.0, "normalized": True, "distance": None, "apart": None}
    reading = RecordingReading(recording=recording, **arrays, **about)
    found = {"kind": "continuous", "active": True, "std": 0.1, "low": 0.0, "high": 1.0, "value": 0.5, "edge": None}
    found |= {"level_only": False, "steps_per_3_db": 0.0}
    entry = {"parameters": {"cutoff": found | {"units": text}}, "zone": None, "together": None, "refinement": None}
    return reading_table(title_of(reading), entry)


def facts_of(text):
    table = PlainTable(show_header=False)
    table.add_row("image", text)
    return table


def plain_of(text):
    table = plain_table(text, (text,), ("number",))
    table.add_row(text, "1")
    return table


TABLES = (results_of, reading_of, facts_of, plain_of)


# ----- the terminal


@pytest.mark.parametrize("table", TABLES)
@each
def test_tables_show_text_as_it_is_and_obey_nothing(table, text):
    shown = printed(table(text)).decode()
    assert shown == printable(shown)
    assert "│" not in shown
    ascii_only = printed(table(text), encoding="ascii")
    assert ascii_only.isascii()


@each
def test_a_line_shows_text_as_it_is(text):
    expected = printable(text).expandtabs(8)
    shown = printed(text, width=len(expected) + 1).decode()
    assert shown == f"{expected}\n" or "\t" in text


@each
def test_on_a_terminal_only_its_own_colours_are_sequences(text):
    shown = printed(results_of(text), plain_of(text), text, terminal=True).decode()
    without = re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert without == printable(without)
    assert "\x1b[31m" not in shown


@pytest.mark.parametrize("table", TABLES)
def test_ascii_has_no_boxes_and_columns_below_each_other(table):
    lines = printed(table("5 µs … ±"), encoding="ascii").decode().splitlines()
    assert "\\u" not in "".join(lines)
    assert any("5 us ... +/-" in line for line in lines)
    assert not any("|" in line for line in lines)


@each
def test_the_configuration_is_printed_whatever_it_holds(text, tmp_path, capsys):
    cfg = OmegaConf.create({"seed": text, "data": {"name": text}})
    print_config_tree(cfg)
    write_config_tree(cfg, tmp_path)
    shown = capsys.readouterr().out
    assert shown == printable(shown)
    (tmp_path / "config_tree.log").read_bytes().decode()


# ----- figures; warnings are errors, of missing glyphs too


def channel_of(text):
    axis = Axis(text, np.arange(4.0))
    return ChannelInfo(text, axis, replace(axis, centre=np.arange(6.0)), text, (0.0, 255.0))


def sheet_of(text):
    specs = (spec_of(text), class_of(text))
    value = np.tile([0.0, 1.0], (3, 1))
    batch = Batch(np.zeros((1, 1, 4, 6), np.uint8), np.zeros((1, 2), np.uint8), np.zeros((1, 0), np.float32), value[:1])
    return Sheet(text, "train", [channel_of(text)], specs, np.arange(1), batch, value, {"image": text})


@pytest.mark.slow
@every_text
def test_every_figure_is_drawn(text):
    sheet = sheet_of(text)
    assert png(contact_sheet(sheet)).startswith(b"\x89PNG")
    spec = spec_of(text)
    predicted = HeadPredictions(np.array([1, 2]), np.array([1.0, 2.0]), np.array([0.1, 0.1]))
    images, true = np.zeros((2, 1, 4, 6), np.uint8), np.array([[1.0], [2.0]])
    with matplotlib.rc_context(INK):
        assert pixels(head_figure(spec, np.array([0, 1]), np.array([0.0, 1.0]), predicted)).size
        assert pixels(spectrogram_figure([spec], images, {"value": true}, {spec.name: predicted})).size


# ----- pages


class Page(HTMLParser):
    """The elements of a page, and what its scripts contain."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "script":
            self.scripts.append(data)


def report_of(text):
    specs = (spec_of(text), class_of(text))
    value = np.array([0.5, 1.0])
    wave, db = np.zeros(80), np.zeros((4, 6))
    sound = Sound(text, [Side(text, wave, db, value), Side(f"a {text}", wave, db, value, None, {"mss": 1.0})], (text,))
    axes = Axes(np.arange(1, 5) * 100.0, np.arange(6) / 10)
    return Report(text, {"Dataset": text}, specs, 8000, axes, (), value[None], value[None], [sound], (text,))


@functools.cache
def report_page(text):
    return render_report(report_of(text))


def has_the_same_elements(page, text):
    written = page(text)
    written.encode()
    assert written == printable(written)
    assert Page(written).tags == Page(page("Hz")).tags


@each
def test_a_report_has_the_same_elements_whatever_the_text(text):
    has_the_same_elements(report_page, text)


def sheet_page_of(text):
    """The page of a dataset with a text wherever it has one, but for names that may not be any."""
    info = new_info(
        "a",
        (1, 4, 6),
        ParameterSpace((spec_of(text), class_of(text)), (FixedParam("fixed", 1.0, text),)),
        {"train": 2, "test": 0},
        channel_labels=(text,),
        channel_axes=({"rows": text, "columns": text, "row_units": text},),
        channel_ranges=((0.0, 1.0, text),),
    )
    records = np.zeros(2, record_dtype((1, 4, 6), 2, METADATA_BYTES))
    records["height"], records["width"], records["channels"], records["n_parameters"] = 4, 6, 1, 2
    records["labels"]["id"] = 0, 1
    split = SplitContent(VIMHSplit(records, info, Path("train"), None))
    content = SheetContent(text, info, {"train": split}, Playback(info, instantiate_own), {text: text})
    return saved_page(content, 1_000_000).content.decode()


@each
def test_the_page_of_a_dataset_has_the_same_elements_whatever_the_text(text):
    has_the_same_elements(sheet_page_of, text)


@each
def test_the_data_of_a_page_is_the_text_with_escapes(text):
    data = next(script for script in Page(report_page(text)).scripts if script.startswith("{"))
    assert json.loads(data)["sounds"][0]["name"] == printable(text)


# ----- files


@each
def test_a_table_as_csv_is_the_text_with_escapes(text):
    written = csv_text(["file", text], [[text, 1.5], ["a", 2]])
    rows = list(csv.reader(io.StringIO(written.encode().decode(), newline="")))
    assert rows == [["file", printable(text)], [printable(text), "1.5"], ["a", "2"]]


@each
def test_a_table_in_markdown_keeps_its_cells(text):
    lines = markdown_table(("name", "value"), [(text, "1"), ("b", "2")])
    assert len(lines) == 4
    assert all(len(line.splitlines()) == 1 and len(re.findall(r"(?<!\\)\|", line)) == 3 for line in lines)


# ----- the programs


@pytest.mark.slow
def test_programs_go_through_with_a_hostile_set_in_ascii(tmp_path):
    text = HOSTILE["closing markup"] + HOSTILE["colours"] + HOSTILE["turned text"] + HOSTILE["half a formula"] + " µ |"
    quoted = '"' + text.replace("\\", "\\\\") + '"'
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"}
    places = (f"paths.data_dir={tmp_path}", f"paths.log_dir={tmp_path}/logs")

    def run(*command):
        done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, timeout=600)
        shown = (done.stdout + done.stderr).decode("ascii")
        assert done.returncode == 0, shown
        assert shown == printable(shown)
        return shown

    parameter = "parameters.note_velocity"
    made = ("dataset.size=48", "dataset.name=saw", f"output_dir={tmp_path}", f"hydra.run.dir={tmp_path}")
    run("generate_vimh.py", *made, f"{parameter}.units={quoted}", f"{parameter}.description={quoted}")
    training = (f"data.data_dir={tmp_path}/saw", "data.make_dataset=null", "data.batch_size=8", "trainer.max_epochs=1")
    assert r"\x1b[31m" in run("src/train.py", "model=cnn_micro", "trainer.accelerator=cpu", *places, *training)
    (ckpt_path,) = (tmp_path / "logs" / "train").rglob("last.ckpt")
    assert r"\x1b[31m" in run("src/eval.py", f"ckpt_path={ckpt_path}", *places)
    listening = ("num_samples=2", "n_listen=1")
    assert r"\x1b" in run("src/audio_eval.py", f"ckpt_path={ckpt_path}", *places, *listening)
    recording = tmp_path / "a [b]\x1b[31m.wav"
    soundfile.write(recording, np.sin(np.arange(8000) / 4), 8000)
    assert r"\x1b[31m" in run("src/predict.py", f"ckpt_path={ckpt_path}", f"audio={tmp_path}/*.wav", *places)
    assert r"\x1b[31m" in run("display_vimh.py", f"{tmp_path}/saw", "--info", "--save", f"{tmp_path}/sheet.png")
