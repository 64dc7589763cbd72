"""The local server itself, as a process: where it listens, and how it ends."""

import http.client
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager, suppress

import pytest

from src.errors import ConfigError
from src.live.server import listen

PROGRAM = """
import time
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from src.live.server import serve

def slow(request):
    time.sleep(60)

serve(Starlette(routes=[Route("/", lambda request: PlainTextResponse("here")), Route("/slow", slow)]))
"""


def test_it_listens_on_the_loopback_only():
    with listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_cannot_be_is_refused(port):
    with pytest.raises(ConfigError, match="0 to 65535"):
        listen(port)


def test_a_port_that_is_taken_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--port {port}: cannot be listened on .* Choose another one"):
            listen(port)


@contextmanager
def served():
    """A process with a server, its port and the secret."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        port, token = re.fullmatch(r"Page: http://127\.0\.0\.1:(\d+)/\?token=(\S+)\n", line).groups()
        yield process, int(port), token
    finally:
        process.kill()
        process.communicate()


@contextmanager
def asked(port, path, **headers):
    """A connection with a request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        yield connection
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_a_signal_though_a_page_is_open_and_waits(ending):
    with served() as (process, port, token):
        with asked(port, f"/?token={token}") as entry:
            answer = entry.getresponse()
            assert answer.status == 303
            cookie = answer.getheader("Set-Cookie").partition(";")[0]
        with asked(port, "/", Cookie=cookie) as idle, asked(port, "/slow", Cookie=cookie) as waiting:
            assert idle.getresponse().read() == b"here"
            time.sleep(0.3)
            process.send_signal(ending)
            _, errors = process.communicate(timeout=20)  # the answer would take 60 s
            assert process.returncode != 0  # of a program that handles neither
            assert "Fatal" not in errors
            with pytest.raises(OSError):
                waiting.getresponse()


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: " + b"x" * 200_000 + b"\r\n\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
    ],
)
def test_endless_and_senseless_requests_are_cut_off(request_bytes):
    with served() as (_, port, _), socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        with suppress(ConnectionError):  # it is cut off before its end
            client.sendall(request_bytes)
            assert client.recv(12) in (b"", b"HTTP/1.1 400")
        with asked(port, "/") as next_one:  # it goes on
            assert next_one.getresponse().status == 403
