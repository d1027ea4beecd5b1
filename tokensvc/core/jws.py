"""Compact JWS with HS256 (RFC 7515, 7518), in the one spelling that is accepted.

PyJWT verifies. What it would also take is refused before it is asked: padding, non-canonical last characters, other
header members (`crit`, `jwk`, `b64` …), duplicate members, UTF-16. The algorithm is fixed here, never read from the
header (RFC 8725 3.1). Signing is done here, as it is three joined parts and PyJWT takes six times as long for them; a
property test holds the two byte-equal.
"""

from __future__ import annotations

import base64
import json
import re
from binascii import b2a_base64
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Final

from . import mac, strict_json
from .errors import Code, Refusal

MAX_CHARACTERS: Final = 8192
"""The longest JWS that is minted or looked at."""

_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}", re.ASCII)
_HEADER_MEMBERS: Final = frozenset({"alg", "typ", "kid"})


@dataclass(frozen=True, slots=True)
class Verified:
    """A JWS whose signature is good. `signing_input` is `header.payload`, the bytes that were signed."""

    header: dict[str, Any]
    payload: bytes
    signing_input: bytes = field(repr=False)


def sign(payload: bytes, *, key: mac.Keyed, kid: str) -> str:
    """Return the compact JWS of `payload`; header members in alphabetical order."""
    return signed(header(kid) + encoded(payload), key)


def signed(signing_input: bytes, key: mac.Keyed) -> str:
    """The compact JWS of `header.payload`."""
    return (signing_input + b"." + encoded(key.sha256(signing_input))).decode("ascii")


@lru_cache(maxsize=64)
def header(kid: str) -> bytes:
    """The header, with the dot after it: before an encoded payload, it makes the bytes that are signed."""
    members = {"alg": "HS256", "kid": kid, "typ": "JWT"}
    return encoded(json.dumps(members, separators=(",", ":")).encode()) + b"."


def verify(text: str, key_of: Callable[[str], bytes | None]) -> Verified:
    """Return the verified JWS, or raise a refusal with one and the same text for all forgeries.

    `key_of` gives the HMAC key of a `kid` (empty text if the header has none), by exact name; None refuses.
    """
    if len(text) > MAX_CHARACTERS:
        raise invalid(f"The token is longer than {MAX_CHARACTERS} characters.")
    if not _FORM.fullmatch(text):
        raise invalid("The token is not a compact JWT: three parts of URL-safe base64 without padding.")
    header_part, payload_part, signature_part = text.split(".")
    header = _read_header(decode(header_part))
    payload = decode(payload_part)
    decode(signature_part)
    key = key_of(header.get("kid", ""))
    if key is None:
        raise forged()
    if not _engine()(text, key):
        raise forged()
    return Verified(header, payload, f"{header_part}.{payload_part}".encode())


@cache
def _engine() -> Callable[[str, bytes], bool]:
    """Tells whether a text is signed by a key. A worker that only issues credentials never loads it."""
    import jwt  # noqa: PLC0415 - cryptography comes with it: a tenth of a start and of a worker's memory

    engine = jwt.PyJWS(algorithms=["HS256"])

    def is_signed(text: str, key: bytes) -> bool:
        try:
            engine.decode(text, key, algorithms=["HS256"])
        except jwt.InvalidTokenError:
            return False
        return True

    return is_signed


def forged() -> Refusal:
    """The answer to a wrong signature, an unknown key and a retired key alike: whoever guesses learns nothing."""
    return invalid("The credential's signature does not verify.")


def _read_header(part: bytes) -> dict[str, Any]:
    try:
        header = strict_json.loads_object(part)
    except ValueError as exc:
        raise invalid(f"The token's header cannot be read: {exc}.") from None
    if header.get("alg") != "HS256":
        raise invalid("The token's algorithm is not HS256.")
    if not header.keys() <= _HEADER_MEMBERS:
        raise invalid("The token's header has members other than alg, typ and kid.")
    if header.get("typ", "JWT") != "JWT" or not isinstance(header.get("kid", ""), str):
        raise invalid("The token's header has a typ other than JWT, or a kid that is not a string.")
    return header


_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


def encode(part: bytes) -> str:
    """URL-safe base64 without padding."""
    return encoded(part).decode("ascii")


def encoded(part: bytes) -> bytes:
    """The same in bytes."""
    return b2a_base64(part, newline=False).translate(_URL_SAFE).rstrip(b"=")


def decode(part: str) -> bytes:
    """Decode URL-safe base64, refusing all but the one spelling of its bytes."""
    try:
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise invalid("A part of the token is not URL-safe base64.") from None
    if encode(decoded) != part:
        raise invalid("A part of the token is not canonical base64.")
    return decoded


def invalid(detail: str) -> Refusal:
    """The refusal of a token that cannot be one of ours, with what is wrong with it."""
    return Refusal(
        Code.CREDENTIAL_INVALID, detail, "Fetch a new credential and send its token unchanged.", field="token"
    )
