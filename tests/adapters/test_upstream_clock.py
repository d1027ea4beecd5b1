"""The clock of a web server, by the Date of its answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate

import pytest

from tokensvc.adapters.upstream_clock import NoDate, skew


@contextmanager
def server(answer: Callable[[], str]) -> Iterator[str]:
    """The URL of one that gives one answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer().encode())

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/demo"
        thread.join()


def dated(ahead: float = 0.0) -> str:
    date = formatdate(time.time() - ahead, usegmt=True)
    return f"HTTP/1.1 404 Not Found\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n"


def test_clocks_that_agree_differ_by_nothing() -> None:
    """Whatever part of its second it is, and whatever the status."""
    with server(dated) as url:
        assert skew(url, wall=time.time) == 0.0


@pytest.mark.parametrize("ahead", [100.0, -100.0])
def test_a_difference_is_told_but_for_the_second(ahead: float) -> None:
    with server(lambda: dated(ahead)) as url:
        assert skew(url, wall=time.time) == pytest.approx(ahead, abs=2.5)


def test_an_answer_without_a_date_says_nothing() -> None:
    with server(lambda: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as url, pytest.raises(NoDate, match="no Date"):
        skew(url, wall=time.time)


@pytest.mark.parametrize("answer", ["", "nonsense", "HTTP/1.1 200 OK\r\nDate: yesterday\r\n\r\n"])
def test_what_is_no_answer_says_nothing(answer: str) -> None:
    with server(lambda: answer) as url, pytest.raises(NoDate, match="instead of an answer"):
        skew(url, wall=time.time)


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(NoDate):
        skew(f"http://127.0.0.1:{listener.getsockname()[1]}/", wall=time.time, patience=0.05)


def test_nobody_there_is_no_answer() -> None:
    with pytest.raises(NoDate, match="ConnectionRefusedError"):
        skew("http://127.0.0.1:1/", wall=time.time)
