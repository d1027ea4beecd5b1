"""A body is given on whole, in any pieces; one that is too slow ends in TimeoutError and a closed connection."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from tokensvc.web.paced_bodies import PacedBodies, never_straight

Read = Callable[[Any], object]


@contextlib.contextmanager
def as_long_as_it_takes(_seconds: float) -> Iterator[None]:
    yield


def answer(
    body: bytes,
    read: Read,
    within: Any = as_long_as_it_takes,
    straight: Any = never_straight,
    *,
    arrived: bool = False,
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

    stream = io.BytesIO(body) if arrived else io.BufferedReader(io.BytesIO(body))
    list(PacedBodies(application, within, straight)({"wsgi.input": stream}, start))
    return seen[0], sent


def into(stream: Any, size: int) -> bytes:
    buffer = memoryview(bytearray(size))
    return bytes(buffer[: stream.readinto(buffer)])


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
        (lambda stream: into(stream, 30_000), BODY[:16_384]),
        (lambda stream: into(stream, 5), BODY[:5]),
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


def too_late(_buffer: memoryview, seconds: float) -> int:
    assert seconds > 0
    raise TimeoutError


def test_one_that_has_arrived_already_is_not_waited_for() -> None:
    seen, headers = answer(BODY, lambda stream: stream.read(), over, arrived=True)
    assert seen == BODY
    assert ("Connection", "close") not in headers


@pytest.mark.parametrize(
    ("read", "straight"),
    [
        (lambda stream: stream.read(), never_straight),
        (lambda stream: into(stream, 10), never_straight),
        (lambda stream: into(stream, 10), lambda _stream: too_late),
    ],
)
def test_one_that_is_too_slow_ends_and_is_hung_up_on(read: Read, straight: Any) -> None:
    seen, headers = answer(BODY, read, over, straight)
    assert isinstance(seen, TimeoutError)
    assert ("Connection", "close") in headers


def test_the_quicker_way_may_bring_more_and_has_no_more_time() -> None:
    """Else a client could send a byte now and then for as long as its buffer is large."""
    left: list[float] = []

    def noting(stream: Any) -> Any:
        def readinto(buffer: memoryview, seconds: float) -> int:
            left.append(seconds)
            return int(stream.readinto(buffer))

        return readinto

    def read(stream: Any) -> tuple[bytes, bytes]:
        return into(stream, 65_536), into(stream, 65_536)

    seen, _ = answer(BODY, read, straight=noting)
    assert seen == (BODY[:65_536], BODY[65_536:])
    assert left == pytest.approx([13.0, 45.0], abs=1.0)
