"""What follows from a profile, a caller and the second that it is: the same for all that is issued on it.

Who asks again in the same second is not decided of again. Nothing is kept for longer, because a window and a date that
is forced are of their second; and what is kept is of one configuration, as the use case is that keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tokensvc.core import policy
from tokensvc.core.callers import Caller
from tokensvc.core.keys import KeyPair, KeyRing
from tokensvc.core.nonces import NonceId, nonce_id
from tokensvc.core.policy import AskV1, AskV2, Terms
from tokensvc.core.profiles import Profile
from tokensvc.core.quotas import Quota, quota_of

_MOST_KEPT: Final = 1024


@dataclass(frozen=True, slots=True)
class Entitlement:
    """The terms, the key pair that signs, and of each nonce its record's text, its quota and what the audit is told.

    `facts` are those besides the nonce. There is no `quota` under a profile that counts nothing.
    """

    terms: Terms
    pair: KeyPair
    text: str
    quota: Quota | None
    facts: Mapping[str, str | int | None]

    @property
    def profile(self) -> Profile:
        """Under which it is."""
        return self.terms.occasion.profile

    @property
    def caller(self) -> Caller:
        """Whose it is."""
        return self.terms.occasion.caller

    def nonce_id(self, material: bytes) -> NonceId:
        """The name of a nonce that is issued on it."""
        return nonce_id(self.profile.account, self.terms.version, material)


class Entitlements:
    """Those of this second. `rings` are by account."""

    def __init__(self, rings: Mapping[str, KeyRing]) -> None:
        self._rings = rings
        self._kept: dict[tuple[str, ...], Entitlement] = {}

    def of(self, profile: Profile, caller: Caller, ask: AskV1 | AskV2, now: int) -> Entitlement:
        """As `policy.terms_of` decides of it at `now` (Unix seconds), or its refusal."""
        if ask.expire is not None:
            return self._decided(profile, caller, ask, now)
        name = (ask.version, profile.name, caller.source, caller.subject)
        kept = self._kept.get(name)
        if (
            kept is None
            or kept.terms.occasion.now != now
            or not (kept.caller is caller or kept.caller == caller)
            or kept.profile is not profile
        ):
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[name] = kept = self._decided(profile, caller, ask, now)
        return kept

    def _decided(self, profile: Profile, caller: Caller, ask: AskV1 | AskV2, now: int) -> Entitlement:
        terms = policy.terms_of(profile, caller, ask, now)
        return Entitlement(
            terms,
            self._rings[profile.account].signing,
            policy.grant_of(terms).to_text(),
            quota_under(profile, caller),
            {
                "version": terms.version,
                "account": profile.account,
                "profile": profile.name,
                "source": caller.source,
                "subject": caller.subject,
            },
        )


def quota_under(profile: Profile, caller: Caller) -> Quota | None:
    """What a caller may have under a profile; None if that is not limited."""
    of = {"account": profile.account, "profile": profile.name, "source": caller.source, "subject": caller.subject}
    return quota_of(profile.limits, **of)
