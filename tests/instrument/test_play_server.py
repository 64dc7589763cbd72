"""The program itself, as a process that pages talk to."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from instruments import CHECKPOINT, unpacked
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from src.checkpoints.run import load_run
from src.readings.network import trained_on
from src.readings.reading import read_samples

ROOT = Path(__file__).parents[2]
ADDRESS = re.compile(r"(Page|Another browser): http://([\w.:]+)/\?token=(\S+)\n")

pytestmark = pytest.mark.slow


class Played:
    """A process of the program.

    Args:
        *arguments: Of its command line.
    """

    def __init__(self, *arguments):
        command = [sys.executable, str(ROOT / "src" / "play.py"), "browser=false", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        self.lines = []
        while not (self.lines and ADDRESS.fullmatch(self.lines[-1])):
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            self.lines.append(line)
        _, self.place, self.token = ADDRESS.fullmatch(self.lines[-1]).groups()

    def get(self, path, **headers):
        """Status, headers and body of an answer."""
        connection = http.client.HTTPConnection(self.place, timeout=60)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()
        finally:
            connection.close()

    def enter(self):
        """The cookie of the address that was printed."""
        status, headers, _ = self.get(f"/?token={self.token}")
        assert status == 303
        return headers["set-cookie"].partition(";")[0]

    @contextmanager
    def talk(self, cookie, origin=None):
        """A WebSocket of a page."""
        own = f"http://{self.place}" if origin is None else origin
        headers = {"Cookie": cookie}
        with connect(f"ws://{self.place}/live", additional_headers=headers, origin=own, max_size=None) as line:
            yield line

    def end(self, ending=signal.SIGINT):
        """Exit code, and what was printed after the addresses."""
        self.process.send_signal(ending)
        rest, errors = self.process.communicate(timeout=60)
        return self.process.returncode, rest, errors


@contextmanager
def played(*arguments):
    program = Played(*arguments)
    try:
        yield program
    finally:
        program.process.kill()
        program.process.communicate()


@pytest.fixture(scope="module", autouse=True)
def brief_calibration():
    """Distances are those of the program here, which calibrates on as many sounds as ever."""


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    return f"paths.log_dir={tmp_path_factory.mktemp('logs')}"


@pytest.fixture(scope="module")
def program(saw_dir, logs):
    with played(f"ckpt_path={CHECKPOINT}", f"dataset={saw_dir}", logs) as program:
        program.cookie = program.enter()
        yield program


def asked(line, request):
    line.send(json.dumps(request))
    return unpacked(line.recv(timeout=60))


def test_a_sound_is_answered_as_the_network_answers_everywhere(program):
    run = load_run(CHECKPOINT)
    trained = trained_on(run)
    value = np.array([[91.0, -0.3]], np.float32)
    batch = trained.recipe.samples(value)
    (expected,) = read_samples(batch, ["a"], trained)
    with program.talk(program.cookie) as line:
        header, parts = asked(line, {"type": "sound", "id": 1, "value": value[0].tolist()})
    np.testing.assert_array_equal(parts["picture"], batch.image[0])
    np.testing.assert_allclose(header["answers"][0]["value"], expected.value, rtol=1e-4)
    assert header["answers"][0]["distance"] == pytest.approx(expected.distance, rel=1e-3)


def test_the_page_has_what_the_program_was_given(program, saw_dir):
    _, _, page = program.get("/", Cookie=program.cookie)
    data = json.loads(unescape(page.partition('id="data">')[2].partition("</script>")[0]))
    assert data["n_test"] == 13
    assert len(data["networks"]) == 1
    with program.talk(program.cookie) as line:
        header, _ = asked(line, {"type": "test", "id": 1, "number": 4})
    assert header["source"] == "test"


def test_strangers_stay_out(program):
    for cookie in ("", "token_1=x", program.cookie + "x"):
        status, _, body = program.get("/", Cookie=cookie)
        assert (status, "token is missing" in body) == (403, True)
        with pytest.raises(InvalidStatus, match="403"), program.talk(cookie):
            pass
    for origin in ("http://elsewhere.org", "null", "http://127.0.0.1:1"):
        with pytest.raises(InvalidStatus, match="403"), program.talk(program.cookie, origin):
            pass
    assert program.get(f"/?token={program.token}")[0] == 403  # it was used
    assert program.get("/", Cookie=program.cookie, Host="elsewhere.org")[0] == 403
    for path in ("/instrument/../play.py", "/..%2f..%2fsetup.sh", "/instrument/app.py"):
        assert program.get(path, Cookie=program.cookie)[0] == 404


def test_more_than_a_message_may_have_ends_the_line_and_no_other(program):
    with program.talk(program.cookie) as other:
        with pytest.raises(ConnectionClosed), program.talk(program.cookie) as line:
            line.send(bytes(2**25 + 1))
            line.recv(timeout=60)
        assert asked(other, {"type": "sound", "id": 1, "value": [100.0, 0.0]})[0]["type"] == "sound"


def test_four_pages_at_once(program):
    def page(number):
        with program.talk(program.cookie) as line:
            for n in range(1, 11):
                header, _ = asked(line, {"type": "sound", "id": n, "value": [70.0 + 10 * number, -0.1 * n]})
                while header["id"] != n or header["type"] != "sound":
                    header, _ = unpacked(line.recv(timeout=60))
                assert header["value"] == pytest.approx([70.0 + 10 * number, -0.1 * n], rel=1e-6)
            return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(page, range(4))) == [True] * 4


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_idle_pages_cost_nothing(program):
    def processor_seconds():
        fields = Path(f"/proc/{program.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    with program.talk(program.cookie) as one, program.talk(program.cookie):
        asked(one, {"type": "sound", "id": 1, "value": [100.0, 0.0]})
        time.sleep(1)  # until sensitivity and limits are told
        before = processor_seconds()
        time.sleep(2)
        assert processor_seconds() - before <= 0.05


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_a_signal_though_pages_are_open_and_a_page_outlives_it(saw_dir, logs, ending):
    with played(f"ckpt_path={CHECKPOINT}", f"dataset={saw_dir}", logs) as first:
        cookie, port = first.enter(), first.place.rpartition(":")[2]
        with first.talk(cookie) as line:
            asked(line, {"type": "test", "id": 1, "number": 2})
            line.send(json.dumps({"type": "refine", "id": 2}))
            code, rest, errors = first.end(ending)
            assert code == (0 if ending == signal.SIGINT else 143)
            assert "Traceback" not in errors
            assert ending == signal.SIGTERM or rest.endswith("Ended.\n")
            with suppress(TimeoutError), pytest.raises(ConnectionClosed):
                while True:
                    line.recv(timeout=60)
        with played(f"ckpt_path={CHECKPOINT}", f"dataset={saw_dir}", logs, f"port={port}") as second:
            with second.talk(cookie) as line:
                assert asked(line, {"type": "sound", "id": 1, "value": [100.0, 0.0]})[0]["type"] == "sound"
            assert second.token != first.token


def test_without_a_checkpoint_it_is_an_instrument_alone_and_says_how_to_train(tmp_path):
    with played(f"paths.log_dir={tmp_path}") as program:
        assert "an instrument alone. No network listens yet. Train one with make ex" in program.lines[0]
        with program.talk(program.enter()) as line:
            header, parts = asked(line, {"type": "sound", "id": 1, "value": [100.0, 0.0]})
        assert header["answers"] == []
        assert parts["waveform"].shape == (8000,)


def test_a_second_network_listens_and_another_host_is_warned_of(saw_dir, logs):
    with played(
        f"ckpt_path={CHECKPOINT}", f"compare={CHECKPOINT}", f"dataset={saw_dir}", logs, "host=0.0.0.0"
    ) as program:
        cookie = program.enter()
        with program.talk(cookie) as line:
            header, parts = asked(line, {"type": "sound", "id": 1, "value": [100.0, 0.0]})
        one, other = header["answers"]
        assert one["value"] == other["value"]
        np.testing.assert_array_equal(parts["waveform0"], parts["waveform1"])
        _, _, errors = program.end()
    assert "host=0.0.0.0: whoever in this network sees the address can play" in errors


def test_what_cannot_be_played_is_one_sentence(tmp_path):
    command = [sys.executable, str(ROOT / "src" / "play.py"), f"paths.log_dir={tmp_path}", "ckpt_path=nothing.ckpt"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("ckpt_path=nothing.ckpt: there is no such file.")
