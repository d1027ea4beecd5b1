"""Version 1: HMAC-SHA1 over `token` followed by `expire`, in hex.

Nothing separates the two, so `…0` + `17…` and `…` + `017…` have one signature and two nonces. That is why `expire`
has exactly ten digits and no leading zero: then there is only one way to cut. v1 binds nothing about the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from . import mac
from .errors import Code, Refusal
from .jws import forged
from .keys import AcceptedKeys, KeyPair
from .window import Window, parse_expire, verify_expiry, verify_window

_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_EXPIRE: Final = re.compile(r"[1-9][0-9]{9}", re.ASCII)
_SIGNATURE: Final = re.compile(r"[0-9a-f]{40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a client uploads with. `expire` is absolute Unix seconds."""

    token: str
    expire: int
    signature: str = field(repr=False)
    public_key: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """Many that differ in their tokens, and so in their signatures, which are in the same order."""

    tokens: Sequence[str]
    expire: int
    signatures: Sequence[str] = field(repr=False)
    public_key: str


@dataclass(frozen=True, slots=True)
class Verified:
    """A v1 credential whose signature and window are good. `nonce` is its `token`."""

    nonce: bytes
    window: Window
    pair: KeyPair


def sign(key: mac.Keyed, token: str, expire: int | str) -> str:
    """Return the 40 hex digits for any text and number, as every SDK computes them."""
    return key.sha1(f"{token}{expire}".encode()).hex()


def mint(pair: KeyPair, token: str, window: Window) -> Credential:
    """Build a credential; it is one that `verify` accepts at any time within its window."""
    require_token(token)
    verify_window(window, window.issued_at)
    return Credential(token, window.expires_at, sign(pair.mac, token, window.expires_at), pair.public_key)


def mint_all(pair: KeyPair, tokens: Sequence[str], window: Window) -> Credentials:
    """The same for many tokens that are ours, and not a client's, and one window."""
    verify_window(window, window.issued_at)
    key, expire = pair.mac, str(window.expires_at)
    signatures = [sign(key, token, expire) for token in tokens]
    return Credentials(tokens, window.expires_at, signatures, pair.public_key)


def verify(keys: AcceptedKeys, fields: Mapping[str, str], now: int) -> Verified:
    """Verify the form fields `token`, `expire`, `signature` and `publicKey`, or raise a refusal."""
    token, expire, signature = (_require(fields, name) for name in ("token", "expire", "signature"))
    if not _EXPIRE.fullmatch(expire):
        parse_expire(expire, now)  # says what it looks like instead
        raise Refusal(Code.EXPIRE_INVALID, "expire is not in its canonical form.", field="expire")
    if not _SIGNATURE.fullmatch(signature):
        raise Refusal(Code.CREDENTIAL_INVALID, "signature is not 40 lower-case hex digits.", field="signature")
    pair = keys.find(_require(fields, "publicKey"), now)
    _require_token_form(token, Code.CREDENTIAL_INVALID)
    if pair is None or not mac.same(sign(pair.mac, token, expire).encode(), signature.encode()):
        raise forged()
    return Verified(token.encode(), verify_expiry(int(expire), now), pair)


def require_token(token: str) -> None:
    """Refuse a client-chosen `token` that not every SDK could sign and send alike."""
    _require_token_form(token, Code.TOKEN_INVALID)


def _require_token_form(token: str, code: Code) -> None:
    if not _TOKEN.fullmatch(token):
        raise Refusal(
            code,
            "token must be 1 to 128 printable ASCII characters without blanks.",
            "Send a UUID, or leave token out.",
            field="token",
        )


def _require(fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name, "")
    if not value:
        raise Refusal(
            Code.CREDENTIAL_INVALID,
            f"{name} is missing.",
            "A v1 upload needs token, expire, signature and publicKey, as they were issued.",
            field=name,
        )
    return value
