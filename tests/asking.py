"""Requests to an ASGI application within a test, without a server."""

import asyncio
from typing import NamedTuple


class Answer(NamedTuple):
    """What an application answers."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(app, path="/", headers=(), method="GET", bodies=(b"",), kind="http"):
    """The answer of an application to one request; of a WebSocket the messages.

    Args:
        app: ASGI application.
        path: With a query, if it has one.
        headers: Names to texts, or pairs of them.
        method: Of the request.
        bodies: What it brings, in pieces.
        kind: `http` or `websocket`.
    """
    target, _, query = path.partition("?")
    pairs = headers.items() if isinstance(headers, dict) else headers
    scope = {
        "type": kind,
        "method": method,
        "path": target,
        "raw_path": target.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), text.encode("latin-1")) for name, text in pairs],
        "scheme": "http",
    }
    pieces, sent = list(bodies), []

    async def receive():
        if not pieces:
            return await asyncio.Event().wait()  # a client that waits
        piece = pieces.pop(0)
        if kind == "websocket":
            return {"type": "websocket.connect"}
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    if kind == "websocket":
        return sent
    start = next(message for message in sent if message["type"] == "http.response.start")
    body = b"".join(message.get("body", b"") for message in sent)
    return Answer(start["status"], {name.decode(): text.decode() for name, text in start["headers"]}, body)
