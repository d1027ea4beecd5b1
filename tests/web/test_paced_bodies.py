"""A body is given on whole, in any pieces; one that is too slow ends in TimeoutError and a closed connection."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from tokensvc.web.paced_bodies import PacedBodies

Read = Callable[[Any], object]


@contextlib.contextmanager
def as_long_as_it_takes(_seconds: float) -> Iterator[None]:
    yield


def answer(
    body: bytes, read: Read, within: Any = as_long_as_it_takes, *, arrived: bool = False
) -> tuple[object, list[tuple[str, str]]]:
    """What an application reads of a body, and the headers of its answer. `arrived`: it is in memory already."""
    seen: list[object] = []
    sent: list[tuple[str, str]] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        try:
            seen.append(read(environ["wsgi.input"]))
        except TimeoutError as exc:
            seen.append(exc)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    def start(_status: str, headers: list[tuple[str, str]], *_more: Any) -> Any:
        sent.extend(headers)

    stream = io.BytesIO(body)
    list(PacedBodies(application, within)({"wsgi.input": stream if arrived else io.BufferedReader(stream)}, start))
    return seen[0], sent


BODY = b"".join(b"%07d\n" % number for number in range(10_000))


@pytest.mark.parametrize(
    ("read", "wanted"),
    [
        (lambda stream: stream.read(), BODY),
        (lambda stream: stream.read(0), b""),
        (lambda stream: stream.read(70_000), BODY[:70_000]),
        (lambda stream: stream.read(90_000), BODY),
        (lambda stream: stream.readline(), BODY[:8]),
        (lambda stream: stream.readline(3), BODY[:3]),
        (lambda stream: b"".join(stream.readlines()), BODY),
        (b"".join, BODY),
        (lambda stream: (stream.read(16_385), stream.read(1)), (BODY[:16_385], BODY[16_385:16_386])),
    ],
)
def test_a_body_is_read_as_without_it(read: Read, wanted: object) -> None:
    seen, headers = answer(BODY, read)
    assert seen == wanted
    assert ("Connection", "close") not in headers


def test_the_time_that_is_left_grows_with_what_has_come() -> None:
    """5 s, and a second for each 2,048 bytes that came or are asked for."""
    left: list[float] = []

    @contextlib.contextmanager
    def noting(seconds: float) -> Iterator[None]:
        left.append(seconds)
        yield

    answer(bytes(20_480), lambda stream: (stream.read(2_048), stream.read(18_432)), noting)
    assert left == pytest.approx([6.0, 14.0, 15.0], abs=1.0)


@contextlib.contextmanager
def over(seconds: float) -> Iterator[None]:
    if seconds > 0:
        raise TimeoutError
    yield


def test_one_that_has_arrived_already_is_not_waited_for() -> None:
    seen, headers = answer(BODY, lambda stream: stream.read(), over, arrived=True)
    assert seen == BODY
    assert ("Connection", "close") not in headers


def test_one_that_is_too_slow_ends_and_is_hung_up_on() -> None:
    seen, headers = answer(BODY, lambda stream: stream.read(), over)
    assert isinstance(seen, TimeoutError)
    assert ("Connection", "close") in headers
