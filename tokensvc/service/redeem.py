"""Redeem: spend a credential for an uploader that is not ours, and say what was granted with it.

Whoever asks has the file, so nothing of it is looked at here. The fields that a v2 credential binds are compared
before it is spent, other than at the upload endpoint: an uploader that asks with wrong fields may ask again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tokensvc.core import upload
from tokensvc.core.callers import Caller
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.grants import GrantNote
from tokensvc.core.keys import AcceptedKeys
from tokensvc.core.nonces import NonceId, Version
from tokensvc.ports import Audit, Chance, Clock, Concern, NonceStore, Outcome

from .concern import unheard
from .request_names import named_request, new_request, require_key
from .verify import Genuine, granted, refusal_of, verify, whose, with_public_key


@dataclass(frozen=True, slots=True)
class Spend:
    """What is to be spent: a credential by its form fields (`token`, and for v1 `expire`, `signature`, `publicKey`).

    `fields` are the form fields of the upload, None if the uploader compares them itself. `by` is who asks, and
    `key` a name of its own choice for this request: the same one asked again is answered alike.
    """

    version: Version
    credential: Mapping[str, str] = field(repr=False)
    fields: Mapping[str, str] | None = None
    by: Caller | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent. `note` is None for one that was minted elsewhere and crossed off; `claims` is None for v1."""

    version: Version
    account: str
    note: GrantNote | None
    claims: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Redeem:
    """The use case with all that it needs from outside. `cross_off` is as for `accept.Accept`."""

    keys: AcceptedKeys
    cross_off: frozenset[str]
    nonces: NonceStore
    clock: Clock
    chance: Chance
    audit: Audit
    concern: Concern = unheard

    def __call__(self, spend: Spend) -> Spent:
        """Spend it, or raise a refusal or an outage. What does not verify, or is not bound so, is not spent.

        It is spent at once, or one of its uses is: whoever asks has the file.
        """
        genuine = self.verify(spend)
        request = new_request(self.chance) if spend.key is None else _named(spend.by, genuine.nonce, spend.key)
        account = genuine.pair.account
        until = genuine.window.record_until if account in self.cross_off else None
        redemption = self.nonces.redeem(genuine.nonce, request=request, cross_off_until=until, origin=genuine.origin)
        spent = redemption.outcome is Outcome.SPENT
        note = granted(redemption)
        owner = whose(note)
        self.concern(**owner)
        self.audit.note(
            "redeemed" if spent else str(redemption.outcome),
            {
                "version": genuine.version,
                "account": account,
                **owner,
                "age": None if note is None else self.clock() - note.issued_at,
                "nonce": genuine.nonce,
                "by": None if spend.by is None else spend.by.subject,
            },
        )
        if not spent:
            raise refusal_of(redemption.outcome, redemption.retry_after)
        return Spent(genuine.version, account, note, genuine.claims)

    def verify(self, spend: Spend) -> Genuine:
        """All that is looked at before the nonce store is asked."""
        require_key(spend.key)
        now, credential = self.clock(), spend.credential
        if spend.version == "v1":
            credential = with_public_key(self.keys, credential)
        genuine = verify(self.keys, spend.version, credential, now)
        self.concern(version=genuine.version, account=genuine.pair.account, nonce=genuine.nonce)
        if spend.fields is None:
            return genuine
        if genuine.claims is None:
            raise Refusal(
                Code.REQUEST_MALFORMED,
                "A v1 credential binds no fields, so there is nothing to compare them with.",
                "Leave fields out, and hold the upload to the restrictions in the answer.",
                field="fields",
            )
        upload.require_binding(genuine.claims, spend.fields)
        return genuine


def _named(by: Caller | None, nonce: NonceId, key: str) -> str:
    """The request that this caller's key stands for: nobody else's key is the same request."""
    who = ("", "") if by is None else (by.source, by.subject)
    return named_request("tokensvc redeem", *who, nonce, key)
