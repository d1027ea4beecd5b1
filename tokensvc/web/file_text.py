"""Reads a `file` that came as text: base64, plain or in a data URI, as it streams in; or a URL.

ImageKit stores a text that is neither as it is: the nine bytes of `undefined` become a file. Here such a text is
refused, and so is a short word that only happens to consist of base64's letters.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from itertools import chain
from typing import Final

from tokensvc.core.errors import Code, Refusal
from tokensvc.core.remote import MAX_URL_CHARACTERS, RemoteUrl

SHORTEST_UNMARKED: Final = 24
"""Characters. Shorter plain text without a `=` at its end is rather a word, such as `null` or `avatar01`."""

_AHEAD_BYTES: Final = 256
"""Enough for the head of a data URI, `data:<type>;base64,`."""

_URL = re.compile(rb"[a-z][a-z0-9+.\-]*://", re.IGNORECASE)
_DATA_URI = re.compile(rb"data:([^,]*),", re.IGNORECASE)
_NOT_A_FILE: Final = frozenset({b"null", b"undefined", b"true", b"false", b"NaN"})
_LINE_BREAKS: Final = b"\r\n"
_REMEDY: Final = "Send the file itself as a part with a filename, or its bytes in base64 or as a data URI."


def encoded_bytes(size: int) -> int:
    """The longest text of a file of that many bytes: base64 in lines of 76, and the head of a data URI."""
    return (size + 2) // 3 * 4 * 78 // 76 + 2 + _AHEAD_BYTES


def decode(content: Iterator[bytes], *, max_bytes: int) -> Iterator[bytes] | RemoteUrl | None:
    """Return the file's bytes piece by piece, its URL, or None for an empty text, which means unset.

    Raises a Refusal, the iterator too: for what is no base64, for a URL that is none to fetch, and for a text that is
    too long to be that of a file of `max_bytes`.
    """
    head = bytearray()
    content = _bounded(content, max_bytes)
    for piece in content:
        head += piece
        if len(head) >= _AHEAD_BYTES:
            break
    if not head:
        return None
    if _URL.match(head):
        return _url(chain((bytes(head),), content))
    if head[:5].lower() == b"data:":
        del head[: _end_of_head(head)]
    elif bytes(head) in _NOT_A_FILE or (len(head) < SHORTEST_UNMARKED and not head.rstrip(_LINE_BREAKS).endswith(b"=")):
        raise _refusal("file is a text that is no base64, no data URI and no URL.")
    return _decode(chain((bytes(head),), content))


def _url(content: Iterator[bytes]) -> RemoteUrl:
    text = bytearray()
    for piece in content:
        text += piece
        if len(text) > MAX_URL_CHARACTERS:
            break
    return RemoteUrl.parse(text.decode("latin-1"))


def _end_of_head(head: bytearray) -> int:
    found = _DATA_URI.match(head, 0, _AHEAD_BYTES)
    if found is None:
        raise _refusal(f"file is a data URI without a comma in its first {_AHEAD_BYTES} bytes.")
    if not found[1].lower().endswith(b";base64"):
        raise _refusal("file is a data URI that is not in base64.")
    return found.end()


def _decode(content: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    last = b""
    for piece in content:
        rest += piece.translate(None, _LINE_BREAKS)
        whole = len(rest) // 4 * 4
        if not whole:
            continue
        if last.endswith(b"="):
            break
        last = rest[whole - 4 : whole]
        yield _bytes_of(rest[:whole])
        rest = rest[whole:]
    if rest:
        reason = "goes on after its end" if last.endswith(b"=") else "is cut off: its length is no multiple of four"
        raise _refusal(f"file is base64 text that {reason}.")
    if last and binascii.b2a_base64(_bytes_of(last), newline=False) != last:
        raise _refusal("file is base64 text whose last character has bits that belong to no byte.")


def _bytes_of(groups: bytes) -> bytes:
    try:
        return binascii.a2b_base64(groups, strict_mode=True)
    except binascii.Error:
        pass
    if b" " in groups:
        raise _refusal("file is base64 text with a blank in it, which may have been a +.")
    raise _refusal("file is a text that is no base64, no data URI and no URL.")


def _bounded(content: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    left = encoded_bytes(max_bytes)
    for piece in content:
        left -= len(piece)
        if left < 0:
            detail = f"The file is larger than {max_bytes:,} bytes."
            raise Refusal(Code.TOO_LARGE, detail, "Send a smaller file.", field="file")
        yield piece


def _refusal(detail: str, remedy: str = _REMEDY) -> Refusal:
    return Refusal(Code.PARAMETER_INVALID, detail, remedy, field="file")
