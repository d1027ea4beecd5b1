"""Cuts a multipart/form-data body (RFC 7578) into parts as it streams in, in the one strict spelling.

Every body that is accepted has one reading only: CRLF, one `name=`, no part header twice, nothing before the
first boundary or after the last. werkzeug's decoder would take other spellings too, and lets a stray CR into
a value if a piece of the stream ends within a boundary (3.1.9, and a test watches it): hence this one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from werkzeug.exceptions import RequestEntityTooLarge

from tokensvc.core.errors import Code, Outage, Refusal

_SMALL_BUFFER_BYTES: Final = 16 * 1024
"""Of each body that is being read: a thousand clients that hardly send anything take up 16 MB."""

_LARGE_BUFFER_BYTES: Final = 512 * 1024
"""Of one that comes quickly. To look through, hash and write as much holds up other requests for 0.7 ms."""

MAX_BLANK_BYTES: Final = 1024
"""Line breaks that may stand before the first boundary, and after the last."""

NEVER_IN_TEXT: Final = re.compile("[\0-\x1f\x7f-\x9f\ufffd]")
"""Control characters, line breaks and tabs among them, and what a lenient decoder puts for broken UTF-8."""

UTF8_NAMES: Final = frozenset({"", "utf-8", "utf8"})

_MAX_NAME_LENGTH: Final = 128
"""A name is quoted in refusals; the longest that ImageKit knows has 23 letters."""

_MOST_SAME_AGAIN: Final = 128
"""Bytes of a header that is remembered."""

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")  # RFC 2046 5.1.1
_PARAMETER = re.compile(r"""[ ]*;[ ]*([\w!#$%&'*+\-.^`|~]+)[ ]*=[ ]*(?:"((?:[^"\\]|\\.)*)"|([^\s";]+))""", re.ASCII)
_ENCODINGS_AS_IS: Final = frozenset({"7bit", "8bit", "binary"})


Piece = bytes | memoryview
"""Bytes of a body. They are as they are only until the next piece is taken."""


class Source(Protocol):
    """Where a body comes from."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Put there what has come, having waited for the first of it; how many bytes, and none at the end."""


@dataclass(frozen=True, slots=True)
class PartHeader:
    """`file_name` is None for a text field; `charset` is lower-case, and empty if none is said."""

    name: str
    file_name: str | None
    charset: str


def malformed(detail: str, remedy: str = "", *, field: str | None = None) -> Refusal:
    """The refusal of a body that is not a form."""
    return Refusal(Code.REQUEST_MALFORMED, detail, remedy, field=field)


def boundary_of(content_type: str) -> bytes:
    """The boundary that the Content-Type of a form announces, or a Refusal."""
    kind, parameters = _parse_parameters(content_type, "Content-Type")
    field = "Content-Type"
    if kind != "multipart/form-data":
        raise malformed("The Content-Type is not multipart/form-data.", "Send the upload as a form.", field=field)
    if parameters.get("charset", "").lower() not in UTF8_NAMES:
        raise malformed("The form is not in UTF-8.", "Send text as UTF-8.", field=field)
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        remedy = "Let the HTTP library write the Content-Type of a form."
        raise malformed("The Content-Type has no boundary, or not a valid one.", remedy, field=field)
    return boundary.encode()


def read_parts(
    stream: Source, boundary: bytes, *, max_header_bytes: int
) -> Iterator[tuple[PartHeader, Iterator[Piece]]]:
    """Yield each part with its content in pieces, to be used up before the next part; or raise a Refusal.

    It ends only when the stream has ended, after a whole form.
    """
    body = _Body(stream)
    delimiter = b"\r\n--" + boundary
    if body.take_until(delimiter, MAX_BLANK_BYTES, "The form").strip(b"\r\n"):
        raise malformed("There is something before the first boundary of the form.")
    while (after := body.take(2)) == b"\r\n":
        header = body.take_until(b"\r\n\r\n", max_header_bytes, "The header of a part")
        parse = _parse_again if len(header) <= _MOST_SAME_AGAIN and b"filename" not in header else _parse_header
        yield parse(header), body.pieces_until(delimiter)
    if after != b"--":
        raise malformed("A boundary of the form is followed by something else than CR LF.")
    body.require_end()


class _Body:
    """The bytes of a body, taken from the front up to a marker. All of them pass through one buffer."""

    def __init__(self, stream: Source) -> None:
        self._stream = stream
        self._buffer = bytearray(_SMALL_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._view[:2] = b"\r\n"  # so that the first boundary looks like all others
        self._start, self._end = 0, 2

    def take(self, size: int) -> bytes:
        while self._end - self._start < size:
            self._read_on()
        return bytes(self._cut(size))

    def take_until(self, marker: bytes, limit: int, what: str) -> bytes:
        """Take what stands before the marker, at most `limit` bytes, and drop the marker."""
        while (at := self._find(marker)) < 0 and self._end - self._start < limit + len(marker):
            self._read_on()
        if not 0 <= at <= limit:
            raise malformed(f"{what} does not begin or end as it should within {limit:,} bytes.")
        taken = bytes(self._cut(at))
        self._cut(len(marker))
        return taken

    def pieces_until(self, marker: bytes) -> Iterator[Piece]:
        """Like `take_until`, but as it comes, and without a limit."""
        while (at := self._find(marker)) < 0:
            surely_before = self._end - self._start - len(marker) + 1
            if surely_before > 0:
                yield self._cut(surely_before)
            self._read_on()
        if at:
            yield self._cut(at)
        self._cut(len(marker))

    def require_end(self) -> None:
        blank = 0
        while True:
            rest = bytes(self._cut(self._end - self._start))
            blank += len(rest)
            if rest.strip(b"\r\n") or blank > MAX_BLANK_BYTES:
                raise malformed("There is something after the last boundary of the form.")
            if not self._read():
                return

    def _find(self, marker: bytes) -> int:
        """How many bytes there are before it; negative without it."""
        at = self._buffer.find(marker, self._start, self._end)
        return at if at < 0 else at - self._start

    def _cut(self, size: int) -> memoryview:
        start, self._start = self._start, self._start + size
        return self._view[start : self._start]

    def _read_on(self) -> None:
        if not self._read():
            raise malformed("The form ends before its last boundary.", "Send the whole form.")

    def _read(self) -> int:
        """Read what has come after what is left, for which the front of the buffer is made free."""
        rest = self._view[self._start : self._end]
        if self._end == _SMALL_BUFFER_BYTES == len(self._buffer):
            self._buffer = bytearray(_LARGE_BUFFER_BYTES)
            self._view = memoryview(self._buffer)
        left = len(rest)
        self._view[:left] = rest
        self._start, self._end = 0, left
        try:
            received = self._stream.readinto(self._view[left:]) or 0
        except (Refusal, Outage):
            raise
        except RequestEntityTooLarge:
            raise Refusal(Code.TOO_LARGE, "The body is too large.") from None
        except Exception as exc:
            # The client went away, or its chunks are not chunks: gunicorn's errors for that are not OSErrors.
            raise malformed("The body could not be read to its end.", "Send the whole form.") from exc
        self._end += received
        return received


def _parse_header(header: bytes) -> PartHeader:
    try:
        text = header.decode()
    except UnicodeDecodeError:
        raise malformed("The header of a part is not valid UTF-8.") from None
    lines: dict[str, str] = {}
    for line in text.split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon or not name.isascii() or name.strip() != name or NEVER_IN_TEXT.search(line):
            raise malformed("The header of a part has a broken line, or a control character in it.")
        if name.lower() in lines:
            raise malformed(f"The header of a part has {name} twice.")
        lines[name.lower()] = value.strip()
    if lines.get("content-transfer-encoding", "binary").lower() not in _ENCODINGS_AS_IS:
        raise malformed("A part is encoded.", "Send parts as they are, without a Content-Transfer-Encoding.")
    kind, parameters = _parse_parameters(lines.get("content-disposition", ""), "Content-Disposition")
    # RFC 7578 4.2 forbids filename*; .NET sends it beside filename. Its value is not looked at.
    is_file = parameters.pop("filename*", None) is not None or "filename" in parameters
    if kind != "form-data" or not parameters.get("name") or any("*" in name for name in parameters):
        raise malformed("A part has no Content-Disposition: form-data with exactly one name.")
    if len(parameters["name"]) > _MAX_NAME_LENGTH:
        raise malformed(f"The name of a field is longer than {_MAX_NAME_LENGTH} characters.")
    _, of_type = _parse_parameters(lines.get("content-type", ""), "Content-Type")
    file_name = parameters.get("filename", "") if is_file else None
    return PartHeader(parameters["name"], file_name, of_type.get("charset", "").lower())


_parse_again = lru_cache(maxsize=256)(_parse_header)
"""Of a text field it says the field's name and no more: the same in form after form, and nothing secret."""


def _parse_parameters(header: str, where: str) -> tuple[str, dict[str, str]]:
    """Split `kind; a=b; c="d"` into the kind and its parameters, all names in lower case."""
    kind, semicolon, rest = header.partition(";")
    rest = semicolon + rest
    parameters: dict[str, str] = {}
    at = 0
    while found := _PARAMETER.match(rest, at):
        name, quoted, plain = found.groups()
        if name.lower() in parameters:
            raise malformed(f"{where} has {name} twice.", field=where)
        # Browsers write a quote as %22, other clients as \".
        value = plain if quoted is None else re.sub(r'\\(["\\])', r"\1", quoted).replace("%22", '"')
        parameters[name.lower()] = value
        at = found.end()
    if rest[at:].strip(" ;"):
        raise malformed(f"{where} is not well-formed.", field=where)
    return kind.strip().lower(), parameters
