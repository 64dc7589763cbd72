"""Starts TensorBoard on port 6006, or says that it runs already."""

import json
import os
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # without packages of others

from src.text import prepare_streams, say

PORT = 6006
LOG_DIR = Path(__file__).resolve().parents[1] / "logs"


def port_is_taken(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    try:
        socket.create_connection(("localhost", port), timeout=1).close()
    except OSError:
        return False
    return True


def tensorboard_logdir(port: int) -> str | None:
    """The directory that a TensorBoard on a port shows; None if what listens there is no TensorBoard."""
    try:
        with urllib.request.urlopen(f"http://localhost:{port}/data/environment", timeout=5) as answer:
            return json.load(answer)["data_location"]
    except (urllib.error.URLError, OSError, ValueError, KeyError, TypeError):
        return None


def main(port: int = PORT, log_dir: Path = LOG_DIR) -> int:
    """Returns the exit code, unless this process becomes TensorBoard."""
    prepare_streams()
    if not port_is_taken(port):
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(log_dir), "--port", str(port)]
        os.execv(command[0], command)
    shown = tensorboard_logdir(port)
    if shown is None:
        say(f"Port {port} is taken by another program. Stop it, or run: tensorboard --logdir logs --port PORT")
        return 1
    say(f"TensorBoard runs already: http://localhost:{port} shows {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
