"""The answer to a plain request: in one write if it is short and its length is known, else by gunicorn's own code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from typing import Any, Final

from gevent import socket
from gunicorn import SERVER, util
from gunicorn.http.wsgi import FileWrapper, Response

from .heads import NotPlain

_MOST_AT_ONCE: Final = 65536
_MOST_KNOWN: Final = 512
"""Lines that are remembered."""

_STATUS: Final = re.compile(r"(?!204|304)[2-5][0-9]{2} [\x20-\x7e]*")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
"""A status, and a field's name and value, that are sent as they are. What else there may be, gunicorn checks, changes
or refuses."""

_SAME_AGAIN: Final = frozenset(
    {
        "Access-Control-Allow-Credentials",
        "Access-Control-Allow-Origin",
        "Access-Control-Expose-Headers",
        "Cache-Control",
        "Content-Length",
        "Content-Type",
        "Pragma",
        "RateLimit-Policy",
        "Vary",
    }
)
"""Fields that say the same in answer after answer, and nothing secret."""


class Answer:
    """Begun by the application, by `start`. Then `keeps` says whether the connection may be kept after it.

    One that keeps it and is sent as it is, is handed to `leave`, which sends it soon.
    """

    def __init__(
        self,
        client: socket.socket,
        cfg: Any,  # noqa: ANN401 - gunicorn's
        environ: dict[str, Any],
        leave: Callable[[bytes], None],
        *,
        may_keep: bool,
    ) -> None:
        self._client, self._cfg, self._environ, self._leave = client, cfg, environ, leave
        self._status: str | None = None
        self._fields: list[tuple[str, str]] = []
        self._by_gunicorn: Response | None = None
        self.keeps = may_keep

    def start(self, status: str, fields: list[tuple[str, str]], error: object = None) -> None:
        """WSGI's `start_response`, but for its old-fashioned `write`."""
        if self._status is not None and error is None:
            raise AssertionError("The application has begun its answer already.")
        self._status, self._fields = status, fields

    def send(self, pieces: Iterable[bytes], second: int) -> None:
        """Send it, dated with a Unix time."""
        try:
            fields = "".join(map(_LINES.__getitem__, self._fields))
            length = self._length()
        except NotPlain:
            self._send_by_gunicorn(pieces)
            return
        body = b"".join(pieces)
        if len(body) != length:
            self._send_by_gunicorn((body,))
            return
        kept = "keep-alive" if self.keeps else "close"
        always = f"Server: {SERVER}\r\nDate: {_date(second)}\r\nConnection: {kept}\r\n"
        whole = f"HTTP/1.1 {self._status}\r\n{always}{fields}\r\n".encode("latin-1") + body
        if self.keeps:
            self._leave(whole)
        else:
            self._client.sendall(whole)

    @property
    def has_begun(self) -> bool:
        """Whether some of it is on its way already."""
        return self._by_gunicorn is not None and self._by_gunicorn.headers_sent

    @cached_property
    def asked(self) -> _Asked:
        """The request, as far as gunicorn wants to know it."""
        return _Asked(self._environ)

    def _length(self) -> int:
        """How long the body is to be, if that and the status are plain."""
        length = dict(self._fields).get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MOST_AT_ONCE or not _is_plain_status(self._status or ""):
            raise NotPlain
        return int(length)

    def _send_by_gunicorn(self, pieces: Iterable[bytes]) -> None:
        self._by_gunicorn = response = Response(self.asked, self._client, self._cfg)
        if not self.keeps:
            response.force_close()
        response.start_response(self._status, self._fields)
        if isinstance(pieces, FileWrapper):
            response.write_file(pieces)
        else:
            for piece in pieces:
                response.write(piece)
        response.close()
        self.keeps = not response.should_close()


class _Asked:
    """A plain request, as gunicorn would have it."""

    version: Final = (1, 1)
    headers: Final = ()

    def __init__(self, environ: dict[str, Any]) -> None:
        self.method, self.uri = environ["REQUEST_METHOD"], environ["RAW_URI"]
        self.query, self.body = environ["QUERY_STRING"], environ["wsgi.input"]

    def should_close(self) -> bool:
        """A plain request does not ask for it."""
        return False


class _Lines(dict[tuple[str, str], str]):
    """The lines of plain fields, by name and value. What is the same in many answers is not looked at again."""

    def __missing__(self, field: tuple[str, str]) -> str:
        name, value = field
        if not _is_plain_name(name) or not _VALUE.fullmatch(value):
            raise NotPlain
        line = f"{name}: {value}\r\n"
        if name in _SAME_AGAIN:
            if len(self) >= _MOST_KNOWN:
                self.clear()
            self[field] = line
        return line


_LINES: Final = _Lines()


@lru_cache(maxsize=_MOST_KNOWN)
def _is_plain_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and not util.is_hoppish(name)


@lru_cache(maxsize=64)
def _is_plain_status(status: str) -> bool:
    return _STATUS.fullmatch(status) is not None


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return str(util.http_date(second))
