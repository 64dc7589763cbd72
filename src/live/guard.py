"""Who may talk to the local server: the pages that it has handed out itself, and nobody else.

A server on the loopback can be reached by every program of the machine, and by every page that is open in a browser
there. Three checks keep them out. The `Host` must be this server's, so that no foreign name that leads to the loopback
gets in (DNS rebinding). The browser must not name another page as the origin. And a secret comes back as a cookie that
the browser sends with requests of this server's own pages only.

The browser gets that cookie for a token, printed in the address of the page. It is good for one browser: the address
stands on the command line that opens the browser, where others on the machine can read it, and in its history.
"""

import ipaddress
import re
import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.files import write_atomically

LOOPBACK = ("127.0.0.1", "::1", "localhost")
SECRET = re.compile(r"[A-Za-z0-9_-]{32}")
OWN_SITES = (None, "same-origin", "none")  # Sec-Fetch-Site: not said, a page of this server, an address that was typed
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",  # a page brings its own
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Entrance:
    """Gives a browser the cookie of this server for a token, which is another one after each.

    Args:
        secret: What the cookie holds; None: a new one, so that pages of an earlier server are strangers.
        tell: Called with the token of the next browser, after one has entered.
    """

    def __init__(self, secret: str | None = None, tell: Callable[[str], None] = lambda token: None) -> None:
        self.secret = secret or new_secret()
        self.tell = tell
        self.token = new_secret()

    def knows(self, cookie: str) -> bool:
        """Whether a cookie is this server's."""
        return secrets.compare_digest(cookie.encode(), self.secret.encode())

    def enter(self, token: str) -> bool:
        """Whether a token lets a browser in; from then on another one does."""
        if not secrets.compare_digest(token.encode(), self.token.encode()):
            return False
        self.token = new_secret()
        self.tell(self.token)
        return True


def new_secret() -> str:
    """What nobody guesses, of characters that an address can have."""
    return secrets.token_urlsafe(24)


def kept_secret(path: Path) -> str:
    """The secret in a file, which nobody else on the machine can read, so that pages outlive their server.

    Where there is none yet, it is made; where it cannot be kept, it is another one each time.

    Args:
        path: Of the file.
    """
    with suppress(OSError, UnicodeError):
        found = path.read_text("ascii")
        if SECRET.fullmatch(found):
            return found
    secret = new_secret()
    with suppress(OSError):
        write_atomically(path, secret.encode(), private=True)
    return secret


class Guard:
    """Refuses every request that no page of this server makes, and gives every answer the headers that seal it off.

    Args:
        app: What answers the others, an application of Starlette.
        port: Of the server.
        entrance: Lets browsers in: `?token=…` in an address becomes a cookie, and leaves the address.
        most_bytes: That a request may bring.
        host: That it listens on. On another one than the loopback it answers to every numeric address, and to the
            machine's own name: foreign names stay out.
    """

    def __init__(
        self, app: ASGIApp, port: int, entrance: Entrance, most_bytes: int = 0, host: str = LOOPBACK[0]
    ) -> None:
        self.app, self.port, self.entrance = app, str(port), entrance
        self.cookie = f"token_{port}"  # cookies do not tell ports apart
        self.most_bytes = most_bytes
        self.is_open = host not in LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the server for every request, and for every WebSocket that is to be opened."""
        refusal = self.refusal(scope)
        if refusal is None:
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": bytes(refusal.body).decode()})
        else:
            await refusal(scope, receive, sealing(send))

    def refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that is not let through; None for one that is."""
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_own(host):
            return _refuse("This server answers only to the address that it has printed.")
        if origin not in (None, f"http://{host}") or headers.get("sec-fetch-site") not in OWN_SITES:
            return _refuse("This request comes from another page. Open the address that the program has printed.")
        size = headers.get("content-length", "0")
        if not size.isdecimal() or int(size) > self.most_bytes:
            return _refuse(self._too_large, 413)
        known = self.entrance.knows(self._of_cookie(headers))
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        if scope["type"] == "http" and scope["method"] == "GET" and given:
            if known:
                return _without_token(scope["path"])
            if self.entrance.enter(given[0]):
                return self._entry(scope["path"])
        if not known:
            return _refuse("The token is missing or another one. Open the address that the program has printed last.")
        return None

    def _is_own(self, host: str) -> bool:
        """Whether a request names this server."""
        if ":" not in host.rpartition("]")[2]:
            host += ":80"  # which browsers leave out
        name, _, port = host.rpartition(":")
        if port != self.port:
            return False
        name = name.removeprefix("[").removesuffix("]")
        return name in LOOPBACK or (self.is_open and (is_numeric(name) or name == socket.gethostname()))

    def _entry(self, path: str) -> Response:
        """The answer to the printed address: the secret as a cookie, and the way to the page without the token."""
        answer = _without_token(path)
        answer.set_cookie(self.cookie, self.entrance.secret, httponly=True, samesite="strict")
        return answer

    def _of_cookie(self, headers: Mapping[str, str]) -> str:
        """The secret in a request's cookies; empty if there is none."""
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return ""
        return found.value if found else ""

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a request answered; one that turns out to bring more bytes than it may is refused where it is read."""
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.most_bytes and scope["type"] == "http":
                raise HTTPException(413, self._too_large)
            return message

        await self.app(scope, bounded, sealing(send))

    @property
    def _too_large(self) -> str:
        return f"A request may bring {self.most_bytes} bytes at most."


def is_numeric(host: str) -> bool:
    """Whether a host is given by its number, which no foreign name can stand for."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _without_token(path: str) -> Response:
    return RedirectResponse(f"/{path.lstrip('/')}", 303)


def _refuse(why: str, status: int = 403) -> Response:
    return PlainTextResponse(why, status)


def sealing(send: Send) -> Send:
    """What sends an answer with the headers that keep other pages from using it."""

    async def sealed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, text in HEADERS.items():
                headers.setdefault(name, text)
        await send(message)

    return sealed
