"""What servers and operators ask about a credential without spending it: is it good, and let it not be.

A revocation is a note in our own store. ImageKit never asks there, so it reaches no credential at ImageKit itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tokensvc.core import v2
from tokensvc.core.callers import Caller
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.grants import GrantNote
from tokensvc.core.keys import AcceptedKeys
from tokensvc.core.nonces import NonceId, Version, nonce_id
from tokensvc.core.watermarks import Watermark
from tokensvc.ports import Audit, Clock, NonceStore, Outcome

from .verify import Genuine, verify, whose, with_public_key

MOST_SECONDS_AHEAD: Final = 60
"""How far ahead a watermark may be: enough for "all until now" by clocks that differ, and for no mistaken hour."""

_NOT_GOOD = frozenset({Code.CREDENTIAL_INVALID, Code.CREDENTIAL_EXPIRED, Code.EXPIRE_INVALID})
_SECONDS = range(10**9, 10**10)


@dataclass(frozen=True, slots=True)
class Active:
    """A credential that could be spent now, so often. `note` is None for one that was minted elsewhere."""

    genuine: Genuine
    note: GrantNote | None
    uses_left: int = 1


@dataclass(frozen=True, slots=True)
class Introspect:
    """Say whether a credential could be spent now. By the time that the answer is read it may have been."""

    keys: AcceptedKeys
    cross_off: frozenset[str]
    nonces: NonceStore
    clock: Clock

    def __call__(self, version: Version, credential: Mapping[str, str]) -> Active | None:
        """Return what is known of it, or None if it could not be spent; raises an outage."""
        if version == "v1":
            credential = with_public_key(self.keys, credential)
        try:
            genuine = verify(self.keys, version, credential, self.clock())
        except Refusal as refusal:
            if refusal.code in _NOT_GOOD:
                return None
            raise
        cross_off = genuine.pair.account in self.cross_off
        standing = self.nonces.look(genuine.nonce, cross_off=cross_off, origin=genuine.origin)
        if standing.refused is None:
            note = GrantNote.from_text(standing.grant) if standing.grant else None
            return Active(genuine, note, standing.uses_left)
        return None


@dataclass(frozen=True, slots=True)
class Revoke:
    """Make credentials unspendable that are not spent. The names are those of the configuration."""

    accounts: tuple[str, ...]
    profiles: tuple[str, ...]
    sources: tuple[str, ...]
    nonces: NonceStore
    clock: Clock
    audit: Audit

    def __call__(self, token: str, by: Caller) -> Outcome:
        """Answer what the credential is now: REVOKED, REPLAYED if it was spent before, STALE, or UNISSUED.

        Its signature is not asked for: what is not on record under this text is left alone.
        """
        outcomes: list[Outcome] = []
        for account, version, nonce in self._named(token):
            grant = self.nonces.look(nonce).grant
            outcome = self.nonces.revoke(nonce, actor=by.subject)
            if outcome is not Outcome.UNISSUED:
                granted = whose(GrantNote.from_text(grant) if grant else None)
                facts = {"version": version, "account": account, **granted, "nonce": nonce}
                self.audit.note("revoked", {**facts, "by": by.subject, "outcome": str(outcome)})
                outcomes.append(outcome)
        return Outcome.REVOKED if Outcome.REVOKED in outcomes else (outcomes or [Outcome.UNISSUED])[0]

    def before(self, mark: Watermark, by: Caller) -> None:
        """Revoke what was issued before a second. When this returns, none of it can be spent here any more.

        A name that is not configured is refused: misspelt, it would revoke nothing and say that it had.
        """
        self._require_known(mark.scope, mark.name)
        if mark.source:
            self._require_known("source", mark.source)
        if mark.issued_before not in _SECONDS:
            raise _unfit_time("issued_before is not in Unix seconds: they have ten digits.")
        ahead = mark.issued_before - self.clock()
        if ahead > MOST_SECONDS_AHEAD:
            raise _unfit_time(
                f"issued_before is {ahead} s ahead; it may be {MOST_SECONDS_AHEAD} s. "
                "What is issued until then would be refused, too."
            )
        self.nonces.revoke_before(mark)
        self.audit.note(
            "revoked_before",
            {
                "scope": mark.scope,
                "name": mark.name,
                "source": mark.source or None,
                "issued_before": mark.issued_before,
                "by": by.subject,
            },
        )

    def _require_known(self, what: str, name: str) -> None:
        known = {"account": self.accounts, "profile": self.profiles, "source": self.sources}.get(what)
        if known is not None and name not in known:
            raise Refusal(
                Code.REQUEST_MALFORMED,
                f"There is no {what} of that name, so nothing was revoked.",
                f"Name one of: {', '.join(known)}. What a removed one issued is revoked by its account.",
                field=what,
            )

    def _named(self, token: str) -> Iterator[tuple[str, Version, NonceId]]:
        """All that the text may name: in each account as v1's token, and as a JWT if it has its three parts."""
        for account in self.accounts:
            yield account, "v1", nonce_id(account, "v1", token.encode())
            if token.count(".") == 2:  # noqa: PLR2004 - header, payload, signature
                yield account, "v2", nonce_id(account, "v2", v2.signing_input(token))


def _unfit_time(detail: str) -> Refusal:
    return Refusal(
        Code.REQUEST_MALFORMED,
        detail,
        "Send a second later than that of the last credential to be revoked, and not a later one.",
        field="issued_before",
    )
