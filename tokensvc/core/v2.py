"""Version 2: an HS256 JWT whose claims are the upload's form fields, text by text.

The payload holds parameters, `iat` and `exp`, and nothing else: every further member would have to be a form field.
There is no `jti`, so two equal payloads in one second are one JWT; `service.issue` sees to that.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from . import jws, strict_json
from .errors import Code, Refusal
from .keys import AcceptedKeys, KeyPair
from .params import CLAIMED_BY_US, ENVELOPE, PARAMETERS, require_text, unfit
from .window import Window, verify_window

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Verified:
    """A v2 credential whose signature and window are good. `claims` are the signed form fields, all texts."""

    nonce: bytes
    claims: Mapping[str, str]
    window: Window
    pair: KeyPair


class Mint:
    """Makes the credentials of one key pair and one window; `verify` accepts them at any time within it.

    `fits` is asked whether a nonce will do. If it will not, the payload ends in six blanks, which mean nothing in JSON
    (RFC 8259, 2), chosen so that it does.
    """

    __slots__ = ("_fits", "_header", "_key", "_times")

    def __init__(self, pair: KeyPair, window: Window, fits: Callable[[bytes], bool] | None = None) -> None:
        verify_window(window, window.issued_at)
        self._key, self._header, self._fits = pair.mac, jws.header(pair.public_key), fits
        self._times = f'"iat":{window.issued_at},"exp":{window.expires_at}}}'

    def make(self, joined: str) -> tuple[str, bytes]:
        """The JWT that binds parameters as `members` joined them, and its nonce."""
        payload = f"{{{joined}{self._times}".encode()
        nonce = self._header + jws.encoded(payload)
        if self._fits is not None and not self._fits(nonce):
            nonce = self._fitting(payload, self._fits) or nonce
        token = jws.signed(nonce, self._key)
        if len(token) > jws.MAX_CHARACTERS:
            raise Refusal(
                Code.PARAMETER_INVALID,
                f"The parameters make a token of {len(token)} characters; at most {jws.MAX_CHARACTERS} are allowed.",
                "Send shorter values.",
                field="uploadPayload",
            )
        return token, nonce

    def _fitting(self, payload: bytes, fits: Callable[[bytes], bool]) -> bytes | None:
        ends = map(bytes, itertools.product(b" \t\n\r", repeat=6))
        return next(filter(fits, (self._header + jws.encoded(payload + end) for end in ends)), None)


def mint(pair: KeyPair, parameters: Mapping[str, str], window: Window) -> str:
    """The JWT that binds these form fields."""
    return Mint(pair, window).make(members(parameters))[0]


def members(parameters: Mapping[str, str]) -> str:
    """What `member` makes of each of them, joined."""
    return "".join([member(name, text) for name, text in parameters.items()])


def member(name: str, text: str) -> str:
    """A parameter as it stands in the payload, with the comma after it; a refusal of what may not stand there."""
    if name not in PARAMETERS:
        raise Refusal(Code.PARAMETER_INVALID, f"{name} is not an upload parameter.", field=name)
    return f'"{name}":{strict_json.quoted(require_text(name, text))},'


def verify(keys: AcceptedKeys, token: str, now: int) -> Verified:
    """Verify the text of a JWT, or raise a refusal."""
    pairs: list[KeyPair] = []

    def key_of(kid: str) -> bytes | None:
        pair = keys.find(kid, now)
        if pair is None:
            return None
        pairs.append(pair)
        return pair.secret_bytes

    signed = jws.verify(token, key_of)
    try:
        claims = strict_json.loads_object(signed.payload)
    except ValueError as exc:
        raise jws.invalid(f"The token's payload cannot be read: {exc}.") from None
    window = Window(_seconds(claims, "iat"), _seconds(claims, "exp"))
    verify_window(window, now)
    fields = {name: _field(name, value) for name, value in claims.items() if name not in ("iat", "exp")}
    return Verified(signed.signing_input, fields, window, pairs[0])


def signing_input(token: str) -> bytes:
    """The nonce of a JWT that is ours: the bytes before its signature."""
    return token.rpartition(".")[0].encode()


def _seconds(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or not 0 < value < 10**10:  # bool is an int, and "1700000000" is not
        raise jws.invalid(f"{name} is missing, or not a whole number of Unix seconds.")
    return value


def _field(name: str, value: object) -> str:
    if name in ENVELOPE or name in CLAIMED_BY_US or not _NAME.fullmatch(name):
        raise jws.invalid("The token's payload has a member that cannot be a form field.")
    if not isinstance(value, str):
        raise jws.invalid(f"{name} is not a string in the token's payload.")
    reason = unfit(value)
    if reason:
        raise jws.invalid(f"{name} {reason}.")
    return value
