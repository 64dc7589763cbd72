"""What the local server answers to the live page: its files, and the WebSocket over which it is played."""

import asyncio
import logging
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from src.errors import ConfigError, NSMError
from src.instrument.content import SOURCE, page_content, page_data
from src.instrument.instrument import Instrument
from src.instrument.messages import packed
from src.instrument.requests import AnyRequest, FileRequest, RefineRequest, StopRequest, read_request
from src.instrument.talk import Talk
from src.live.page import IN_WORDS, page_routes

log = logging.getLogger(__name__)

MOST_BYTES = 1 << 25  # of a recording, and of any message
MOST_TEXT = 1 << 16  # characters of a request
REST = 0.06  # s without a newer request, until what nobody waits for is worked out


def play_app(instrument: Instrument, local: bool = True) -> Starlette:
    """The live page of an instrument.

    Args:
        instrument: That is played. It works on a thread of its own, on one thing at a time.
        local: Whether the page is on this machine.
    """
    # PyTorch's own threads wait for each other longer than one sound takes.
    worker = ThreadPoolExecutor(1, "instrument", initializer=torch.set_num_threads, initargs=(1,))
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
        self.number = 0  # of the request that is being read; 0: not known yet

    async def hold(self) -> None:
        """Listen and answer until the page is closed."""
        await self.websocket.accept()
        answering = asyncio.create_task(self._answer_all())
        try:
            with suppress(WebSocketDisconnect):
                await self._receive_all()
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    # ----- requests

    async def _receive_all(self) -> None:
        """Take requests, and refuse what is none."""
        while True:
            self.number = 0
            try:
                self._take(*await self._request())
            except NSMError as error:
                await self.websocket.send_bytes(error_message(self.number, str(error)))

    async def _request(self) -> tuple[AnyRequest, bytes | None]:
        """The next request, with the bytes that follow that of a file."""
        text = await self._receive()
        if isinstance(text, bytes):
            raise ConfigError("Bytes came that no request had announced.")
        if len(text) > MOST_TEXT:
            raise ConfigError(f"A request may have {MOST_TEXT:,} characters at most.")
        request = read_request(text)
        self.number = request.id
        size = request.size if isinstance(request, FileRequest) else None
        return request, None if size is None else await self._content(size)

    async def _content(self, size: int) -> bytes:
        """The bytes of a recording of which so many are announced."""
        if size > MOST_BYTES:
            raise ConfigError(f"A recording may have {MOST_BYTES >> 20} MB at most; this one has {size / 2**20:,.0f}.")
        found = await self._receive()
        if not isinstance(found, bytes) or len(found) != size:
            raise ConfigError(f"A recording of {size:,} bytes was announced, and something else came.")
        return found

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
        pause = 0.0 if isinstance(request, RefineRequest) else REST  # behind the first message
        try:
            while (message := await self._next(messages, request.id)) is not None:
                await self.websocket.send_bytes(message)
                if await self._is_followed(pause):
                    break
                pause = 0.0
        finally:
            await self._worked_out(messages.close)

    async def _next(self, messages: Generator[bytes, None, None], number: int) -> bytes | None:
        """The next message, or why there is none; None at the end."""
        try:
            return await self._worked_out(partial(next, messages, None))
        except NSMError as error:
            return error_message(number, str(error))
        except Exception as error:  # of whatever kind: a synth of somebody's own, too little memory; the page goes on
            log.exception("A request could not be answered.")
            return error_message(number, f"{type(error).__name__}: {error}")

    async def _is_followed(self, pause: float) -> bool:
        """Whether a newer request is there, or comes within a pause, s."""
        if pause and not self.arrived.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self.arrived.wait(), pause)
        return self.arrived.is_set()

    async def _worked_out(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.worker, work)


def error_message(number: int, text: str) -> bytes:
    """Why a request is not answered, in a sentence."""
    return packed("error", number, {"text": text}, {})
