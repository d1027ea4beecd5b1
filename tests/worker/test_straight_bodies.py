"""A body that is read past gunicorn is whole, and gunicorn still knows where it ends: the next request is answered.

With our worker class and with gunicorn's own, which are asked the same.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from .servers import Pair, alike, all_of, one_answer, pair

pytestmark = pytest.mark.alone
BODY: Final = b"".join(b"%07d\n" % number for number in range(50_000))
BESIDE_OTHERS: Final = """
from gevent import monkey
monkey.patch_all()
import socket
import gevent
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.unreader import SocketUnreader
from tokensvc.adapters.server_bodies import straight

client, server = socket.socketpair()
client.sendall(bytes(500))
turns = []

def another():
    while True:
        turns.append(True)
        gevent.sleep(0)

gevent.spawn(another)
read = straight(Body(LengthReader(SocketUnreader(server), 500)))
for _ in range(5):
    assert read(memoryview(bytearray(100)), 9.0) == 100
print(len(turns))
"""
NEXT: Final = b"GET /last/empty HTTP/1.1\r\nHost: shop.example\r\n\r\n"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("w")) as started:
        yield started


def head(query: str, *fields: str) -> bytes:
    lines = (f"POST /straight?{query} HTTP/1.1", "Host: shop.example", *fields, "", "")
    return "\r\n".join(lines).encode()


def told(body: bytes) -> bytes:
    """What the application says of it."""
    return b"%d %s" % (len(body), hashlib.sha256(body).hexdigest().encode())


def answers(answered: bytes) -> tuple[int, bool]:
    """How many answers there are, and whether the last one is to the next request."""
    return answered.count(b"HTTP/1.1 200 OK\r\n"), answered.endswith(b"Content-Length: 0\r\n\r\n")


@pytest.mark.parametrize("size", [1000, 65_536, 1_000_000])
@pytest.mark.parametrize("first", ["-", "10", "5000"])
@pytest.mark.parametrize("together", [0, 100, len(BODY)])
def test_it_is_read_whole_and_the_next_request_is_answered(servers: Pair, size: int, first: str, together: int) -> None:
    asked = head(f"{first},{size},999", f"Content-Length: {len(BODY)}")
    answered = alike(servers, [asked + BODY[:together], BODY[together:] + NEXT])
    assert told(BODY) in answered
    assert answers(answered) == (2, True)


@pytest.mark.parametrize("times", [0, 1])
def test_what_is_left_of_it_is_not_taken_for_a_request(servers: Pair, times: int) -> None:
    body = NEXT * 5  # by itself it would be small enough for the short way, which has read it already
    answered = alike(
        servers, [head(f"-,{len(NEXT)},{times}", f"Content-Length: {len(body)}", "TE: trailers") + body + NEXT]
    )
    assert told(body[: times * len(NEXT)]) in answered
    assert answers(answered) == (2, True)


@pytest.mark.parametrize("times", [0, 1])
def test_what_is_left_of_a_large_one_is_not_taken_for_a_request_either(servers: Pair, times: int) -> None:
    """And what came behind it, in one packet with its end, is one: on the same connection again and again."""
    body = NEXT * 2000
    asked = head(f"-,{len(NEXT)},{times}", f"Content-Length: {len(body)}")
    answered = alike(servers, [asked, body[: len(NEXT)], body[len(NEXT) :] + NEXT + asked + body + NEXT])
    assert answered.count(told(body[: times * len(NEXT)])) == 2
    assert answers(answered) == (4, True)


def test_one_that_breaks_off_while_it_is_read_ends_its_connection(servers: Pair) -> None:
    """Where the next request begins is not known then, whatever the application answers."""
    asked = head("-,1000,99", "Content-Length: 70000", "X-Too-Late: 1")
    for server in servers:
        with server.connect() as client:
            client.sendall(asked + b"a" * 9)
            assert b"too late" in all_of(client)


def test_one_that_is_cut_off_ends_there(servers: Pair) -> None:
    assert told(b"a" * 9) in alike(servers, [head("-,1000,99", "Content-Length: 10") + b"a" * 9])


def test_one_that_waits_to_be_asked_for_is_asked_for(servers: Pair) -> None:
    for server in servers:
        with server.connect() as client:
            client.sendall(head("-,1000,99", "Content-Length: 4", "Expect: 100-continue"))
            assert client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(b"body")
            assert one_answer(client) == (200, True, told(b"body"))


def test_one_in_chunks_is_left_to_gunicorn(servers: Pair) -> None:
    answered = alike(servers, [head("-,1000,99", "Transfer-Encoding: chunked") + b"4\r\nbody\r\n0\r\n\r\n" + NEXT])
    assert b"not straight" in answered
    assert answers(answered) == (2, True)


def test_a_quick_client_whose_bytes_are_all_there_lets_others_have_their_turn_before_each_read() -> None:
    told = subprocess.run([sys.executable, "-c", BESIDE_OTHERS], capture_output=True, text=True, check=True)
    assert int(told.stdout) >= 5
