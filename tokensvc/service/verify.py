"""What is the same wherever a credential is spent: from what was sent to a nonce, and from an outcome to a refusal.

Nothing here asks the nonce store, so whatever is refused here has spent nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tokensvc.core import mac, v1, v2
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.grants import GrantNote
from tokensvc.core.keys import AcceptedKeys, KeyPair
from tokensvc.core.nonces import NonceId, Version, nonce_id
from tokensvc.core.watermarks import Origin
from tokensvc.core.window import MAX_LIFETIME_SECONDS, Window
from tokensvc.ports import Outcome, Redemption

_REFUSALS: Final = {
    Outcome.REPLAYED: (Code.CREDENTIAL_REPLAYED, "The credential has been used before."),
    Outcome.HELD: (Code.CREDENTIAL_HELD, "Another upload with the credential is under way, or has taken its place."),
    Outcome.REVOKED: (Code.CREDENTIAL_REVOKED, "The credential was revoked."),
    Outcome.STALE: (Code.CREDENTIAL_STALE, "The credential was issued before the nonce store was replaced."),
    Outcome.UNISSUED: (
        Code.CREDENTIAL_UNISSUED,
        "The credential is not on record: not issued here, or long expired.",
    ),
}


@dataclass(frozen=True, slots=True)
class Genuine:
    """A credential that verifies. `claims` are the form fields that v2 binds; None for v1, which binds none."""

    version: Version
    pair: KeyPair
    nonce: NonceId
    window: Window
    claims: Mapping[str, str] | None

    @property
    def origin(self) -> Origin:
        """Whose it is, and the earliest second at which it may have been issued, by what it says itself."""
        if self.version == "v1":
            return Origin(self.pair.account, self.window.expires_at - MAX_LIFETIME_SECONDS)
        return Origin(self.pair.account, self.window.issued_at)


def verify(keys: AcceptedKeys, version: Version, fields: Mapping[str, str], now: int) -> Genuine:
    """Verify a credential by the form fields it comes in, at `now` (Unix seconds), or raise a refusal."""
    if version == "v1":
        first = v1.verify(keys, fields, now)
        nonce = nonce_id(first.pair.account, "v1", first.nonce)
        return Genuine("v1", first.pair, nonce, first.window, None)
    second = v2.verify(keys, fields.get("token", ""), now)
    nonce = nonce_id(second.pair.account, "v2", second.nonce)
    return Genuine("v2", second.pair, nonce, second.window, second.claims)


def with_public_key(keys: AcceptedKeys, fields: Mapping[str, str]) -> Mapping[str, str]:
    """A v1 credential's fields with the `publicKey` that they lack: the one whose pair made the signature.

    All pairs are tried, each in constant time. If none made it, any will do: `verify` refuses it as forged, and it
    refuses a retired pair.
    """
    if fields.get("publicKey") or not keys.pairs:
        return fields
    signature, found = fields.get("signature", "").encode(), keys.pairs[0].public_key
    for pair in keys.pairs:
        made = v1.sign(pair.mac, fields.get("token", ""), fields.get("expire", ""))
        if mac.same(made.encode(), signature):
            found = pair.public_key
    return {**fields, "publicKey": found}


def granted(redemption: Redemption) -> GrantNote | None:
    """What was granted with it, good or refused; None for one that is on no record, and for one from elsewhere."""
    text = redemption.grant or redemption.on_record
    return GrantNote.from_text(text) if text else None


def whose(note: GrantNote | None) -> dict[str, str | None]:
    """Of whom an event is, as far as it is known."""
    if note is None:
        return dict.fromkeys(("profile", "source", "subject"))
    return {"profile": note.profile, "source": note.source, "subject": note.subject}


def refusal_of(outcome: Outcome, retry_after: int = 0) -> Refusal:
    """What a redemption that was no yes is answered with; `retry_after` is in seconds, 0 if waiting is of no use."""
    code, detail = _REFUSALS[outcome]
    remedy = "Fetch a new credential for each upload, just before it starts."
    return Refusal(code, detail, remedy, field="token", retry_after=retry_after or None)
