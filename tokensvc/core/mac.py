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


def same(left: bytes, right: bytes) -> bool:
    """Compare two byte strings in a time that does not depend on where they differ."""
    return hmac.compare_digest(left, right)
