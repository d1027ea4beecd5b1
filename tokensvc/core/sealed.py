"""Texts that the nonce store keeps for us and cannot read: AES-256-GCM, under a key that is in no store.

The key is made from an account's private key and of what the text is about, so each text has a key of its own. The
cipher's package is loaded with the first text: it is a tenth of a worker's memory, and most never seal anything.
"""

from __future__ import annotations

import base64
import zlib
from typing import Final

from . import mac

RANDOM_BYTES: Final = 12
_PURPOSE: Final = b"tokensvc sealed text\0"
"""No signing input of ours has a blank or a NUL, so what HS256 signs is never a key here."""


def seal(secret: bytes, about: str, plain: bytes, random: bytes) -> str:
    """URL-safe text that only `unseal` with the same secret and `about` reads. `random` is 12 bytes, new each time."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - as said above

    box = AESGCM(_key(secret, about)).encrypt(random, zlib.compress(plain), None)
    return base64.urlsafe_b64encode(random + box).decode()


def unseal(secret: bytes, about: str, text: str) -> bytes | None:
    """What was sealed, or nothing if it was so with another secret, is about something else, or was changed."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as said above
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - as said above

    box = base64.urlsafe_b64decode(text)
    try:
        return zlib.decompress(AESGCM(_key(secret, about)).decrypt(box[:RANDOM_BYTES], box[RANDOM_BYTES:], None))
    except InvalidTag:
        return None


def _key(secret: bytes, about: str) -> bytes:
    return mac.hmac_sha256(secret, _PURPOSE + about.encode())
