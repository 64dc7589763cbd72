"""Who may talk to the local server."""

import pytest
from asking import ask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from src.live.guard import Entrance, Guard

SECRET = "the-secret"
OWN = {"Host": "127.0.0.1:8000", "Cookie": f"token_8000={SECRET}"}


async def echo(request):
    return PlainTextResponse(f"{len(await request.body())} bytes")


async def talk(websocket):
    await websocket.accept()
    await websocket.send_text("more than ten letters")
    await websocket.close()


ROUTES = [Route("/", echo, methods=["GET", "POST"]), WebSocketRoute("/talk", talk)]


def guarded(tell=lambda token: None, host="127.0.0.1"):
    """A server, and the token that lets the first browser in."""
    entrance = Entrance(SECRET, tell)
    return Guard(Starlette(routes=ROUTES), 8000, entrance, most_bytes=10, host=host), entrance.token


GUARD, TOKEN = guarded()


def test_the_printed_address_becomes_a_cookie_and_an_address_without_the_secret():
    guard, token = guarded()
    answer = ask(guard, f"/?token={token}", {"Host": "127.0.0.1:8000"})
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"token_8000={SECRET};")
    assert {"httponly", "samesite=strict", "path=/"} <= set(cookie.lower().split("; "))
    assert ask(guard, "/", OWN).body == b"0 bytes"


def test_a_token_lets_one_browser_in_and_the_next_one_is_told():
    told = []
    guard, first = guarded(told.append)
    assert ask(guard, f"/?token={first}", {"Host": "127.0.0.1:8000"}).status == 303
    (second,) = told
    for used in (first, first):
        answer = ask(guard, f"/?token={used}", {"Host": "127.0.0.1:8000"})
        assert (answer.status, "set-cookie" in answer.headers) == (403, False)
        assert b"has printed last" in answer.body
    assert ask(guard, f"/?token={second}", {"Host": "127.0.0.1:8000"}).status == 303
    assert len(told) == 2


def test_a_browser_that_is_known_uses_no_token_up():
    told = []
    guard, token = guarded(told.append)
    answer = ask(guard, f"/?token={token}", OWN)
    assert (answer.status, answer.headers["location"], told) == (303, "/", [])
    assert ask(guard, "/?token=another", OWN).status == 303


def test_a_server_that_is_started_again_knows_the_pages_of_the_one_before():
    assert Entrance(SECRET).token != Entrance(SECRET).token
    assert Entrance(SECRET).knows(SECRET)
    assert not Entrance().knows(SECRET)


@pytest.mark.parametrize(
    ("host", "named", "status"),
    [
        ("0.0.0.0", "192.168.1.7:8000", 200),
        ("0.0.0.0", "[fe80::1]:8000", 200),
        ("0.0.0.0", "localhost:8000", 200),
        ("0.0.0.0", "192.168.1.7:8001", 403),
        ("0.0.0.0", "elsewhere.org:8000", 403),  # a foreign name that may lead here
        ("127.0.0.1", "192.168.1.7:8000", 403),
        ("127.0.0.1", "[::1]:8000", 200),
    ],
)
def test_on_another_host_numbers_are_answered_and_foreign_names_are_not(host, named, status):
    assert ask(guarded(host=host)[0], "/", OWN | {"Host": named}).status == status


@pytest.mark.parametrize("path", ["//elsewhere.org/", "///elsewhere.org"])
def test_the_way_to_the_page_leads_nowhere_else(path):
    guard, token = guarded()
    location = ask(guard, f"{path}?token={token}", {"Host": "127.0.0.1:8000"}).headers["location"]
    assert location.startswith("/")
    assert not location.startswith("//")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"Host": "elsewhere.org"}, "only to the address"),
        ({"Host": "elsewhere.org:8000"}, "only to the address"),
        ({"Host": "127.0.0.1:8001"}, "only to the address"),
        ({"Host": ""}, "only to the address"),
        ({"Origin": "http://elsewhere.org"}, "another page"),
        ({"Origin": "null"}, "another page"),
        ({"Origin": "http://127.0.0.1:8001"}, "another page"),
        ({"Origin": "http://localhost:8000"}, "another page"),  # of another host than the request's
        ({"Sec-Fetch-Site": "cross-site"}, "another page"),
        ({"Sec-Fetch-Site": "same-site"}, "another page"),
        ({"Cookie": ""}, "token is missing"),
        ({"Cookie": "token_8000=another"}, "token is missing"),
        ({"Cookie": f"token_8001={SECRET}"}, "token is missing"),
        ({"Cookie": "token_8000=\xff"}, "token is missing"),
        ({"Cookie": ";=;\\"}, "token is missing"),
    ],
)
def test_strangers_are_refused_with_a_sentence(changes, why):
    answer = ask(GUARD, "/", OWN | changes)
    assert answer.status == 403
    assert why in answer.body.decode()
    if "Cookie" not in changes:
        secret = ask(GUARD, f"/?token={TOKEN}", OWN | changes)
        assert secret.status == 403
        assert "set-cookie" not in secret.headers


@pytest.mark.parametrize(
    "query",
    ["", "token=", "token=another", f"token={TOKEN}x", f"tokens={TOKEN}"],
    ids=["none", "empty", "another", "longer", "misspelled"],
)
def test_without_the_secret_there_is_no_cookie(query):
    answer = ask(GUARD, f"/?{query}", {"Host": "127.0.0.1:8000"})
    assert answer.status == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000"])
def test_pages_of_this_server_are_answered(host):
    own = OWN | {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    assert ask(GUARD, "/", own, "POST", [b"12345"]).body == b"5 bytes"


@pytest.mark.parametrize(
    ("headers", "bodies"),
    [
        ({"Content-Length": "11"}, [b"x" * 11]),
        ({"Content-Length": "1000000000000"}, [b""]),
        ({"Content-Length": "-1"}, [b""]),
        ({"Content-Length": "a"}, [b""]),
        ({}, [b"12345", b"123456"]),  # in pieces, of which no header tells
    ],
)
def test_a_request_brings_no_more_than_it_may(headers, bodies):
    answer = ask(GUARD, "/", OWN | headers, "POST", bodies)
    assert answer.status == 413
    assert "10 bytes" in answer.body.decode()


def test_a_websocket_of_another_page_is_closed_before_it_opens():
    (message,) = ask(GUARD, "/", OWN | {"Origin": "http://elsewhere.org"}, kind="websocket")
    assert (message["type"], message["code"]) == ("websocket.close", 1008)


def test_a_websocket_of_an_own_page_talks():
    own = OWN | {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
    sent = ask(GUARD, "/talk", own, kind="websocket")
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]


@pytest.mark.parametrize("headers", [OWN, {"Host": "elsewhere.org"}])
@pytest.mark.parametrize("path", ["/", "/nothing-here"])
def test_no_other_page_can_use_an_answer(path, headers):
    found = ask(GUARD, path, headers).headers
    assert "frame-ancestors 'none'" in found["content-security-policy"]
    assert "default-src 'none'" in found["content-security-policy"]
    assert found["x-content-type-options"] == "nosniff"
    assert found["cross-origin-resource-policy"] == "same-origin"
    assert found["referrer-policy"] == "no-referrer"
    assert found["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in found
