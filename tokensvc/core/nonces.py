"""The name under which a nonce is recorded: a hash, never the text that a client sent.

Hashing bounds the size of a record, keeps credentials out of the store's files and backups, and leaves a client no
way to choose a key, a slot or a command. v1's nonce is its `token`. v2's is the exact signed bytes `header.payload`:
never the whole JWT, because several spellings of one signature can verify.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Literal, NewType

Version = Literal["v1", "v2"]

Chance = Callable[[int], bytes]
"""That many unpredictable bytes."""

NonceId = NewType("NonceId", str)
"""22 characters of URL-safe base64: the first 128 bits of a SHA-256."""


def nonce_id(account: str, version: Version, material: bytes) -> NonceId:
    """Name the nonce `material` of an account. Accounts and versions never share a name."""
    return _name(_before(account, version) + material)


def nonce_ids(account: str, version: Version, materials: Iterable[bytes]) -> list[NonceId]:
    """The same of many. Two bytes after each digest make its base64 end where that of the next begins."""
    before, sha256 = _before(account, version), hashlib.sha256
    digests = [sha256(before + material).digest()[:16] for material in materials]
    text = base64.urlsafe_b64encode(b"\0\0".join(digests)).decode()
    return [NonceId(text[start : start + 22]) for start in range(0, len(text), 24)]


@lru_cache(maxsize=64)
def _before(account: str, version: Version) -> bytes:
    return f"tokensvc\0{account}\0{version}\0".encode()


def ticket_id(name: str) -> NonceId:
    """Name the single use of a ticket by the name inside of it, which its signer chose at random.

    Never by its text, which has several spellings. No credential shares a name with a ticket.
    """
    return _name(b"tokensvc ticket\0" + name.encode())


def _name(hashed: bytes) -> NonceId:
    return NonceId(base64.urlsafe_b64encode(hashlib.sha256(hashed).digest()[:16])[:22].decode())
