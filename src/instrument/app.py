"""What the local server answers to the live page: its files, and the WebSocket over which it is played."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from src.errors import NSMError
from src.instrument.content import SOURCE, page_content, page_data
from src.instrument.instrument import Instrument
from src.instrument.messages import packed
from src.instrument.requests import AnyRequest, FileRequest, RefineRequest, StopRequest, read_request
from src.instrument.talk import Talk
from src.live.page import IN_WORDS, page_routes

MOST_BYTES = 1 << 25  # of a recording, and of any message
REST = 0.06  # s without a request, after which what takes longer is worked out


def play_app(instrument: Instrument, local: bool = True) -> Starlette:
    """The live page of an instrument.

    Args:
        instrument: That is played. It works on a thread of its own, on one thing at a time.
        local: Whether the page is on this machine.
    """
    worker = ThreadPoolExecutor(1, thread_name_prefix="instrument")
    routes = [
        *page_routes(SOURCE, page_data(instrument, MOST_BYTES, local), **page_content(instrument)),
        WebSocketRoute("/live", partial(_talk, instrument, worker)),
    ]
    return Starlette(routes=routes, exception_handlers=IN_WORDS)


async def _talk(instrument: Instrument, worker: ThreadPoolExecutor, websocket: WebSocket) -> None:
    await Line(websocket, Talk(instrument), worker).hold()


class Line:
    """The line to one page: requests come in at any time, and the newest counts.

    Args:
        websocket: To the page.
        talk: What it has asked for so far.
        worker: Works on one thing at a time, for all pages in turn.
    """

    def __init__(self, websocket: WebSocket, talk: Talk, worker: ThreadPoolExecutor) -> None:
        self.websocket, self.talk, self.worker = websocket, talk, worker
        self.waiting: list[tuple[AnyRequest, bytes | None]] = []  # a sound, a search, or a sound and its search
        self.arrived = asyncio.Event()  # something is waiting

    async def hold(self) -> None:
        """Listen and answer until the page is closed."""
        await self.websocket.accept()
        answering = asyncio.create_task(self._answer_all())
        try:
            with suppress(WebSocketDisconnect):
                await self._receive_all()
        finally:
            answering.cancel()
            with suppress(asyncio.CancelledError):
                await answering

    # ----- requests

    async def _receive_all(self) -> None:
        """Take requests, and the bytes that follow those of a file."""
        announced: FileRequest | None = None
        while True:
            found = await self._receive()
            if isinstance(found, bytes):
                if announced is None:
                    await self._refuse(0, "Bytes came that no request had announced.")
                else:
                    self._take(announced, found)
                announced = None
                continue
            try:
                request = read_request(found)
            except NSMError as error:
                await self._refuse(0, str(error))
                continue
            announced = request if isinstance(request, FileRequest) and request.size is not None else None
            if announced is None:
                self._take(request, None)
            elif request.size > MOST_BYTES:
                announced = None
                await self._refuse(request.id, f"A recording may have {MOST_BYTES >> 20} MB at most.")

    async def _receive(self) -> str | bytes:
        message = await self.websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        text = message.get("text")
        return message["bytes"] if text is None else text

    def _take(self, request: AnyRequest, content: bytes | None) -> None:
        """Have a request wait, and drop what it makes needless."""
        if isinstance(request, RefineRequest | StopRequest):  # a sound that waits is still wanted
            kept = [pair for pair in self.waiting if not isinstance(pair[0], RefineRequest | StopRequest)]
        else:
            kept = []
        self.waiting = [*kept, (request, content)]
        self.arrived.set()

    # ----- answers

    async def _answer_all(self) -> None:
        """Answer what waits, one request after the other."""
        while True:
            await self.arrived.wait()
            request, content = self.waiting.pop(0)
            if not self.waiting:
                self.arrived.clear()
            await self._answer(request, content)

    async def _answer(self, request: AnyRequest, content: bytes | None) -> None:
        """Send the messages that answer a request, until a newer one comes."""
        messages = self.talk.answer(request, content)
        try:
            while (message := await self._worked_out(partial(next, messages, None))) is not None:
                await self.websocket.send_bytes(message)
                if self.arrived.is_set() or (not isinstance(request, RefineRequest) and await self._is_followed()):
                    break
        except NSMError as error:
            await self._refuse(request.id, str(error))
        finally:
            await self._worked_out(messages.close)

    async def _is_followed(self) -> bool:
        """Whether a newer request comes within a short rest, which keeps what takes longer out of the way."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.arrived.wait(), REST)
        return self.arrived.is_set()

    async def _worked_out(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.worker, work)

    async def _refuse(self, number: int, text: str) -> None:
        if self.websocket.client_state == WebSocketState.CONNECTED:
            await self.websocket.send_bytes(packed("error", number, {"text": text}, {}))
