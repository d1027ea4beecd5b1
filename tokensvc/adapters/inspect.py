"""Tells what a file is: binary formats by magic number, text formats by the extension of the name.

The few types that a browser shows in place are decided by exact signatures here. puremagic knows many others,
but has several answers for one signature (two for an AVIF, twenty for a ZIP), partly in an order that changes
from run to run, so they are ranked. Only a bounded part is read: a stranger's file may be made to be slow.
"""

from __future__ import annotations

import io
import mimetypes
from dataclasses import astuple
from pathlib import PurePosixPath
from typing import BinaryIO, Final

import imagesize
import puremagic

from tokensvc.core.upload import Kind

from .films import read_film

UNKNOWN: Final = "application/octet-stream"

_HEAD_BYTES: Final = 40_960
"""Past the farthest signature that puremagic looks for (a CD image's, at 36,870)."""

_FEW_BYTES: Final = 256
"""What is no text has nearly always something in these already that no text has."""

_SIGNIFICANT_BYTES: Final = 3
"""A shorter signature is as likely a coincidence; the good ones among those are listed below."""

_MAX_PIXELS: Final = 2**31 - 1
"""The most that PNG allows, in either direction."""

_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"%PDF-", "application/pdf"),
    (b"fLaC", "audio/flac"),
    (b"ID3\x02", "audio/mpeg"),
    (b"ID3\x03", "audio/mpeg"),
    (b"ID3\x04", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"\xff\xf2", "audio/mpeg"),
    (b"\x1f\x8b\x08", "application/gzip"),
)
_RIFF: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_ISO_BRANDS: Final = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "image/heic"),
    **dict.fromkeys((b"mif1", b"msf1"), "image/heif"),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), "audio/mp4"),
    b"qt  ": "video/quicktime",
}
_OURS: Final = frozenset(
    {mime for _, mime in _SIGNATURES}
    | {
        *_RIFF.values(),
        *_ISO_BRANDS.values(),
        "image/bmp",
        "video/mp4",
        "video/webm",
        "video/ogg",
        "audio/ogg",
        "image/svg+xml",
    }
)
_MEASURED: Final = frozenset(
    {
        f"image/{name}"
        for name in ("png", "jpeg", "gif", "webp", "avif", "heic", "heif", "bmp", "tiff", "jp2", "svg+xml")
    }
)
_TEXT_BYTES: Final = bytes({*b"\b\t\n\f\r\x1b", *range(0x20, 0x100)} - {0x7F})
_TEXT_TYPES: Final = frozenset(
    {
        "application/json",
        "application/xml",
        "application/rtf",
        "application/postscript",
        "application/yaml",
        "application/toml",
    }
)

# A table of its own, as the module's functions read whatever /etc/mime.types the machine has.
_BY_EXTENSION: Final = mimetypes.MimeTypes().types_map[True] | {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".md": "text/markdown",
    ".rtf": "application/rtf",
    ".toml": "application/toml",
    ".xml": "application/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}


def _by_place() -> tuple[tuple[slice, frozenset[bytes]], ...]:
    """All signatures that puremagic begins with, by where they stand: a tenth as many places as signatures.

    It compares each of its 1,400 with each file, which is half a millisecond for one that none of them fits.
    """
    places: dict[tuple[int, int], set[bytes]] = {}
    for each in (*puremagic.magic_header_array, *puremagic.magic_footer_array):
        places.setdefault((each.offset, each.offset + len(each.byte_match)), set()).add(each.byte_match)
    return tuple((slice(start, end or None), frozenset(known)) for (start, end), known in places.items())


_KNOWN_TO_PUREMAGIC: Final = _by_place()


def inspect(content: BinaryIO, name: str) -> Kind:
    """Return the kind of a file's bytes; the extension of its name decides only among what the bytes may be.

    Width and height are the stored pixels, before any turn that the metadata asks for; None where unknown. `content` is
    an open file of this machine.
    """
    content.seek(0)
    head = content.read(_HEAD_BYTES)
    extension = PurePosixPath(name).suffix.lower()
    mime = _by_signature(head)
    if mime is None:
        mime = _text_type(head, extension) if _is_text(head) else _by_puremagic(head, extension)
    if mime.startswith("video/"):
        return Kind(mime, *astuple(read_film(content)))
    width, height = _measure(content) if mime in _MEASURED else (None, None)
    return Kind(mime, width, height)


def _by_signature(head: bytes) -> str | None:
    for signature, mime in _SIGNATURES:
        if head.startswith(signature):
            return mime
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return "video/3gpp" if brand.startswith((b"3g", b"3G")) else _ISO_BRANDS.get(brand, "video/mp4")
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12])
    if head.startswith(b"OggS"):
        return "video/ogg" if b"theora" in head[:64] else "audio/ogg"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return "image/bmp"
    return None


def _is_text(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    return not head[:_FEW_BYTES].translate(None, _TEXT_BYTES) and not head.translate(None, _TEXT_BYTES)


def _text_type(head: bytes, extension: str) -> str:
    mime = _BY_EXTENSION.get(extension, UNKNOWN)
    if mime == "image/svg+xml":
        return mime if b"<svg" in head else UNKNOWN
    return mime if mime.startswith("text/") or mime.endswith(("+xml", "+json")) or mime in _TEXT_TYPES else UNKNOWN


def _by_puremagic(head: bytes, extension: str) -> str:
    """Its best answer: of the extension, else the longest, else the first by name; none that we decide."""
    if not any(head[where] in known for where, known in _KNOWN_TO_PUREMAGIC):
        return UNKNOWN
    try:
        answers = puremagic.magic_string(head)
    except puremagic.PureError:
        return UNKNOWN
    ranked = sorted(
        (extension != f".{answer.extension.lstrip('.')}", -len(answer.byte_match), answer.mime_type)
        for answer in answers
        # A negative offset counts from the end, which the head has not got.
        if answer.offset >= 0
        and len(answer.byte_match) >= _SIGNIFICANT_BYTES
        and answer.mime_type
        and _may_answer(answer.mime_type)
    )
    if head.startswith(b"PK\x03\x04") and not (ranked and not ranked[0][0]):
        return "application/zip"
    return ranked[0][2] if ranked else UNKNOWN


def _may_answer(mime: str) -> bool:
    return mime not in _OURS and not mime.startswith("text/") and mime not in _TEXT_TYPES


def _measure(content: BinaryIO) -> tuple[int | None, int | None]:
    """Pixels, or None. Without turning: imagesize's reading of a HEIF's turn can be made to run for hours."""
    width, height = imagesize.get(_Frugal(content), exif_rotation=False)
    if not (0 < width <= _MAX_PIXELS and 0 < height <= _MAX_PIXELS):  # -1, or an SVG's infinity
        return None, None
    return max(1, round(width)), max(1, round(height))


class _Frugal:
    """A stream that may be read a bounded number of times, for as many bytes in all; then it fails."""

    def __init__(self, content: BinaryIO) -> None:
        self._content = content
        self._reads_left = 4096
        self._bytes_left = 1 << 20

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._content.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        self._reads_left -= 1
        if self._reads_left < 0 or not 0 <= size <= self._bytes_left:
            raise ValueError("the image takes too much reading")
        self._bytes_left -= size
        return self._content.read(size)
