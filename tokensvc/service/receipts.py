"""What a caller's Idempotency-Key stands for: a batch that is issued once, and answered alike as often as it is asked.

The answer is kept beside the records, made in the same step, and sealed: the store and its backups hold no credential.
To make the same credentials again instead would need the clock, the claims, the profile and the key of that time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tokensvc.core import sealed, strict_json
from tokensvc.core.callers import Caller
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.keys import KeyRing
from tokensvc.core.profiles import Profile
from tokensvc.ports import Chance, Receipt

from .request_names import named_request, require_key

MOST_CHARACTERS: Final = 128 * 1024
"""The longest receipt: a hundred JWTs of about a thousand characters. More would fill the store by few requests."""


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A batch that one caller may ask for again under one profile. `body` is a hash of what was asked."""

    ring: KeyRing = field(repr=False)
    name: str
    body: str

    def receipt(self, items: Sequence[Any], until: int, chance: Chance) -> Receipt:
        """The receipt of these items (JSON), which are handed out if it is kept."""
        plain = strict_json.dumps({"body": self.body, "items": list(items)})
        text = sealed.seal(self.ring.signing.secret_bytes, self.name, plain, chance(sealed.RANDOM_BYTES))
        if len(text) > MOST_CHARACTERS:
            raise Refusal(
                Code.TOO_LARGE,
                "The answer is too large to be kept for the Idempotency-Key.",
                "Ask for fewer uploads at once, or leave Idempotency-Key out.",
                field="Idempotency-Key",
            )
        return Receipt(self.name, text, until)

    def items(self, text: str) -> list[Any]:
        """The items of the receipt that was found under this name, or a refusal if another body was answered so."""
        for pair in self.ring.pairs:
            plain = sealed.unseal(pair.secret_bytes, self.name, text)
            if plain is not None:
                kept = json.loads(plain)
                if kept["body"] == self.body:
                    return list(kept["items"])
                raise _mismatch("This Idempotency-Key was sent before, with another body.")
        raise _mismatch("This Idempotency-Key was answered under a key that this service has no more.")


def repeatable(ring: KeyRing, profile: Profile, caller: Caller, key: str | None, asked: object) -> Repeatable | None:
    """What the key (None is none) stands for, of this caller under this profile; `asked` is the body, as JSON."""
    if key is None:
        return None
    require_key(key)
    who = (profile.account, profile.name, caller.source, caller.subject)
    name = named_request("tokensvc batch", *who, key)
    body = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return Repeatable(ring, name, body)


def _mismatch(detail: str) -> Refusal:
    return Refusal(
        Code.IDEMPOTENCY_MISMATCH,
        detail,
        "Send a new Idempotency-Key for each batch, and the same body with the same one.",
        field="Idempotency-Key",
    )
