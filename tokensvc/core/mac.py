"""The keyed hashes of both credential versions (RFC 2104), and the only comparison of secrets.

ImageKit's key is the UTF-8 text of the private key as the dashboard shows it; it is never base64-decoded.
"""

from __future__ import annotations

import hashlib
import hmac


def hmac_sha1(key: bytes, message: bytes) -> bytes:
    """Return the 20-byte HMAC-SHA1 of `message`: what v1 signs with."""
    return hmac.digest(key, message, hashlib.sha1)


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Return the 32-byte HMAC-SHA256 of `message`: what v2's HS256 signs with."""
    return hmac.digest(key, message, hashlib.sha256)


class Keyed:
    """The same two under one key, which is hashed once: it takes a third of the time. Shows nothing of the key.

    An HMAC is a hash of one block made of the key and of an inner hash, which is that of another such block and the
    message. What hashlib makes of the two blocks is kept and copied (RFC 2104, 4), without hmac's objects around it.
    """

    __slots__ = ("_inner_sha1", "_inner_sha256", "_outer_sha1", "_outer_sha256")

    def __init__(self, key: bytes) -> None:
        inner, outer = _blocks(key, "sha1")
        self._inner_sha1, self._outer_sha1 = hashlib.sha1(inner), hashlib.sha1(outer)  # noqa: S324 - ImageKit's choice
        inner, outer = _blocks(key, "sha256")
        self._inner_sha256, self._outer_sha256 = hashlib.sha256(inner), hashlib.sha256(outer)

    def sha1(self, message: bytes) -> bytes:
        """As `hmac_sha1` of the key."""
        inner, outer = self._inner_sha1.copy(), self._outer_sha1.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()

    def sha256(self, message: bytes) -> bytes:
        """As `hmac_sha256` of the key."""
        inner, outer = self._inner_sha256.copy(), self._outer_sha256.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


def _blocks(key: bytes, name: str) -> tuple[bytes, bytes]:
    """What the inner and the outer hash begin with."""
    block = hashlib.new(name).block_size
    padded = (key if len(key) <= block else hashlib.new(name, key).digest()).ljust(block, b"\0")
    return bytes(byte ^ 0x36 for byte in padded), bytes(byte ^ 0x5C for byte in padded)


def same(left: bytes, right: bytes) -> bool:
    """Compare two byte strings in a time that does not depend on where they differ."""
    return hmac.compare_digest(left, right)
