"""What every page that a server feeds has: the page itself, the files that it is made of, and errors in words."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from src.errors import NSMError
from src.pages.pages import SERVED_POLICY, PageSource

MEDIA = {"js": "text/javascript", "css": "text/css"}


def page_routes(source: PageSource, data: Mapping[str, Any], **content: Any) -> list[Route]:
    """The addresses of a page and of its files.

    Args:
        source: Where the page comes from.
        data: Plain data for its script.
        **content: Variables of its template.
    """
    page = source.served(data, **content)
    files = (Route(address, partial(_file, text, address)) for address, text in source.files.items())
    return [Route("/", partial(_page, page)), *files]


def _page(page: str, request: Request) -> Response:
    return HTMLResponse(page, headers={"Content-Security-Policy": SERVED_POLICY})


def _file(text: str, address: str, request: Request) -> Response:
    return Response(text, media_type=MEDIA[address.rpartition(".")[2]])


def in_words(request: Request, error: Exception) -> Response:
    """An error as a sentence, which the page shows."""
    if isinstance(error, HTTPException):
        return PlainTextResponse(error.detail, error.status_code)
    return PlainTextResponse(str(error), 422)


IN_WORDS = {NSMError: in_words, HTTPException: in_words}
