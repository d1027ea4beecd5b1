"""Issue many credentials at once: one decision about the caller, one round trip to the nonce store, all or none.

In a v2 batch an upload that cannot be granted is told in its place, and the others are issued all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tokensvc.core import policy, v1, v2
from tokensvc.core.callers import Caller, Presented
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.grants import Grant
from tokensvc.core.keys import KeyPair
from tokensvc.core.nonces import NonceId, nonce_id
from tokensvc.core.policy import AskV1, AskV2
from tokensvc.core.profiles import Profile
from tokensvc.ports import Entry, Recording

from .issue import MOST_STEPS_BACK, Issue, Issued, new_request, new_token, require_share

MOST_IN_A_BATCH: Final = 100

_MOST_ROUNDS: Final = 3
_OF_ONE_UPLOAD: Final = frozenset({Code.PARAMETER_FORBIDDEN, Code.PARAMETER_INVALID, Code.REQUEST_MALFORMED})
"""Refusals that are about what one upload asks for. Any other is about the whole request."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The use case, on those parts of `Issue` that are the same for one and for many."""

    issue: Issue

    def v1(self, profile_name: str, presented: Presented, count: int) -> Issued[list[v1.Credential]]:
        """Issue `count` v1 credentials (1 to 100), or raise a refusal or an outage; then there are none."""
        profile, caller = self._admit(profile_name, presented)
        grant = policy.decide(profile, caller, AskV1(), self.issue.clock())
        pair, request = self.issue.rings[grant.account].signing, new_request(self.issue.chance)
        for _ in range(_MOST_ROUNDS):
            made = [v1.mint(pair, new_token(self.issue.chance), grant.window) for _ in range(count)]
            drafts = [_Draft(grant, one.token.encode(), one.token) for one in made]
            recording = self._record(drafts, request)
            if recording.recorded:
                return Issued(made, self.issue.left(grant, recording))
        raise Refusal(Code.TOKEN_EXISTS, "No new tokens could be found.", "Try again.")

    def v2(
        self, profile_name: str, presented: Presented, uploads: Sequence[object], expire: object = None
    ) -> tuple[str, Issued[list[str | Refusal]]]:
        """Return the public key, and for each of the (1 to 100) uploads its JWT or why there is none.

        Equal payloads are moved back in time by whole seconds until they differ, as for one credential.
        """
        profile, caller = self._admit(profile_name, presented)
        now = self.issue.clock()
        pair, request = self.issue.rings[profile.account].signing, new_request(self.issue.chance)
        results: list[str | Refusal] = [_TOO_MANY_ALIKE] * len(uploads)
        drafts: dict[int, _Draft] = {}
        left = None
        for place, payload in enumerate(uploads):
            try:
                grant = policy.decide(profile, caller, AskV2(_object(payload), expire), now)
                drafts[place] = _Draft.of(pair, grant)
            except Refusal as refusal:
                if refusal.code not in _OF_ONE_UPLOAD:
                    raise
                results[place] = refusal
        while drafts:
            drafts = _apart(pair, drafts)
            places = sorted(drafts)
            recording = self._record([drafts[place] for place in places], request)
            if recording.recorded:
                left = self.issue.left(drafts[places[0]].grant, recording)
                break
            for number in recording.known:
                _step(pair, drafts, places[number])
        texts = [drafts[place].text if place in drafts else one for place, one in enumerate(results)]
        return pair.public_key, Issued(texts, left)

    def _admit(self, profile_name: str, presented: Presented) -> tuple[Profile, Caller]:
        profile, caller = self.issue.admit(profile_name, presented)
        if caller.once is not None or caller.source in self.issue.anonymous:
            raise Refusal(
                Code.CALLER_FORBIDDEN,
                "A ticket, or a caller without a name, is given one credential at a time.",
                "Ask at the profile's path without /batch, for each upload.",
            )
        return profile, caller

    def _record(self, drafts: Sequence[_Draft], request: str) -> Recording:
        """Whether all are on record now; else none is, and `known` are the places of those that were before."""
        first = drafts[0].grant
        entries = [Entry(draft.nonce, draft.grant.to_text(), draft.grant.window.record_until) for draft in drafts]
        quota = self.issue.quota(first)
        recording = self.issue.nonces.record_batch(entries, request=request, quota=quota)
        require_share(quota, recording)
        if recording.recorded:
            for draft in drafts:
                self.issue.note(draft.grant, draft.nonce)
        return recording


@dataclass(frozen=True, slots=True)
class _Draft:
    """A credential that is signed and not on record yet, so it must not leave."""

    grant: Grant
    material: bytes
    text: str
    steps: int = 0

    @classmethod
    def of(cls, pair: KeyPair, grant: Grant, steps: int = 0) -> _Draft:
        token = v2.mint(pair, grant.parameters, grant.window)
        return cls(grant, v2.signing_input(token), token, steps)

    @property
    def nonce(self) -> NonceId:
        return nonce_id(self.grant.account, self.grant.version, self.material)


def _apart(pair: KeyPair, drafts: Mapping[int, _Draft]) -> dict[int, _Draft]:
    """The drafts moved back until no two are the same; those for which there is no room left out."""
    moved, seen = dict(drafts), set[bytes]()
    for place in sorted(drafts):
        while place in moved and moved[place].material in seen:
            _step(pair, moved, place)
        if place in moved:
            seen.add(moved[place].material)
    return moved


def _step(pair: KeyPair, drafts: dict[int, _Draft], place: int) -> None:
    """Move one back by a second, or take it out if that is too far."""
    draft = drafts.pop(place)
    if draft.steps < min(MOST_STEPS_BACK, draft.grant.window.lifetime - 1):
        grant = replace(draft.grant, window=draft.grant.window.earlier(1))
        drafts[place] = _Draft.of(pair, grant, draft.steps + 1)


def _object(payload: object) -> Mapping[str, object]:
    if not isinstance(payload, dict):
        raise Refusal(
            Code.REQUEST_MALFORMED,
            "This upload is not an object.",
            'Send {"fileName": "a.jpg"}, with the fields that the upload will have.',
            field="uploads",
        )
    return payload


_TOO_MANY_ALIKE: Final = Refusal(
    Code.TOKEN_EXISTS,
    "Too many credentials for exactly these parameters were issued in the last seconds.",
    "Ask again in a few seconds, or vary fileName.",
    field="uploads",
)
