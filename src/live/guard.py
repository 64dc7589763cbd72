"""Who may talk to the local server: the pages that it has handed out itself, and nobody else.

A server on the loopback can be reached by every program of the machine, and by every page that is open in a browser
there. Three checks keep them out. The `Host` must be this server's, so that no foreign name that leads to the loopback
gets in (DNS rebinding). The browser must not name another page as the origin. And a secret, printed once in the address
of the page, comes back as a cookie that the browser sends with requests of this server's own pages only.
"""

import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OWN_SITES = (None, "same-origin", "none")  # Sec-Fetch-Site: not said, a page of this server, an address that was typed
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",  # a page brings its own
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses every request that no page of this server makes, and gives every answer the headers that seal it off.

    Args:
        app: What answers the others, an application of Starlette.
        port: Of the server.
        token: The secret; `?token=…` in an address becomes a cookie, and leaves the address.
        most_bytes: That a request may bring.
    """

    def __init__(self, app: ASGIApp, port: int, token: str, most_bytes: int = 0) -> None:
        self.app = app
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self.cookie = f"token_{port}"  # cookies do not tell ports apart
        self.token = token
        self.most_bytes = most_bytes

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
        host, origin = headers.get("host"), headers.get("origin")
        if host not in self.hosts:
            return _refuse("This server answers only to the address that it has printed.")
        if origin not in (None, f"http://{host}") or headers.get("sec-fetch-site") not in OWN_SITES:
            return _refuse("This request comes from another page. Open the address that the program has printed.")
        size = headers.get("content-length", "0")
        if not size.isdecimal() or int(size) > self.most_bytes:
            return _refuse(self._too_large, 413)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        if scope["type"] == "http" and scope["method"] == "GET" and given and self._is_token(given[0]):
            return self._entry(scope["path"])
        if not self._is_token(self._of_cookie(headers)):
            return _refuse("The token is missing or another one. Open the address that the program has printed.")
        return None

    def _entry(self, path: str) -> Response:
        """The answer to the printed address: the secret as a cookie, and the way to the page without it."""
        answer = RedirectResponse(f"/{path.lstrip('/')}", 303)
        answer.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
        return answer

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.token.encode())

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
