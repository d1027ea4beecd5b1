"""What the head of a plain request comes to in the environment. Anything else is for gunicorn to understand or refuse.

A line that was seen before is looked up, not read: clients send the same ones again and again. That is so of a few
fields by name; what may hold a secret is read each time, so that none is kept here.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

MOST_BYTES: Final = 8192
"""Of a plain request's head."""

_MOST_KNOWN: Final = 512
"""Lines that are remembered. When there are more, clients are that different, and all are forgotten."""

_VERSION: Final = b" HTTP/1.1"
_ASKED: Final = re.compile(
    rb"(GET|POST) (/(?!/)[A-Za-z0-9/._~-]*)(?:\?([A-Za-z0-9/._~=&%+:,@!$'()*;?-]*))?" + re.escape(_VERSION)
)
_FIELD: Final = re.compile(rb"([A-Za-z][A-Za-z0-9-]{0,63}): ?([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)")
"""Without a blank, a control or a byte that anybody could read in two ways."""

_NOT_PLAIN: Final = frozenset(
    {
        "CONTENT_ENCODING",
        "EXPECT",
        "HTTP2_SETTINGS",
        "KEEP_ALIVE",
        "PROXY_CONNECTION",
        "TE",
        "TRAILER",
        "TRANSFER_ENCODING",
        "UPGRADE",
    }
)
"""Fields that say how to read the rest, or what to do with the connection."""

_SAME_AGAIN: Final = frozenset(
    {
        "ACCEPT",
        "ACCEPT_ENCODING",
        "ACCEPT_LANGUAGE",
        "CACHE_CONTROL",
        "CONNECTION",
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "DNT",
        "HOST",
        "ORIGIN",
        "PRAGMA",
        "PRIORITY",
        "SEC_CH_UA",
        "SEC_CH_UA_MOBILE",
        "SEC_CH_UA_PLATFORM",
        "SEC_FETCH_DEST",
        "SEC_FETCH_MODE",
        "SEC_FETCH_SITE",
        "USER_AGENT",
    }
)
"""Fields that say the same in request after request, and nothing secret."""

_LENGTH: Final = re.compile("0|[1-9][0-9]{0,11}")


class NotPlain(Exception):  # noqa: N818 - no error: gunicorn says what it is
    """There is something in it that may have a second meaning."""


class Heads:
    """Understands heads, within gunicorn's limits: bytes of the first line, how many fields, bytes of a field."""

    def __init__(self, most_asked: int, most_fields: int, most_of_field: int, scheme_fields: Collection[str]) -> None:
        """Zero is no limit. `scheme_fields` are those by which gunicorn is told of https."""
        self._most_fields = most_fields or MOST_BYTES
        self._asked = _Asked(most_asked or MOST_BYTES)
        self._fields = _Fields(most_of_field or MOST_BYTES, scheme_fields)

    def environ(self, head: bytes) -> dict[str, str]:
        """The part of the environment that is in a head without its last two line ends; raises NotPlain."""
        asked, *lines = head.split(b"\r\n")
        if len(lines) > self._most_fields:
            raise NotPlain
        environ = dict(map(self._fields.__getitem__, lines))
        if len(environ) != len(lines) or "HTTP_HOST" not in environ:  # how to join two of a name is for gunicorn to say
            raise NotPlain
        environ.update(self._asked[asked])
        return environ


class _Asked(dict[bytes, dict[str, str]]):
    """What the first lines of requests come to. One with a query is read each time: there may be a token in it."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self._most_bytes = most_bytes

    def __missing__(self, line: bytes) -> dict[str, str]:
        match = _ASKED.fullmatch(line)
        if match is None or len(line) > self._most_bytes:
            raise NotPlain
        method, path, query = match.groups()
        asked = {
            "REQUEST_METHOD": method.decode("ascii"),
            "PATH_INFO": path.decode("ascii"),
            "QUERY_STRING": "" if query is None else query.decode("ascii"),
            "RAW_URI": line[len(method) + 1 : -len(_VERSION)].decode("ascii"),
        }
        if query is None:
            if len(self) >= _MOST_KNOWN:
                self.clear()
            self[line] = asked
        return asked


class _Fields(dict[bytes, tuple[str, str]]):
    """What the lines of fields come to, by line."""

    def __init__(self, most_bytes: int, scheme_fields: Collection[str]) -> None:
        super().__init__()
        self._most_bytes = most_bytes
        self._scheme = {name.upper().replace("-", "_") for name in scheme_fields}

    def __missing__(self, line: bytes) -> tuple[str, str]:
        match = _FIELD.fullmatch(line)
        if match is None or len(line) + len("\r\n") > self._most_bytes:
            raise NotPlain
        name, value = match[1].decode("ascii").upper().replace("-", "_"), match[2].decode("ascii")
        if not self._is_plain(name, value):
            raise NotPlain
        field = (name if name in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{name}", value)
        if name in _SAME_AGAIN:
            if len(self) >= _MOST_KNOWN:
                self.clear()
            self[line] = field
        return field

    def _is_plain(self, name: str, value: str) -> bool:
        match name:
            case "CONNECTION":
                return value.lower() == "keep-alive"
            case "HOST":
                return "[" not in value
            case "CONTENT_LENGTH":
                return _LENGTH.fullmatch(value) is not None
        return name not in _NOT_PLAIN and name not in self._scheme
