"""A configuration with callers that are only said to be there, to try its policy with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tokensvc import wiring
from tokensvc.config import Settings
from tokensvc.core.callers import Caller, Right
from tokensvc.core.policy import AskV1, AskV2
from tokensvc.core.profiles import Profile
from tokensvc.core.rehearsal import Rehearsed, rehearse


@dataclass(frozen=True, slots=True)
class Stage:
    """`public_keys` is the one that signs, by account. `rights` has the holders of api keys, by source and subject."""

    profiles: Mapping[str, Profile]
    public_keys: Mapping[str, str]
    sources: tuple[str, ...]
    rights: Mapping[tuple[str, str], frozenset[Right]]

    @classmethod
    def of(cls, settings: Settings) -> Stage:
        """All that the policy of this configuration needs."""
        rights: dict[tuple[str, str], frozenset[Right]] = {}
        for name, source in settings.callers.items():
            for key in source.keys if source.kind == "api_key" else ():
                rights[name, key.subject] = rights.get((name, key.subject), frozenset()) | set(key.may)
        public_keys = {name: account.active for name, account in settings.accounts.items()}
        return cls(wiring.profiles(settings), public_keys, tuple(settings.callers), rights)

    def rehearse(
        self, profile: str, source: str | None, subject: str, claims: Mapping[str, str], ask: AskV1 | AskV2, now: int
    ) -> Rehearsed:
        """What this ask would come to at `now` (Unix seconds). Without `source` it is the profile's first."""
        believed = self.profiles[profile].callers if profile in self.profiles else ()
        name = source or (believed[0] if believed else "")
        may = self.rights.get((name, subject), frozenset[Right]({"issue"}))
        caller = Caller(name, subject, may, claims)
        return rehearse(self.profiles, self.public_keys, profile, caller, ask, now)
