import contextlib
import json
import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from scripts.show_curves import main, port_is_taken


@contextlib.contextmanager
def server(answer):
    """An HTTP server on a free port that answers everything with the same bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield http.server_port
        http.shutdown()
        thread.join()


def test_one_that_runs_is_pointed_at(capsys):
    with server(json.dumps({"data_location": "/some/logs"}).encode()) as port:
        assert main(port) == 0
    assert capsys.readouterr().out == f"TensorBoard runs already: http://localhost:{port} shows /some/logs\n"


@pytest.mark.parametrize("answer", [b"", b"hello", b"[]", b'{"other": 1}'])
def test_another_program_is_not_taken_for_it(answer, capsys):
    with server(answer) as port:
        assert main(port) == 1
    assert f"{port} is taken by another program" in capsys.readouterr().out


def test_a_free_port_gets_one(monkeypatch):
    class Replaced(Exception):
        pass

    def execv(path, command):
        raise Replaced(path, command)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert not port_is_taken(port)
    monkeypatch.setattr(os, "execv", execv)
    with pytest.raises(Replaced) as caught:
        main(port, Path("logs"))
    path, command = caught.value.args
    assert path == sys.executable
    assert command[1:] == ["-m", "tensorboard.main", "--logdir", "logs", "--port", str(port)]
