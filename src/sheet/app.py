"""What the local server answers to the page of a dataset."""

import asyncio

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from src.live.page import IN_WORDS, page_routes
from src.pages.encoding import encode_wav
from src.sheet.content import SOURCE, SheetContent, SplitContent, within_full_scale

MOST_RECORDS = 1024  # of a request
MOST_BYTES = 1 << 24  # of their images
BYTES = "application/octet-stream"


def sheet_app(content: SheetContent) -> Starlette:
    """The page of a dataset with everything that it asks for."""
    data = {**content.description(), "request": records_at_a_time(content)}
    requests = SheetRequests(content)
    routes = [
        *page_routes(SOURCE, data, title=content.title, blocks={}),
        Route("/data/{split}/column/{number:int}", requests.column),
        Route("/data/{split}/images/{channel:int}/{numbers}", requests.images),
        Route("/data/{split}/record/{number:int}", requests.record),
        Route("/data/{split}/whence/{number:int}", requests.whence),
        Route("/data/{split}/sound/{number:int}", requests.sound),
    ]
    return Starlette(routes=routes, exception_handlers=IN_WORDS)


def records_at_a_time(content: SheetContent) -> int:
    """The most records whose images of one channel a request may ask for."""
    return int(np.clip(MOST_BYTES // (content.info.height * content.info.width), 1, MOST_RECORDS))


class SheetRequests:
    """Answers the page's requests: columns, images, records and sounds.

    Args:
        content: What the page shows.
    """

    def __init__(self, content: SheetContent) -> None:
        self.content = content
        self.most = records_at_a_time(content)
        self.synth = asyncio.Lock()  # it renders one sound at a time

    def column(self, request: Request) -> Response:
        """A number of every record, float32."""
        split = self._split(request)
        number = _below(request.path_params["number"], len(split.specs) + 1, "column")
        return Response(split.column(number).tobytes(), media_type=BYTES)

    def images(self, request: Request) -> Response:
        """Images of one channel of some records, whose numbers have commas between them."""
        split = self._split(request)
        channel = _below(request.path_params["channel"], len(split.channels), "channel")
        given = request.path_params["numbers"].split(",", self.most)
        if len(given) > self.most or not all(text.isdecimal() and len(text) < 12 for text in given):
            raise HTTPException(400, f"The numbers of 1 to {self.most} records were expected.")
        numbers = np.array([_below(int(text), len(split.samples), "record") for text in given])
        return Response(split.images(numbers, slice(channel, channel + 1)), media_type=BYTES)

    def record(self, request: Request) -> Response:
        """The entries of all columns of one record, then its images."""
        split = self._split(request)
        number = _below(request.path_params["number"], len(split.samples), "record")
        return Response(split.row(number) + split.images(slice(number, number + 1)), media_type=BYTES)

    def whence(self, request: Request) -> Response:
        """The file of one record, and where the record begins in it."""
        split = self._split(request)
        number = _below(request.path_params["number"], len(split.samples), "record")
        return JSONResponse(split.whence(number))

    async def sound(self, request: Request) -> Response:
        """The sound of one record, a WAV file; none is rendered for a page that has turned to another one meanwhile."""
        split = self._split(request)
        number = _below(request.path_params["number"], len(split.samples), "record")
        async with self.synth:
            if await request.is_disconnected():
                return Response(status_code=204)
            return Response(
                await run_in_threadpool(self._wav, split, request.path_params["split"], number), media_type="audio/wav"
            )

    def _wav(self, split: SplitContent, name: str, number: int) -> bytes:
        """The sound of a record as a file."""
        playback = self.content.playback
        (waveform,) = playback.sounds(split.samples.read(slice(number, number + 1)), name, number)
        return encode_wav(within_full_scale(waveform), playback.sample_rate)

    def _split(self, request: Request) -> SplitContent:
        """The split that a request names."""
        found = self.content.splits.get(request.path_params["split"])
        if found is None:
            raise HTTPException(404, "There is no such split, or it has no records.")
        return found


def _below(number: int, end: int, what: str) -> int:
    """A number that a request names, refused if there is nothing of that number."""
    if not 0 <= number < end:
        raise HTTPException(404, f"There is no {what} of this number: they end with {end - 1}.")
    return number
