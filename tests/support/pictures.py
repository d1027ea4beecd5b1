"""Real files to upload, made here: PNG pictures of any size, a very small JPEG, and big random files.

The pictures are valid, a browser shows them; yet no imaging library is needed, for PNG is zlib and CRC-32.
"""

from __future__ import annotations

import random
import struct
import zlib
from typing import Final

BIG_FILE_BYTES: Final = 20_000_000
"""The size of the "20 MB file" of the end-to-end tests: decimal megabytes, as ImageKit counts its limits."""

_CHUNK_BYTES: Final = 1 << 20

# A grey 8 x 8 baseline JPEG. Its one block says "no different from nothing", so that all pixels are mid grey.
_QUANTISATION: Final = b"\xff\xdb\x00\x43\x00" + bytes([1]) * 64
_FRAME_8_BY_8: Final = b"\xff\xc0\x00\x0b\x08\x00\x08\x00\x08\x01\x01\x11\x00"
_ONE_CODE_OF_ONE_BIT: Final = bytes([1]) + bytes(15) + b"\x00"
_HUFFMAN: Final = b"".join(b"\xff\xc4\x00\x14" + bytes([table]) + _ONE_CODE_OF_ONE_BIT for table in (0x00, 0x10))
_SCAN: Final = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + b"\x3f"
JPEG_8_BY_8: Final = b"\xff\xd8" + _QUANTISATION + _FRAME_8_BY_8 + _HUFFMAN + _SCAN + b"\xff\xd9"
"""A real JPEG of 8 by 8 pixels."""


def png(width: int, height: int, seed: int = 0) -> bytes:
    """Return an RGB PNG of `width` by `height` pixels: stripes whose colours follow from `seed`."""
    dice = random.Random(seed)
    colours = [dice.randbytes(3) for _ in range(8)]
    rows = b"".join(b"\x00" + colours[row * 8 // height] * width for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def big_file(seed: int = 0, size: int = BIG_FILE_BYTES) -> bytes:
    """Return `size` bytes that do not compress; the same for the same `seed`."""
    dice = random.Random(seed)
    return b"".join(dice.randbytes(min(_CHUNK_BYTES, size - start)) for start in range(0, size, _CHUNK_BYTES))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
