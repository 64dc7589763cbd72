"""The local server: it listens on the loopback unless asked otherwise, prints its address, ends within a second."""

import asyncio
import gc
import os
import socket
import sys
import webbrowser
from threading import Thread

import uvicorn
from starlette.types import ASGIApp

from src.errors import ConfigError
from src.live.guard import LOOPBACK, Entrance, Guard
from src.text import complain, say

HOST = LOOPBACK[0]
MOST_CONNECTIONS = 128  # at a time
IDLE = 5  # s after which a connection without a request is closed
ANYWHERE = ("0.0.0.0", "::")  # hosts that stand for all of the machine's addresses
SOMEWHERE = ("192.0.2.1", 9)  # RFC 5737: an address of documentation, to which nothing is sent


class PageServer(uvicorn.Server):
    """A server that sleeps until a request comes: nobody asks it for the date, and it ends with the program."""

    async def main_loop(self) -> None:
        """Called once it listens."""
        await self.on_tick(0)
        await asyncio.Event().wait()


def serve(
    app: ASGIApp,
    port: int = 0,
    most_bytes: int = 0,
    message_bytes: int = 0,
    host: str = HOST,
    secret: str | None = None,
    browser: bool = True,
    option: str = "--port ",
) -> None:
    """Serve a page until Ctrl-C; its address is printed, and opened in a browser where there is a display.

    Args:
        app: What answers requests.
        port: To listen on; 0 takes one that is free.
        most_bytes: That a request may bring.
        message_bytes: That a message of a WebSocket may bring; 0: there are no WebSockets.
        host: To listen on. On another one than the loopback a warning is printed.
        secret: As `Entrance` has it.
        browser: Whether the address is opened.
        option: What stands before the port on the command line, for messages.

    Raises:
        ConfigError: If the port is taken, or the host is not this machine's.
        KeyboardInterrupt: At Ctrl-C, which is how a page ends.
    """
    with listen(port, host, option) as listener:
        port = listener.getsockname()[1]
        entrance = Entrance(secret, lambda token: announce("Another browser", f"{base}{token}"))
        base = f"http://{shown_host(host)}:{port}/?token="
        if host not in LOOPBACK:
            complain(
                f"host={host}: whoever in this network sees the address can play, and can send recordings to this "
                "machine; nothing is encrypted. Browsers allow microphone and MIDI on the machine itself alone: "
                f"host={HOST}."
            )
        announce("Page", f"{base}{entrance.token}")
        say("Ctrl-C ends it.")
        sys.stdout.flush()
        if browser and has_display():
            webbrowser.open(f"{base}{entrance.token}")
        config = uvicorn.Config(
            Guard(app, port, entrance, most_bytes, host),
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=IDLE,
            ws="websockets-sansio" if message_bytes else "none",
            ws_max_size=message_bytes,
            ws_ping_interval=None,  # an idle page costs nothing
            ws_per_message_deflate=False,
        )
        gc.freeze()  # or else the interpreter searches all that was imported for garbage at its end, for seconds
        # A daemon, as are the threads that it starts: answers that are under way do not hold up the end.
        server = Thread(target=PageServer(config).run, kwargs={"sockets": [listener]}, daemon=True)
        server.start()
        server.join()


def announce(what: str, address: str) -> None:
    """Print an address at once."""
    say(f"{what}: {address}")
    sys.stdout.flush()


def listen(port: int, host: str = HOST, option: str = "--port ") -> socket.socket:
    """A socket on a host; on the loopback no other machine can reach it.

    Raises:
        ConfigError: If the port is taken, or the host is not this machine's.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"{option}{port}: it must be 0 to 65535; 0 takes one that is free.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        where = f"{option}{port}" if host in LOOPBACK else f"host={host}, {option}{port}"
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{where}: cannot be listened on ({reason}). Choose another one, or 0 for one that is free."
        ) from error


def shown_host(host: str) -> str:
    """A host as an address has it; for all of this machine's the one that others reach it by."""
    if host in ANYWHERE:
        host = outward_address()
    return f"[{host}]" if ":" in host else host


def outward_address() -> str:
    """The numeric address of this machine in its network; that of the loopback where it is in none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(SOMEWHERE)
        except OSError:
            return HOST
        return str(probe.getsockname()[0])


def has_display() -> bool:
    """Whether a browser's window can be opened here."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
