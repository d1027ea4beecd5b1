"""Reads an upload form as it streams in: text fields to memory, the one file to an Incoming, within limits.

The fields are what a credential is bound to, so there is no leniency: a field that occurs twice, a charset
other than UTF-8, a control character is refused and never repaired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from tokensvc.core.errors import Code, Refusal
from tokensvc.core.remote import RemoteUrl
from tokensvc.ports import Incoming, Inspector

from . import file_text
from .parts import (
    MAX_BLANK_BYTES,
    NEVER_IN_TEXT,
    UTF8_NAMES,
    PartHeader,
    Piece,
    Source,
    boundary_of,
    malformed,
    read_parts,
)

FILE_FIELD: Final = "file"

_AROUND_A_HEADER_BYTES: Final = 128
"""A boundary (at most 70) with its dashes, and the line breaks of a part."""


@dataclass(frozen=True, slots=True)
class FormLimits:
    """The most that is accepted: bytes, and for `max_parts` a number.

    A video may have `max_video_bytes` if that is more; what comes without anything to verify before its body,
    `max_unverified_bytes` if that is less.
    """

    max_file_bytes: int
    max_video_bytes: int | None = None
    max_unverified_bytes: int | None = None
    max_field_bytes: int = 64 * 1024
    max_fields_bytes: int = 256 * 1024
    max_header_bytes: int = 8 * 1024
    max_parts: int = 50

    @property
    def largest_file_bytes(self) -> int:
        """Of a file of whatever kind."""
        return max(self.max_file_bytes, self.max_video_bytes or 0)

    def unverified(self) -> FormLimits:
        """The limits of a form about whose sender nothing is known yet."""
        if self.max_unverified_bytes is None:
            return self
        of_any, of_video = self.max_file_bytes, self.largest_file_bytes
        most = self.max_unverified_bytes
        return replace(self, max_file_bytes=min(of_any, most), max_video_bytes=min(of_video, most))

    @property
    def max_body_bytes(self) -> int:
        """No form within these limits is longer: a larger Content-Length can be refused unread."""
        headers = (self.max_parts + 1) * (self.max_header_bytes + _AROUND_A_HEADER_BYTES)
        return file_text.encoded_bytes(self.largest_file_bytes) + self.max_fields_bytes + headers + 2 * MAX_BLANK_BYTES


@dataclass(frozen=True, slots=True)
class Form:
    """All text fields, and the file: received, not sealed, and now the caller's to keep or to discard.

    `file_name` is what the client's part said. It may be empty, and it may be anything: for information only. `url` is
    there instead of the file where that is to be fetched.
    """

    fields: dict[str, str]
    file: Incoming | None
    file_name: str
    url: str | None = None


def read_form(
    stream: Source,
    content_type: str,
    *,
    open_file: Callable[[], Incoming],
    limits: FormLimits,
    inspect: Inspector | None = None,
) -> Form:
    """Read a form to its end, or raise a Refusal; or an Outage, from the store of the file.

    The only file part is `file`, which may also come as text; a form without it is accepted. Without a form, the
    file is discarded. `inspect` tells what is a video, by its first bytes; without it nothing is.
    """
    reading = _Reading(open_file, limits, inspect)
    try:
        boundary = boundary_of(content_type)
        for header, content in read_parts(stream, boundary, max_header_bytes=limits.max_header_bytes):
            reading.take(header, content)
    except BaseException:  # the server's time-outs too
        if reading.file is not None:
            reading.file.discard()
        raise
    return Form(reading.fields, reading.file, reading.file_name, reading.url)


class _Reading:
    """What has been read of a form so far."""

    def __init__(self, open_file: Callable[[], Incoming], limits: FormLimits, inspect: Inspector | None) -> None:
        self.fields: dict[str, str] = {}
        self.file: Incoming | None = None
        self.file_name = ""
        self.url: str | None = None
        self._has_file_field = False
        self._open_file = open_file
        self._limits = limits
        self._inspect = inspect
        self._fields_bytes = 0

    def take(self, header: PartHeader, content: Iterator[Piece]) -> None:
        name = header.name
        if len(self.fields) + self._has_file_field >= self._limits.max_parts:
            raise Refusal(Code.TOO_LARGE, f"The form has more than {self._limits.max_parts} parts.")
        if name in self.fields or (name == FILE_FIELD and self._has_file_field):
            raise malformed(f"The field {name} occurs twice.", "Send each field once.", field=name)
        if name == FILE_FIELD:
            self._has_file_field = True
            self._file(header, content)
        elif header.file_name is None:
            self.fields[name] = self._text(header, content)
        else:
            raise malformed(f"The field {name} is a file.", "Send the file as the field file.", field=name)

    def _file(self, header: PartHeader, content: Iterator[Piece]) -> None:
        pieces: Iterator[Piece] | RemoteUrl | None = content
        if header.file_name is None:
            pieces = file_text.decode(map(bytes, content), max_bytes=self._limits.largest_file_bytes)
        if isinstance(pieces, RemoteUrl):
            self.url = str(pieces)
        elif pieces is not None:
            self.file_name = header.file_name or ""
            self.file = self._open_file()
            receive_within(self._limits, self.file, pieces, self._inspect)

    def _text(self, header: PartHeader, content: Iterator[Piece]) -> str:
        name = header.name
        if header.charset not in UTF8_NAMES:
            raise _unreadable(name, f"{name} is not in UTF-8.")
        value = self._bounded(name, content)
        try:
            text = value.decode()
        except UnicodeDecodeError:
            raise _unreadable(name, f"{name} is not valid UTF-8.") from None
        if NEVER_IN_TEXT.search(text):
            raise _unreadable(name, f"{name} has a control character in it, such as a line break, or U+FFFD.")
        return text

    def _bounded(self, name: str, content: Iterator[Piece]) -> bytearray:
        limits = self._limits
        value = bytearray()
        for piece in content:
            value += piece
            self._fields_bytes += len(piece)
            if len(value) > limits.max_field_bytes:
                detail = f"{name} is longer than {limits.max_field_bytes:,} bytes."
                raise Refusal(Code.TOO_LARGE, detail, field=name)
            if self._fields_bytes > limits.max_fields_bytes:
                detail = f"The text fields are longer than {limits.max_fields_bytes:,} bytes in all."
                raise Refusal(Code.TOO_LARGE, detail, field=name)
        return value


def receive_within(
    limits: FormLimits, file: Incoming, content: Iterator[Piece], inspect: Inspector | None = None
) -> None:
    """Take in what comes, or raise a Refusal when it is too large. `inspect` is as for `read_form`."""
    limit = limits.max_file_bytes
    for piece in content:
        if file.size + len(piece) > limit and limit < limits.largest_file_bytes:
            ordinary = limit - file.size
            file.write(piece[:ordinary])
            piece = piece[ordinary:]  # noqa: PLW2901 - the rest of it
            if _is_video(file, inspect):
                limit = limits.largest_file_bytes
        if file.size + len(piece) > limit:
            detail = f"The file is larger than {limit:,} bytes."
            raise Refusal(Code.TOO_LARGE, detail, "Send a smaller file.", field=FILE_FIELD)
        file.write(piece)


def _is_video(file: Incoming, inspect: Inspector | None) -> bool:
    """By what has come of it so far, which is enough: it is asked only when that is a whole ordinary file."""
    if inspect is None:
        return False
    with file.open() as content:
        return inspect(content, "").mime.startswith("video/")


def _unreadable(name: str, detail: str) -> Refusal:
    return Refusal(Code.PARAMETER_INVALID, detail, "Send one line of text in UTF-8.", field=name)
