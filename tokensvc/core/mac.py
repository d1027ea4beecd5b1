"""The keyed hashes of both credential versions (RFC 2104), and the only comparison of secrets.

ImageKit's key is the UTF-8 text of the private key as the dashboard shows it; it is never base64-decoded.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Final


def hmac_sha1(key: bytes, message: bytes) -> bytes:
    """Return the 20-byte HMAC-SHA1 of `message`: what v1 signs with."""
    return hmac.digest(key, message, hashlib.sha1)


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Return the 32-byte HMAC-SHA256 of `message`: what v2's HS256 signs with."""
    return hmac.digest(key, message, hashlib.sha256)


class Keyed:
    """The same two under one key, which is hashed once: it takes half of the time. Shows nothing of the key.

    What is kept are the two hashes of RFC 2104 after their first block, which is made of the key.
    """

    __slots__ = ("_sha1", "_sha256")

    def __init__(self, key: bytes) -> None:
        self._sha1, self._sha256 = _begun(key, hashlib.sha1), _begun(key, hashlib.sha256)

    def sha1(self, message: bytes) -> bytes:
        """As `hmac_sha1` of the key."""
        return _ended(self._sha1, message)

    def sha256(self, message: bytes) -> bytes:
        """As `hmac_sha256` of the key."""
        return _ended(self._sha256, message)


def _begun(key: bytes, new: Callable[[bytes], hashlib._Hash]) -> tuple[hashlib._Hash, hashlib._Hash]:
    block = (key if len(key) <= _BLOCK_BYTES else new(key).digest()).ljust(_BLOCK_BYTES, b"\0")
    return new(block.translate(_INNER)), new(block.translate(_OUTER))


def _ended(begun: tuple[hashlib._Hash, hashlib._Hash], message: bytes) -> bytes:
    inner, outer = begun[0].copy(), begun[1].copy()
    inner.update(message)
    outer.update(inner.digest())
    return outer.digest()


_BLOCK_BYTES: Final = 64
"""Of both hashes."""

_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


def same(left: bytes, right: bytes) -> bool:
    """Compare two byte strings in a time that does not depend on where they differ."""
    return hmac.compare_digest(left, right)
