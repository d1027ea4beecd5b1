"""Ends requests whose body comes too slowly: one with a byte now and then would hold its place for ever otherwise.

What counts is the mean since the first read, so a phone that stands still for a moment is not cut off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from io import BytesIO
from typing import Any, Final
from wsgiref.types import InputStream, StartResponse, WSGIApplication, WSGIEnvironment

GRACE_SECONDS: Final = 5.0
SLOWEST_BYTES_PER_SECOND: Final = 2048
_MOST_AT_ONCE: Final = 16 * 1024
"""One read returns when it has all that was asked for, so a large one would be a long wait."""

Within = Callable[[float], AbstractContextManager[object]]
"""A block that TimeoutError ends after so many seconds, as far as the worker can do that."""

ReadInto = Callable[[memoryview, float], int]
"""Puts there what has come, having waited for the first of it. How many bytes that were; none at the end.

TimeoutError after so many seconds, as far as the worker can do that.
"""


def never_straight(_stream: object) -> ReadInto | None:
    """There is no quicker way than the server's `read`."""
    return None


class PacedBodies:
    """A WSGI application around another, whose requests' bodies come at no less than `SLOWEST_BYTES_PER_SECOND`.

    To read on from one that is slower raises TimeoutError, and the connection is closed after the answer.
    """

    def __init__(
        self,
        application: WSGIApplication,
        within: Within,
        straight: Callable[[object], ReadInto | None] = never_straight,
    ) -> None:
        """`straight` tells of a quicker way to read a body, if there is one for it."""
        self._application = application
        self._within = within
        self._straight = straight

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as the application does."""
        stream = environ["wsgi.input"]
        if stream.__class__ is BytesIO:  # it is here already, as the worker's short way has it
            return self._application(environ, start_response)
        body = _Paced(stream, self._within, self._straight)
        environ["wsgi.input"] = body

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Callable[[bytes], object]:  # noqa: ANN401 - exc_info
            if body.too_slow:
                headers = [*headers, ("Connection", "close")]
            return start_response(status, headers, *more)

        return self._application(environ, start)


class _Paced:
    """A request's body as it comes in."""

    def __init__(self, stream: InputStream, within: Within, straight: Callable[[object], ReadInto | None]) -> None:
        self._stream = stream
        self._within = within
        self._straight = straight
        self._readinto: ReadInto | None = None
        self._began: float | None = None
        self._received = 0
        self.too_slow = False

    def read(self, size: int = -1, /) -> bytes:
        """That many bytes, or fewer at the end; all with no size."""
        if not size:
            return b""
        if 0 < size <= _MOST_AT_ONCE:
            return self._paced(self._stream.read, size)
        chunks, missing = [], size
        while missing and (
            chunk := self._paced(self._stream.read, min(missing, _MOST_AT_ONCE) if size > 0 else _MOST_AT_ONCE)
        ):
            chunks.append(chunk)
            missing -= len(chunk)
        return b"".join(chunks)

    def readinto(self, buffer: memoryview, /) -> int:
        """Put there what has come, having waited for the first of it; how many bytes, and none at the end."""
        if self._readinto is None:
            self._readinto = self._straight(self._stream) or self._read_and_copy
        # In no more time than a small piece has: there may not come more than that.
        seconds = self._seconds_for(min(len(buffer), _MOST_AT_ONCE))
        try:
            received = self._readinto(buffer, seconds)
        except TimeoutError:
            self.too_slow = True
            raise
        self._received += received
        return received

    def readline(self, size: int = -1, /) -> bytes:
        """Up to the end of a line, and at most 16 KiB."""
        return self._paced(self._stream.readline, min(size, _MOST_AT_ONCE) if size >= 0 else _MOST_AT_ONCE)

    def readlines(self, hint: int = -1, /) -> list[bytes]:
        """All lines; the hint is not taken."""
        del hint
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def _read_and_copy(self, buffer: memoryview, seconds: float) -> int:
        with self._within(seconds):
            chunk = self._stream.read(min(len(buffer), _MOST_AT_ONCE))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def _paced(self, read: Callable[[int], bytes], size: int) -> bytes:
        """What `read` gives within the time that `size` bytes have."""
        seconds = self._seconds_for(size)
        try:
            with self._within(seconds):
                chunk = read(size)
        except TimeoutError:
            self.too_slow = True
            raise
        self._received += len(chunk)
        return chunk

    def _seconds_for(self, size: int) -> float:
        """How long the next `size` bytes may take, from now on."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        until = self._began + GRACE_SECONDS + (self._received + size) / SLOWEST_BYTES_PER_SECOND
        return max(0.0, until - now)
