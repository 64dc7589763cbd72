"""The local server: it listens on the loopback only, prints its address, and ends within a second of Ctrl-C."""

import asyncio
import gc
import os
import secrets
import socket
import sys
import webbrowser
from threading import Thread

import uvicorn
from starlette.types import ASGIApp

from src.errors import ConfigError
from src.live.guard import Guard
from src.text import say

HOST = "127.0.0.1"
MOST_CONNECTIONS = 128  # at a time
IDLE = 5  # s after which a connection without a request is closed


class PageServer(uvicorn.Server):
    """A server that sleeps until a request comes: nobody asks it for the date, and it ends with the program."""

    async def main_loop(self) -> None:
        """Called once it listens."""
        await self.on_tick(0)
        await asyncio.Event().wait()


def serve(app: ASGIApp, port: int = 0, most_bytes: int = 0, message_bytes: int = 0) -> None:
    """Serve a page until Ctrl-C; its address is printed, and opened in a browser where there is a display.

    Args:
        app: What answers requests.
        port: To listen on; 0 takes one that is free.
        most_bytes: That a request may bring.
        message_bytes: That a message of a WebSocket may bring.

    Raises:
        ConfigError: If the port is taken.
        KeyboardInterrupt: At Ctrl-C, which is how a page ends.
    """
    with listen(port) as listener:
        port, token = listener.getsockname()[1], secrets.token_urlsafe(24)
        address = f"http://{HOST}:{port}/?token={token}"
        say(f"Page: {address}", "Ctrl-C ends it.")
        sys.stdout.flush()
        if has_display():
            webbrowser.open(address)
        config = uvicorn.Config(
            Guard(app, port, token, most_bytes),
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=IDLE,
            ws="websockets-sansio",
            ws_max_size=message_bytes,
            ws_ping_interval=None,  # an idle page costs nothing
            ws_per_message_deflate=False,
        )
        gc.freeze()  # or else the interpreter searches all that was imported for garbage at its end, for seconds
        # A daemon, as are the threads that it starts: answers that are under way do not hold up the end.
        server = Thread(target=PageServer(config).run, kwargs={"sockets": [listener]}, daemon=True)
        server.start()
        server.join()


def listen(port: int) -> socket.socket:
    """A socket on the loopback, which no other machine can reach.

    Raises:
        ConfigError: If the port is taken.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port {port}: it must be 0 to 65535; 0 takes one that is free.")
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise ConfigError(
            f"--port {port}: cannot be listened on ({error.strerror}). Choose another one, or 0 for one that is free."
        ) from error


def has_display() -> bool:
    """Whether a browser's window can be opened here."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
