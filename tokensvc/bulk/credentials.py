"""Where credentials come from: many at once from the service that issues them, or signed here with the private key.

The fields of a form are the credential's word: what a v2 one binds is sent exactly, with what its profile has forced.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tokensvc.core import v1, v2
from tokensvc.core.errors import Refusal
from tokensvc.core.keys import KeyPair
from tokensvc.core.nonces import Version
from tokensvc.core.window import Window
from tokensvc.ports import Chance, Clock
from tokensvc.service.tokens import new_token

from .wire import Answer, Wire

MOST_AT_ONCE: Final = 100
"""Of a batch, at the service."""

_OK: Final = 200
_TOO_MANY: Final = 429
_OUR_SIDE: Final = 500
_STEPS: Final = 30
_NOT_FIELDS: Final = frozenset({"iat", "exp"})


@dataclass(frozen=True, slots=True)
class Lent:
    """The fields of one form, credential included; or why there is none."""

    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    why_not: str = ""


class Later(Exception):  # noqa: N818 - no mistake of ours
    """None now, and perhaps in `seconds`. `is_outage` unless the service has decided so."""

    def __init__(self, why: str, seconds: float, *, is_outage: bool) -> None:
        super().__init__(why)
        self.seconds = seconds
        self.is_outage = is_outage


class Never(Exception):  # noqa: N818 - as above
    """None, for any file: who asks, or what for, is wrong."""


class Lender(Protocol):
    """Lends a credential for each upload. May raise Later, Never and `wire.Unanswered`."""

    @property
    def at_once(self) -> int:
        """How many to ask for at most."""

    def lend(self, uploads: Sequence[Mapping[str, str]]) -> list[Lent]:
        """One for each, in order. An upload is the fields that its form is to have."""

    def abort(self) -> None:
        """Wait for nothing more."""

    def close(self) -> None:
        """Close its connections, once no thread uses it any more."""


@dataclass(frozen=True, slots=True)
class Issued:
    """From `POST /auth/PROFILE/batch` of a service, with an api key."""

    wire: Wire
    path: str
    api_key: str = field(repr=False)
    version: Version
    at_once: int = MOST_AT_ONCE

    def lend(self, uploads: Sequence[Mapping[str, str]]) -> list[Lent]:
        """As `Lender` says."""
        asked: dict[str, Any] = {"version": self.version}
        asked |= {"count": len(uploads)} if self.version == "v1" else {"uploads": [dict(each) for each in uploads]}
        answer = self.wire.ask(self.path, asked, {"Authorization": f"Bearer {self.api_key}"})
        if answer.status != _OK:
            raise _refusal(answer)
        lent = answer.body.get("credentials")
        if not isinstance(lent, list) or len(lent) != len(uploads):
            raise Never(f"{self.path} answers with something else than credentials; is it a tokensvc?")
        return [self._lent(upload, each) for upload, each in zip(uploads, lent, strict=True)]

    def abort(self) -> None:
        """As `Lender` says."""
        self.wire.abort()

    def close(self) -> None:
        """As `Lender` says."""
        self.wire.close()

    def _lent(self, upload: Mapping[str, str], credential: Mapping[str, Any]) -> Lent:
        error = credential.get("error")
        if error is not None:
            return Lent(why_not=str(error.get("detail") or error.get("code")))
        if self.version == "v1":
            return Lent({**upload, **{name: str(text) for name, text in credential.items()}})
        return Lent(_bound(str(credential["token"])))


@dataclass(frozen=True, slots=True)
class Signed:
    """Signed here, with the private key of the configuration. Nothing is on record: ImageKit does not ask for that."""

    pair: KeyPair
    lifetime: int
    version: Version
    clock: Clock
    chance: Chance
    at_once: int = 1
    _number: Callable[[], int] = field(default_factory=lambda: itertools.count().__next__)

    def lend(self, uploads: Sequence[Mapping[str, str]]) -> list[Lent]:
        """As `Lender` says."""
        return [self._lent(upload) for upload in uploads]

    def abort(self) -> None:
        """As `Lender` says."""

    def close(self) -> None:
        """As `Lender` says."""

    def _lent(self, upload: Mapping[str, str]) -> Lent:
        now = self.clock()
        window = Window(now, now + self.lifetime)
        if self.version == "v1":
            made = v1.mint(self.pair, new_token(self.chance), window)
            credential = {"token": made.token, "expire": str(made.expire), "signature": made.signature}
            return Lent({**upload, **credential, "publicKey": made.public_key})
        try:
            # Equal payloads in one second would be one JWT, good for one upload: a second try needs another time.
            return Lent(_bound(v2.mint(self.pair, upload, window.earlier(self._number() % _STEPS))))
        except Refusal as refusal:
            return Lent(why_not=refusal.detail)


def _bound(token: str) -> dict[str, str]:
    """The form of a JWT: the token, and its payload field by field."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return {**{name: str(text) for name, text in claims.items() if name not in _NOT_FIELDS}, "token": token}


def _refusal(answer: Answer) -> Exception:
    why = str(answer.body.get("detail") or answer.body.get("message") or f"status {answer.status}")
    if answer.status == _TOO_MANY:
        return Later(why, answer.retry_after, is_outage=False)
    if answer.status >= _OUR_SIDE:
        return Later(why, answer.retry_after, is_outage=True)
    return Never(f"No credentials: {why} {answer.body.get('help') or ''}".strip())
