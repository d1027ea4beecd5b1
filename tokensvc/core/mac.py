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
    """The same two under one key, which is hashed once: it takes less than half the time. Shows nothing of the key."""

    __slots__ = ("_sha1", "_sha256")

    def __init__(self, key: bytes) -> None:
        self._sha1, self._sha256 = hmac.new(key, digestmod=hashlib.sha1), hmac.new(key, digestmod=hashlib.sha256)

    def sha1(self, message: bytes) -> bytes:
        """As `hmac_sha1` of the key."""
        mac = self._sha1.copy()
        mac.update(message)
        return mac.digest()

    def sha256(self, message: bytes) -> bytes:
        """As `hmac_sha256` of the key."""
        mac = self._sha256.copy()
        mac.update(message)
        return mac.digest()


def same(left: bytes, right: bytes) -> bool:
    """Compare two byte strings in a time that does not depend on where they differ."""
    return hmac.compare_digest(left, right)
