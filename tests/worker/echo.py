"""An application that answers with the environment that it was given, and in odd ways if asked to."""

from __future__ import annotations

import gc
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tokensvc.adapters.server_bodies import straight

LOADED_WITH_COLLECTION = gc.isenabled()
_PLAIN = (str, int, bool, tuple)
_OTHER_OBJECTS = {"gunicorn.socket", "wsgi.early_hints", "wsgi.errors", "wsgi.input"}


def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    """What is asked for by the path's end; else all that is plain of the environment, and the body."""
    asked = environ["PATH_INFO"].rpartition("/")[2]
    special = SPECIAL.get(asked)
    if special is not None:
        return special(environ, start)
    if asked == "unread":
        return _answer(start, b"{}")
    if asked == "collection":  # apart from those below: here the two classes differ
        frozen = gc.get_freeze_count() > 0
        collected = {"loading": LOADED_WITH_COLLECTION, "serving": gc.isenabled(), "frozen": frozen}
        return _answer(start, json.dumps(collected).encode())
    seen = {
        name: value if isinstance(value, _PLAIN) else repr(value)
        for name, value in sorted(environ.items())
        if name not in _OTHER_OBJECTS
    }
    del seen["REMOTE_ADDR"], seen["SERVER_SOFTWARE"]
    seen.pop("REMOTE_PORT", None)
    try:
        seen["body"] = environ["wsgi.input"].read().decode("latin-1")
    except OSError as exc:  # what gunicorn's errors about bodies are
        seen["body"] = type(exc).__name__
    return _answer(start, json.dumps(seen).encode())


def _answer(start: Any, body: bytes, status: str = "200 OK", *more: tuple[str, str]) -> list[bytes]:
    start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *more])
    return [body]


def _straight(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    """By the query: how many bytes gunicorn is to read first (`-` for none), how large a buffer, how often at most."""
    first, size, most = environ["QUERY_STRING"].split(",")
    stream = environ["wsgi.input"]
    body = b"" if first == "-" else stream.read(int(first))
    readinto = straight(stream)
    if readinto is None:
        return _answer(start, b"not straight")
    view = memoryview(bytearray(int(size)))
    for _ in range(int(most)):
        try:
            received = readinto(view, 0.05 if "HTTP_X_TOO_LATE" in environ else 9.0)
        except TimeoutError:
            return _answer(start, b"too late")
        body += view[:received]
        if not received:
            break
    return _answer(start, b"%d %s" % (len(body), hashlib.sha256(body).hexdigest().encode()))


def _stream(_environ: dict[str, Any], start: Any) -> Iterator[bytes]:
    start("200 OK", [("Content-Type", "text/plain")])
    return iter([b"one", b"", b"two"])


def _breaks_later(_environ: dict[str, Any], start: Any) -> Iterator[bytes]:
    start("200 OK", [("Content-Type", "text/plain")])

    def pieces() -> Iterator[bytes]:
        yield b"begun"
        raise RuntimeError("later")

    return pieces()


def _breaks(_environ: dict[str, Any], _start: Any) -> list[bytes]:
    raise RuntimeError("at once")


def _slow(_environ: dict[str, Any], start: Any) -> list[bytes]:
    time.sleep(0.5)
    return _answer(start, b"slow")


def _large(_environ: dict[str, Any], start: Any) -> list[bytes]:
    return _answer(start, b"x" * 3_000_000)


def _sized(body: bytes, declared: int, status: str = "200 OK") -> Any:
    def answer(_environ: dict[str, Any], start: Any) -> list[bytes]:
        start(status, [("Content-Length", str(declared))])
        return [body]

    return answer


def _with(*more: tuple[str, str], status: str = "200 OK") -> Any:
    return lambda _environ, start: _answer(start, b"body", status, *more)


def _lower(_environ: dict[str, Any], start: Any) -> list[bytes]:
    start("200 OK", [("content-length", "2")])
    return [b"ok"]


SPECIAL: dict[str, Callable[[dict[str, Any], Any], Iterable[bytes]]] = {
    "straight": _straight,
    "stream": _stream,
    "breaks-later": _breaks_later,
    "breaks": _breaks,
    "slow": _slow,
    "large": _large,
    "longer": _sized(b"longer than said", 4),
    "shorter": _sized(b"short", 40),
    "empty": _sized(b"", 0),
    "nothing": _sized(b"", 0, "204 NO CONTENT"),
    "not-modified": _sized(b"", 7, "304 NOT MODIFIED"),
    "no-reason": _with(status="200"),
    "error": _with(status="503 SERVICE UNAVAILABLE"),
    "teapot": _with(status="418 I\u2019m"),
    "closes": _with(("Connection", "close")),
    "hops": _with(("Keep-Alive", "timeout=5"), ("TE", "x"), ("Date", "never"), ("Server", "mine")),
    "splits": _with(("X-Note", "a\r\nSet-Cookie: stolen=1")),
    "blanks": _with(("X-Note", "  around\t")),
    "latin": _with(("X-Note", "caf\xe9")),
    "beyond-latin": _with(("X-Note", "\u20ac")),
    "colon": _with(("X-Note: a", "b")),
    "bad-name": _with(("X Note", "a")),
    "twice": _with(("Content-Length", "4")),
    "lower": _lower,
    "cookies": _with(("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Empty", "")),
}
