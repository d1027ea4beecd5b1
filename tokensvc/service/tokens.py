"""Draws the tokens of v1, which are its nonces: random, and drawn again until one is where it has to be."""

from __future__ import annotations

import struct
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
        (token,) = _uuids(chance(16))
        if fits is None or fits(token.encode()):
            break
    return token


def new_tokens(chance: Chance, count: int, fits: Fits | None = None) -> list[str]:
    """So many of them. Where any fits, all are drawn at once."""
    if fits is not None:
        return [new_token(chance, fits) for _ in range(count)]
    return _uuids(chance(16 * count))


def _uuids(drawn: bytes) -> list[str]:
    """Each 16 bytes as a UUID of version 4 (RFC 9562)."""
    octets = bytearray(drawn)
    octets[6::16] = octets[6::16].translate(_VERSION_4)
    octets[8::16] = octets[8::16].translate(_VARIANT)
    return [b"-".join(groups).decode() for groups in _GROUPS.iter_unpack(octets.hex().encode())]


_VERSION_4: Final = bytes(octet & 0x0F | 0x40 for octet in range(256))
_VARIANT: Final = bytes(octet & 0x3F | 0x80 for octet in range(256))
_GROUPS: Final = struct.Struct("8s4s4s4s12s")
