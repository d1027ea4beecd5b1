"""Answers of one turn of the loop leave when all of that turn are there; a reader who is slow or gone holds up nobody.

The connections are real, and both ends are in this process, so that a turn is known to be one.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import gevent
import pytest
from gevent import get_hub
from gevent import socket as gevent_socket
from gevent.event import Event
from gunicorn.config import Config

from tests.worker.servers import all_of, one_answer
from tokensvc.worker.connection import Connection
from tokensvc.worker.heads import Heads
from tokensvc.worker.outbox import Outbox

GET: Final = b"GET /auth HTTP/1.1\r\nHost: shop.example\r\n\r\n"
SMALL: Final = b"small"
LARGE: Final = b"x" * 60_000
"""The longest answers that go out in one write are not much longer."""

_FEW_BYTES: Final = 4096


class Serving:
    """A worker, as a connection sees it, whose application answers `body` when it is let go on."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.cfg, self.log = Config(), logging.getLogger("tests.outbox")
        self.cfg.set("keepalive", 60)  # or who was forgotten would be found by its timer
        self.outbox, self.wsgi = Outbox(get_hub().loop), self._answer
        self.go_on, self.body = Event(), SMALL
        self.asked, self.ends = 0, list[gevent_socket.socket]()
        self.on_each: Callable[[], object] = bool

    def _answer(self, _environ: dict[str, Any], start: Any) -> list[bytes]:
        self.asked += 1
        body = self.body
        self.go_on.wait()
        self.on_each()
        start("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    def count(self) -> bool:
        """Connections are kept."""
        return True

    def handle_error(self, _asked: object, _client: object, _addr: object, exc: Exception) -> None:
        """Nothing here is to fail."""
        raise exc

    def connect(self) -> tuple[gevent_socket.socket, gevent.Greenlet]:
        """The client's end of a connection, and the greenlet that serves the other."""
        ours, theirs = gevent_socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _FEW_BYTES)
        theirs.settimeout(5.0)
        self.ends.append(ours)
        served = gevent.spawn(self._serve, ours)
        self._stack.callback(served.kill)
        self._stack.callback(theirs.close)
        return theirs, served

    def _serve(self, ours: gevent_socket.socket) -> None:
        with ours:
            Connection(self, Heads(0, 0, 0, ()), ("127.0.0.1", 80), ours, "").serve()

    def ask(self, *clients: gevent_socket.socket) -> None:
        """Let each ask once, and come back when all of them wait for the application."""
        before = self.asked
        for client in clients:
            client.sendall(GET)
        while self.asked < before + len(clients):
            gevent.sleep(0)


@pytest.fixture
def serving() -> Iterator[Serving]:
    with ExitStack() as stack:
        yield Serving(stack)


def test_answers_of_one_turn_leave_when_the_last_of_them_is_there(serving: Serving) -> None:
    clients = [serving.connect()[0] for _ in range(3)]
    serving.ask(*clients)
    seen: list[bool] = []
    serving.on_each = lambda: seen.extend(not has_come(client) for client in clients)
    serving.go_on.set()
    assert [one_answer(client)[::2] for client in clients] == [(200, SMALL)] * 3
    assert seen == [True] * 9


def has_come(client: gevent_socket.socket) -> bool:
    """Whether there is something to read."""
    try:
        return bool(socket.socket.recv(client._sock, 1, socket.MSG_DONTWAIT | socket.MSG_PEEK))
    except BlockingIOError:
        return False


def test_who_hung_up_takes_no_neighbour_along(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    (first, _), (gone, served), (last, _) = (serving.connect() for _ in range(3))
    serving.ask(first, gone, last)
    gone.close()
    gevent.sleep(0.01)  # gevent closes it in a later turn
    serving.go_on.set()
    assert [one_answer(client)[::2] for client in (first, last)] == [(200, SMALL)] * 2
    served.join(9.0)
    assert served.successful()
    assert not caplog.records


def test_a_slow_reader_holds_up_nobody_and_gets_all_of_it_and_the_next(serving: Serving) -> None:
    (slow, _), (quick, _) = (serving.connect() for _ in range(2))
    serving.body = LARGE
    serving.ask(slow)
    serving.body = SMALL
    serving.ask(quick)
    serving.go_on.set()
    for _ in range(3):
        assert one_answer(quick)[::2] == (200, SMALL)
        quick.sendall(GET)
    slow.sendall(GET)  # before it has read its answer
    assert one_answer(slow)[::2] == (200, LARGE)
    assert one_answer(slow)[::2] == (200, SMALL)
    slow.sendall(GET)
    assert one_answer(slow)[::2] == (200, SMALL)


def test_neither_does_one_for_whom_there_is_no_room_at_all(serving: Serving) -> None:
    (slow, _), (quick, _) = (serving.connect() for _ in range(2))
    serving.ask(slow, quick)
    filled = fill(serving.ends[0])
    serving.go_on.set()
    assert one_answer(quick)[::2] == (200, SMALL)
    while filled:
        filled -= len(slow.recv(filled))
    assert one_answer(slow)[::2] == (200, SMALL)


def fill(end: gevent_socket.socket) -> int:
    """Send until no byte more goes, and say how many did."""
    filled = 0
    while True:
        try:
            filled += socket.socket.send(end._sock, b"x", socket.MSG_DONTWAIT)
        except BlockingIOError:
            return filled


@pytest.mark.parametrize("body", [SMALL, LARGE])
def test_requests_that_came_together_are_answered_in_turn(serving: Serving, body: bytes) -> None:
    client, _ = serving.connect()
    serving.body = body
    serving.go_on.set()
    client.sendall(GET * 3)
    assert [one_answer(client)[::2] for _ in range(3)] == [(200, body)] * 3
    client.sendall(GET)
    assert one_answer(client)[::2] == (200, body)


def test_a_slow_reader_may_take_longer_than_a_connection_may_idle(serving: Serving) -> None:
    serving.cfg.set("keepalive", 1)
    client, _ = serving.connect()
    serving.body = LARGE
    serving.go_on.set()
    client.sendall(GET)
    head, received = b"", 0
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    for _ in range(30):
        gevent.sleep(0.05)
        received += len(client.recv(100))
    while received < len(LARGE):
        received += len(client.recv(65536))
    client.sendall(GET)
    assert one_answer(client)[::2] == (200, LARGE)


def test_an_answer_leaves_though_its_greenlet_is_ended_in_that_turn(serving: Serving) -> None:
    client, served = serving.connect()
    serving.ask(client)
    serving.on_each = lambda: get_hub().loop.run_callback(served.throw, gevent.GreenletExit)
    serving.go_on.set()
    assert all_of(client).endswith(SMALL)
