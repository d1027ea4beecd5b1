"""Draws the tokens of v1, which are its nonces: random, and drawn again until one is where it has to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tokensvc.ports import Chance

Fits = Callable[[bytes], bool]
"""Whether a nonce of that material will do."""

_MOST_TRIES: Final = 4096
"""Of 64 places the right one is missed by all of so many once in 10^28 times."""


def new_token(chance: Chance, fits: Fits | None = None) -> str:
    """A random UUID, as v1's nonce, that fits."""
    for _ in range(_MOST_TRIES):
        token = _uuid(chance(16).hex())
        if fits is None or fits(token.encode()):
            break
    return token


def new_tokens(chance: Chance, count: int, fits: Fits | None = None) -> list[str]:
    """So many of them. Where any fits, all are drawn at once."""
    if fits is not None:
        return [new_token(chance, fits) for _ in range(count)]
    digits = chance(16 * count).hex()
    return [_uuid(digits[at : at + 32]) for at in range(0, 32 * count, 32)]


def _uuid(digits: str) -> str:
    """The 32 hex digits as a UUID of version 4 (RFC 9562)."""
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
