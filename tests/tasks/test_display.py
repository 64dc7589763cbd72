"""The program display_vimh.py: what it prints, writes and returns."""

import fcntl
import http.client
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
from asking import ask
from matplotlib.image import imread

import src.tasks.display
from display_vimh import main
from scripts import to_vimh
from src.errors import ConfigError, VIMHError
from src.tasks.display import find_channel, newest_dataset
from src.vimh.format import INFO_NAME, METADATA_BYTES_2_0, SPLITS, record_dtype
from src.vimh.info import DatasetInfo

ROOT = Path(__file__).parents[2]


@pytest.fixture
def without_display(monkeypatch, tmp_path):
    """No display, and a root directory of the test."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(src.tasks.display, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def copy(saw_dir, tmp_path):
    """A copy of the saw dataset, to be changed."""
    return shutil.copytree(saw_dir, tmp_path / "data" / saw_dir.name)


@pytest.fixture(scope="module")
def foreign_dir(tmp_path_factory):
    """A set as an older program may have left it: two channels, format 2.0, no exact values, no word on the sounds."""
    info = {
        "format": "VIMH",
        "version": "2.0",
        "height": 4,
        "width": 6,
        "channels": 2,
        "channel_labels": ["level", "delay"],
        "parameter_names": ["p"],
        "train_samples": 3,
        "test_samples": 0,
        "parameter_mappings": {"p": {"min": 0.0, "max": 1.0, "step": 0.5}},
    }
    data_dir = tmp_path_factory.mktemp("foreign") / "old"
    data_dir.mkdir()
    records = np.zeros(3, record_dtype((2, 4, 6), 1, METADATA_BYTES_2_0))
    records["height"], records["width"], records["channels"], records["n_parameters"] = 4, 6, 2, 1
    records["labels"]["code"][:, 0] = 0, 128, 255
    records["image"] = np.arange(144).reshape(3, 2, 4, 6)
    (data_dir / "train").write_bytes(records.tobytes())
    (data_dir / INFO_NAME).write_text(DatasetInfo.from_dict(info, "a test").to_json())
    return data_dir


def test_without_a_terminal_there_is_a_file_with_the_page(without_display, saw_dir, capsys):
    assert main([str(saw_dir)]) == 0
    *_, holds, path = capsys.readouterr().out.splitlines()
    path = Path(path)
    assert holds.startswith("This file holds all 51 train records, all 13 test records")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", path.parent.name)
    assert path.parent.parent == without_display / "logs" / "viewer"
    assert path.name == f"{saw_dir.name}.html"
    assert page_data(path)["title"] == saw_dir.name


def served(monkeypatch, *options):
    """Port and application that a command line serves."""
    found = []

    def serve(app, port):
        found.append((port, app))
        raise KeyboardInterrupt

    monkeypatch.setattr(src.tasks.display, "serve", serve)
    monkeypatch.setattr(src.tasks.display, "end_now", found.append)
    assert main([*options]) == 0
    assert found.pop() == 0
    return found


def test_at_a_terminal_the_page_is_served_until_ctrl_c(without_display, saw_dir, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    ((port, app),) = served(monkeypatch, str(saw_dir), "--port", "1234")
    assert (port, capsys.readouterr().out.splitlines()[-1]) == (1234, "Ended.")
    assert ask(app, "/data/train/record/3").status == 200
    assert list(without_display.iterdir()) == []  # nothing is written


def test_a_page_is_served_without_a_terminal_if_that_is_asked_for(saw_dir, monkeypatch):
    ((port, _),) = served(monkeypatch, str(saw_dir), "--live", "--split", "test")
    assert port == 0


def test_the_newest_dataset_is_the_default(without_display, saw_dir, capsys):
    for name, time in (("old", 100), ("new", 300), ("middle", 200), (".new.partial", 400)):
        shutil.copytree(saw_dir, without_display / "data" / name)
        os.utime(without_display / "data" / name / INFO_NAME, (time, time))
    assert newest_dataset(without_display / "data").name == "new"
    assert main(["--validate"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"Dataset: {without_display / 'data' / 'new'}"


def test_no_dataset_is_said_to_be_none(without_display, capsys):
    assert main([]) == 1
    assert "make sds" in capsys.readouterr().err
    with pytest.raises(VIMHError, match="holds no dataset"):
        newest_dataset(without_display)


def page_data(path):
    """The description that a page holds."""
    page = path.read_text(encoding="utf-8")
    return json.loads(page.partition('<script type="application/json" id="data">')[2].partition("</script>")[0])


@pytest.mark.parametrize("split", SPLITS)
def test_a_page_begins_with_the_split_that_is_asked_for(saw_dir, tmp_path, capsys, split):
    path = tmp_path / "sheets" / "a.html"
    assert main([str(saw_dir), "--save", str(path), "--split", split]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(path)
    data = page_data(path)
    assert data["first"] == split
    assert {name: found["n"] for name, found in data["splits"].items()} == {"train": 51, "test": 13}


def test_a_page_holds_what_fits(saw_dir, tmp_path, capsys):
    path = tmp_path / "a.html"
    assert main([str(saw_dir), "--save", str(path), "--megabytes", "0.2"]) == 0
    holds = capsys.readouterr().out.splitlines()[-2]
    assert re.search(r"the first \d+ of 51 train sounds", holds)
    assert path.stat().st_size < 400_000


def test_a_picture_shows_the_samples_that_are_asked_for(saw_dir, tmp_path, capsys):
    for n_samples in (1, 5):
        path = tmp_path / f"{n_samples}.png"
        assert main([str(saw_dir), "--save", str(path), "--samples", str(n_samples)]) == 0
    (one, five) = (imread(tmp_path / f"{n}.png").shape for n in (1, 5))
    assert five[0] > one[0]


def test_a_set_of_an_older_program_can_be_shown(foreign_dir, tmp_path, capsys):
    path = tmp_path / "a.html"
    assert main([str(foreign_dir), "--save", str(path), "--info"]) == 0
    printed = capsys.readouterr().out
    assert "another program" in printed
    assert re.search(r"^delay +24\.0 +143\.0 +83\.5 +level", printed, flags=re.MULTILINE)
    assert "all 3 train records, no train sounds" in printed
    data = page_data(path)
    assert [channel["name"] for channel in data["splits"]["train"]["channels"]] == ["level", "delay"]
    assert data["channel"] == 0
    assert main([str(foreign_dir), "--save", str(path), "--channel", "delay"]) == 0
    assert page_data(path)["channel"] == 1


@pytest.mark.parametrize(("wanted", "number"), [("delay", 1), ("level", 0), ("1", 1)])
def test_a_channel_has_a_name_and_a_number(foreign_dir, wanted, number):
    info = DatasetInfo.from_json((foreign_dir / INFO_NAME).read_bytes(), "a test")
    assert find_channel(info, wanted) == number
    with pytest.raises(ConfigError, match="0 to 1, called level, delay"):
        find_channel(info, "2")


def test_info_tells_of_the_format_the_sounds_and_the_statistics(saw_dir, capsys):
    assert main([str(saw_dir), "--info"]) == 0
    printed = capsys.readouterr().out
    assert "32x32x1 (log_magnitude)" in printed
    assert "51 train, 13 test" in printed
    assert "1 s at 8000 Hz, synth simple" in printed
    assert "every record, value and checksum is as it should be" in printed
    value = np.concatenate([np.load(saw_dir / f"{split}_values.npy") for split in SPLITS]).astype(np.float64)
    row = re.search(r"^note_velocity +MIDI +(.*)$", printed, flags=re.MULTILINE)[1].split()
    assert row[:6] == ["64", "127", "7", "10", f"{value[:, 0].mean():.3g}", f"{value[:, 0].std():.3g}"]


def test_validation_finds_nothing_wrong_with_a_whole_set(saw_dir, capsys):
    assert main([str(saw_dir), "--validate"]) == 0
    assert "as it should be" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--validate", "--info"])
def test_a_defect_is_named_and_ends_with_1(copy, capsys, option):
    content = bytearray((copy / "train").read_bytes())
    content[-1] ^= 1
    (copy / "train").write_bytes(content)
    assert main([str(copy), option]) == 1
    assert "SHA-256" in capsys.readouterr().err


def test_nothing_of_a_dataset_is_changed(copy, tmp_path):
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in copy.iterdir()}
    assert main([str(copy), "--save", str(tmp_path / "a.html"), "--info"]) == 0
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in copy.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--save", "a.pdf"], ".png or .html"),
        (["--save", "a.png", "--samples", "0"], "--samples is 0; it must be a whole number of 1 or more"),
        (["--save", "a.html", "--megabytes", "0"], "--megabytes is 0.0; it must be a number above 0"),
        (["--live", "--port", "70000"], "--port 70000: it must be 0 to 65535"),
        (["--save", "a.png", "--channel", "delay"], "channels 0 to 0, called log_magnitude"),
        (["--save", "/dev/null/a.png", "--samples", "1"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(saw_dir, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    assert main([str(saw_dir), *options]) == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert len(printed.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_empty_split_and_a_missing_set_are_refused(foreign_dir, tmp_path, capsys):
    assert main([str(foreign_dir), "--save", str(tmp_path / "a.png"), "--split", "test"]) == 1
    assert "other --split" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere")]) == 1
    assert "no such directory" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["--nonsense"]])
def test_help_loads_nothing_heavy(arguments):
    code = f"import sys, display_vimh\ntry: display_vimh.main({arguments})\nfinally: print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    loaded = done.stdout[done.stdout.rindex("[") :]
    assert not {"torch", "lightning", "hydra", "matplotlib", "numpy", "numba"} & set(re.findall(r"'(\w+)'", loaded))


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "code"), [(b"\x03", 0), (signal.SIGTERM, 143)])
def test_at_a_terminal_ctrl_c_ends_the_page(saw_dir, ending, code):
    ours, its = pty.openpty()
    environment = {name: text for name, text in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    process = subprocess.Popen(
        [sys.executable, "display_vimh.py", str(saw_dir)],
        cwd=ROOT,
        env=environment | {"COLUMNS": "80"},
        stdin=its,
        stdout=its,
        stderr=its,
        preexec_fn=lambda: (os.setsid(), fcntl.ioctl(its, termios.TIOCSCTTY, 0)),
    )
    try:
        shown = b""
        while b"Ctrl-C ends it." not in shown:
            shown += os.read(ours, 4096)
        port, token = re.search(rb"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", shown).groups()
        assert all(len(line) <= 80 for line in shown.splitlines() if not line.startswith(b"Dataset"))
        answers = []
        for path in ("/", f"/?token={token.decode()}", "/data/train/../../etc/passwd"):
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
            connection.request("GET", path)
            answers.append(connection.getresponse().status)
            connection.close()
        assert answers == [403, 303, 403]
        if isinstance(ending, bytes):
            os.write(ours, ending)
        else:
            process.send_signal(ending)
        assert process.wait(timeout=30) == code
    finally:
        process.kill()
        process.wait()
        os.close(its)
        os.close(ours)


def test_info_of_packed_recordings_tells_of_files_and_of_no_synth(tmp_path, capsys):
    tone = np.sin(np.arange(6000) * 0.3).astype(np.float32)
    for kind, number in product(("high", "low"), range(2)):
        (tmp_path / "in" / kind).mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "in" / kind / f"{number}.wav", tone * (1 + number), 8000, subtype="FLOAT")
    packed = ["audio", f"{tmp_path}/in", "--sample-rate", "8000", "--frame", "0.5", "--hop", "0.25"]
    assert to_vimh.main([*packed, "--output", f"{tmp_path}/set"]) == 0
    capsys.readouterr()
    assert main([f"{tmp_path}/set", "--info"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^packed from +in \(audio\)", printed, re.MULTILINE)
    assert re.search(r"^sound +0\.5 s at 8000 Hz, a frame every 0\.25 s", printed, re.MULTILINE)
    assert re.search(r"^made by +this project, of files", printed, re.MULTILINE)
    assert "synth" not in printed and "unknown" not in printed
