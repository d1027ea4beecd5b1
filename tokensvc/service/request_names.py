"""The name of one request of ours, by which the nonce store knows a repetition.

A client that sends an Idempotency-Key names its request itself: the same key for the same thing is the same request,
over lost answers and restarts. Whoever else sends that key, or sends it with something else, makes another request.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from typing import Final

from tokensvc.core.errors import Code, Refusal
from tokensvc.ports import Chance

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


def new_request(chance: Chance) -> str:
    """A name for one request of ours: 22 URL-safe characters, by which the nonce store knows a repetition."""
    return _text(chance(16))


def require_key(key: str | None) -> None:
    """Refuse an Idempotency-Key that cannot be one; None is none."""
    if key is not None and not _KEY.fullmatch(key):
        raise Refusal(
            Code.REQUEST_MALFORMED,
            "Idempotency-Key must be 1 to 255 printable ASCII characters without blanks.",
            "Send a new UUID for each upload or batch, and the same one again for the same.",
            field="Idempotency-Key",
        )


def named_request(*parts: str) -> str:
    """The request that these texts stand for. All but one of them must be free of NUL, or other parts say the same."""
    return _text(hashlib.sha256("\0".join(parts).encode()).digest()[:16])


def chance_of(request: str) -> Chance:
    """Bytes that follow from the name of a request: each call other ones, and for the same request the same again."""
    numbers = itertools.count()

    def chance(count: int) -> bytes:
        return hashlib.shake_256(f"tokensvc ids\0{request}\0{next(numbers)}".encode()).digest(count)

    return chance


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
