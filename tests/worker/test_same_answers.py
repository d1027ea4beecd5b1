"""Whatever is asked, the answers are byte for byte those of gunicorn's own worker, and so is what the application sees.

After each there comes one more request: whether it is answered tells if both see the end of the first one in the same
place, and keep the connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from . import echo
from .servers import Pair, alike, pair

LAST: Final = b"GET /last HTTP/1.1\r\nHost: shop.example\r\n\r\n"
GET: Final = b"GET /auth HTTP/1.1\r\nHost: shop.example\r\n"
POST: Final = b"POST /redeem HTTP/1.1\r\nHost: shop.example\r\n"

WELL_FORMED: Final = [
    GET + b"\r\n",
    GET + b"Accept: */*\r\nConnection: keep-alive\r\n\r\n",
    GET + b"Authorization: Bearer a.b-c\r\nCookie: a=1; b=2\r\nX-Request-Id: r1\r\n\r\n",
    GET + b"connection: Keep-Alive\r\nUSER-AGENT: a (b; c) d/1.0\r\n\r\n",
    GET + b"Connection: close\r\n\r\n",
    POST + b"Content-Length: 4\r\nContent-Type: application/json\r\n\r\nbody",
    POST + b"Content-Length: 0\r\n\r\n",
    POST + b"\r\n",
    b"GET /auth?token=a&expire=1&q=%2F+~ HTTP/1.1\r\nHost: shop.example:8000\r\n\r\n",
    b"GET /auth? HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"GET /auth/../x//y/. HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"GET /a%20b%2f HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"GET /auth HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    b"HEAD /auth HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"DELETE /auth HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"GET /auth HTTP/1.0\r\nHost: shop.example\r\n\r\n",
    b"GET /auth HTTP/1.0\r\nHost: shop.example\r\nConnection: keep-alive\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    POST + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
    POST + b"Content-Length: 9000\r\n\r\n" + b"x" * 9000,
    POST + b"Content-Length: 65000\r\n\r\n" + b"x" * 65000,
    POST + b"Content-Length: 70000\r\n\r\n" + b"x" * 70000,
    b"GET /auth/unread HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 28\r\n\r\nGET /other HTTP/1.1\r\nX: y\r\n\r",
    b"\r\n" + GET + b"\r\n",
]
ODD: Final = [
    # two lengths, or none that can be trusted
    POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
    POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
    POST + b"Content-Length: 4, 4\r\n\r\nbody",
    POST + b"Content-Length: +4\r\n\r\nbody",
    POST + b"Content-Length: -4\r\n\r\nbody",
    POST + b"Content-Length: 04\r\n\r\nbody",
    POST + b"Content-Length: 4 \r\n\r\nbody",
    POST + b"Content-Length:\t4\r\n\r\nbody",
    POST + b"Content-Length: 0x4\r\n\r\nbody",
    POST + b"Content-Length: 4_0\r\n\r\nbody",
    POST + b"Content-Length: \xb2\r\n\r\nbody",
    POST + b"Content-Length: 99999999999999999999\r\n\r\nbody",
    POST + b"Content-Length:\r\n\r\nbody",
    POST + b"Content_Length: 4\r\n\r\nbody",
    POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: identity\r\n\r\n",
    POST + b"Transfer-Encoding: gzip\r\n\r\n",
    POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer_Encoding: chunked\r\nContent-Length: 4\r\n\r\nbody",
    POST + b"X: y\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    # lines
    GET + b"X: a\r\n b\r\n\r\n",
    GET + b" X: a\r\n\r\n",
    GET + b"X : a\r\n\r\n",
    GET + b"X\r\n\r\n",
    GET + b": a\r\n\r\n",
    GET + b"X: a\nY: b\r\n\r\n",
    GET + b"X: a\rY: b\r\n\r\n",
    GET + b"X: a\x00b\r\n\r\n",
    GET + b"X: a\x7f\r\n\r\n",
    GET + b"X: caf\xc3\xa9\r\n\r\n",
    GET + b"X: \r\nY:\r\n\r\n",
    GET + b"X:  two \t\r\n\r\n",
    GET + b"X: a\r\nX: b\r\nx: c\r\n\r\n",
    GET + b"X_Y: a\r\nX-Y: b\r\n\r\n",
    GET + b"Host: other.example\r\n\r\n",
    GET + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    GET + b"Connection: keep-alive, close\r\n\r\n",
    GET + b"Connection: keep-alive\r\nConnection: close\r\n\r\n",
    GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    GET + b"Expect: something\r\n\r\n",
    GET + b"Script-Name: /auth\r\n\r\n",
    GET + b"SCRIPT_NAME: /auth\r\n\r\n",
    GET + b"X-Forwarded-Proto: https\r\nX-Forwarded-For: 10.0.0.1\r\nForwarded: proto=https\r\n\r\n",
    GET + b"X-Forwarded-Proto: http\r\nX-Forwarded-Ssl: on\r\n\r\n",
    b"GET /auth HTTP/1.1\nHost: shop.example\n\n",
    b"GET /auth HTTP/1.1\r\nHost: shop.example\n\r\n",
    b"GET /auth HTTP/1.1\r\n\r\n",
    b"GET /auth HTTP/1.1\r\nHost:\r\n\r\n",
    # first lines
    b"GET  /auth HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"GET /auth  HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"GET /auth HTTP/1.1 \r\nHost: shop.example\r\n\r\n",
    b" GET /auth HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"GET\t/auth\tHTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"get /auth HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"GET /auth HTTP/1.2\r\nHost: shop.example\r\n\r\n",
    b"GET /auth HTTP/2.0\r\nHost: shop.example\r\n\r\n",
    b"GET /auth HTTP/1.10\r\nHost: shop.example\r\n\r\n",
    b"GET /auth http/1.1\r\nHost: shop.example\r\n\r\n",
    b"GET /auth\r\nHost: shop.example\r\n\r\n",
    b"GET //shop.example/auth HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"GET http://other.example/auth HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"GET /auth#part HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"GET /auth\x00 HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"GET /caf\xe9 HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"GET auth HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + GET + b"\r\n",
    b"\r\n\r\n" + GET + b"\r\n",
    # too much of it
    b"GET /" + b"a" * 4080 + b" HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    b"GET /" + b"a" * 4081 + b" HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    GET + b"X: " + b"a" * 8185 + b"\r\n\r\n",
    GET + b"X: " + b"a" * 8186 + b"\r\n\r\n",
    GET + b"".join(b"X-%d: a\r\n" % number for number in range(49)) + b"\r\n",
    GET + b"".join(b"X-%d: a\r\n" % number for number in range(50)) + b"\r\n",
    # the end comes too early
    GET,
    POST + b"Content-Length: 400\r\n\r\nbody",
    b"GET",
    b"",
]
ANSWERS: Final = [f"GET /auth/{name} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode() for name in echo.SPECIAL]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("w")) as started:
        yield started


@pytest.mark.parametrize("request_", WELL_FORMED + ODD + ANSWERS)
def test_whole(servers: Pair, request_: bytes) -> None:
    alike(servers, [request_ + LAST])


@pytest.mark.parametrize("request_", WELL_FORMED + ODD)
def test_after_one_that_was_plain(servers: Pair, request_: bytes) -> None:
    answered = alike(servers, [LAST, request_, LAST])
    assert answered.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("request_", [*WELL_FORMED[:7], ODD[0], ODD[14], ODD[23]])
def test_in_two_parts_wherever_the_first_ends(servers: Pair, request_: bytes) -> None:
    for end in range(1, len(request_)):
        alike(servers, [request_[:end], request_[end:] + LAST])


@pytest.mark.parametrize("request_", [WELL_FORMED[2], WELL_FORMED[5]])
def test_a_byte_at_a_time(servers: Pair, request_: bytes) -> None:
    alike(servers, [bytes([byte]) for byte in request_ + LAST])


def test_many_at_once(servers: Pair) -> None:
    answered = alike(servers, [(WELL_FORMED[2] + WELL_FORMED[5]) * 60])
    assert answered.count(b"HTTP/1.1 200 OK") == 120


OPTIONS: Final = {
    "trusted": ["--forwarded-allow-ips", "127.0.0.1", "--config", "SCHEME"],
    "few": ["--limit-request-line", "60", "--limit-request-fields", "2", "--limit-request-field_size", "40"],
    "endless": ["--limit-request-line", "0", "--limit-request-fields", "0", "--limit-request-field_size", "0"],
    "once": ["--keep-alive", "0"],
    "proxied": ["--proxy-protocol", "auto", "--proxy-allow-from", "127.0.0.1"],
    "dangerous": ["--header-map", "dangerous"],
    "logged": ["--access-logfile", "-"],
    "folding": ["--permit-obsolete-folding"],
}


@pytest.mark.parametrize("name", OPTIONS)
def test_however_gunicorn_is_set(tmp_path: Path, name: str) -> None:
    scheme = tmp_path / "scheme.py"
    scheme.write_text(
        'from tokensvc.gunicorn_settings import *\nsecure_scheme_headers = {"X-FORWARDED-PROTO": "https"}\n'
        'forwarder_headers = "X_Y"\n'
    )
    options = [str(scheme) if option == "SCHEME" else option for option in OPTIONS[name]]
    with pair(tmp_path, *options) as (ours, stock):
        for request in WELL_FORMED + ODD + ANSWERS:
            alike((ours, stock), [request + LAST])
        assert ours.log.count('"event": "request"') == stock.log.count('"event": "request"')


def test_on_a_unix_socket_and_below_a_script_name(tmp_path: Path) -> None:
    with pair(tmp_path / "a", unix=True) as servers:
        for request in WELL_FORMED + ODD:
            alike(servers, [request + LAST])
    with pair(tmp_path / "b", SCRIPT_NAME="/") as servers:
        for request in WELL_FORMED:
            alike(servers, [request + LAST])


def test_garbage_is_looked_for_while_a_worker_serves_but_not_among_what_it_has_loaded(servers: Pair) -> None:
    ours, _ = servers
    answered = ours.finish(ours.begin(b"GET /collection HTTP/1.0\r\nHost: shop.example\r\n\r\n"))
    assert answered.endswith(b'{"loading": false, "serving": true, "frozen": true}')


def test_hooks_see_every_request(tmp_path: Path) -> None:
    hooks = tmp_path / "hooks.py"
    hooks.write_text(
        "from tokensvc.gunicorn_settings import *\n"
        "def pre_request(worker, request):\n    print('seen', request.path, flush=True)\n"
    )
    with pair(tmp_path, "--config", str(hooks)) as (ours, stock):
        alike((ours, stock), [WELL_FORMED[0] + LAST])
        assert "seen /last" in ours.log
        assert ours.log.count("seen /") == stock.log.count("seen /") == 3


# Generated: pieces of requests, put together in ways that nobody thought of

SPACES: Final = st.sampled_from([b" ", b" ", b" ", b" ", b"", b"  ", b"\t"])
ENDS: Final = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\n ", b"\r\r\n"])
METHODS: Final = st.sampled_from([b"GET", b"POST", b"GET", b"POST", b"HEAD", b"PUT", b"get", b"G", b"CONNECT"])
TARGETS: Final = st.one_of(
    st.sampled_from([b"/auth", b"/redeem", b"/auth?a=b", b"/auth/unread", b"/auth/stream", b"/auth/nothing", b"/"]),
    st.binary(max_size=6).map(lambda tail: b"/" + tail),
    st.sampled_from([b"*", b"//x", b"http://x/y", b"x:1", b"/a#b", b"/%41", b"/a;b", b"/a[", b"/?"]),
)
VERSIONS: Final = st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.1x", b""])
NAMES: Final = st.sampled_from(
    [b"Content-Length"] * 4
    + [b"Host", b"Transfer-Encoding", b"Connection", b"Content-Type", b"X", b"X", b"X_Y", b"Expect", b"TE", b"Trailer"]
    + [b"Authorization", b"content-length", b"Content-Encoding", b"Upgrade", b"Cookie", b"", b"\xc4", b"Keep-Alive"]
)
VALUES: Final = st.one_of(
    st.sampled_from(
        [b"4", b"4", b"0", b"3", b"chunked", b"keep-alive", b"close", b"100-continue", b"shop.example", b"", b"4,4"]
    ),
    st.binary(max_size=5),
)
FIELDS: Final = st.tuples(
    NAMES, st.sampled_from([b":", b":", b": ", b": ", b": ", b" :", b"", b":\t"]), VALUES, ENDS
).map(b"".join)
BODIES: Final = st.sampled_from(
    [b"", b"body", b"body", b"4\r\nbody\r\n0\r\n\r\n", b"0\r\n\r\n", b"GET /smuggled HTTP/1.1\r\n\r\n"]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One, that is plain apart from a thing or two; or not at all."""
    line = b"".join([draw(METHODS), draw(SPACES), draw(TARGETS), draw(SPACES), draw(VERSIONS), draw(ENDS)])
    fields = draw(st.lists(FIELDS, max_size=4))
    if draw(st.integers(0, 9)):
        fields.insert(draw(st.integers(0, len(fields))), b"Host: shop.example\r\n")
    return line + b"".join(fields) + draw(ENDS) + draw(BODIES)


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(requests(), min_size=1, max_size=3), st.lists(st.integers(1, 300), max_size=2))
@example([LAST], [])
def test_put_together_at_random(servers: Pair, asked: list[bytes], cuts: list[int]) -> None:
    whole = b"".join([*asked, LAST])
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    alike(servers, [whole[start:end] for start, end in pairwise(places)], with_reasons=False)


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(WELL_FORMED[:21]), st.data())
def test_with_one_byte_changed(servers: Pair, whole: bytes, draw: st.DataObject) -> None:
    place = draw.draw(st.integers(0, len(whole) - 1))
    how = draw.draw(st.sampled_from(["replaced", "added", "gone"]))
    byte = (
        b""
        if how == "gone"
        else draw.draw(st.sampled_from(b"\0\t\n\r :,;_-/?#%\x7f\x80\xff0A").map(lambda each: bytes([each])))
    )
    alike(servers, [whole[:place] + byte + whole[place + (how != "added") :] + LAST], with_reasons=False)
