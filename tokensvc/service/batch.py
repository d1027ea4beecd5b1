"""Issue many credentials at once: one decision about the caller, one round trip to the nonce store, all or none.

In a v2 batch an upload that cannot be granted is told in its place, and the others are issued all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tokensvc.core import v1
from tokensvc.core.callers import Caller, Presented
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.nonces import NonceId, nonce_ids
from tokensvc.core.policy import AskV1, AskV2
from tokensvc.core.profiles import Profile
from tokensvc.core.stencils import Stencils
from tokensvc.ports import Recording, RecordOutcome

from .drafts import Drafts
from .entitlements import Entitlement
from .issue import Issue, Issued, left_after, require_share
from .receipts import Repeatable, repeatable
from .request_names import new_request
from .tokens import new_tokens

MOST_IN_A_BATCH: Final = 100

_MOST_ROUNDS: Final = 3
_OF_ONE_UPLOAD: Final = frozenset({Code.PARAMETER_FORBIDDEN, Code.PARAMETER_INVALID, Code.REQUEST_MALFORMED})
"""Refusals that are about what one upload asks for. Any other is about the whole request."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The use case, on those parts of `Issue` that are the same for one and for many."""

    issue: Issue

    def v1(self, profile_name: str, presented: Presented, count: int, key: str | None = None) -> Issued[v1.Credentials]:
        """Issue `count` v1 credentials (1 to 100), or raise a refusal or an outage; then there are none.

        With a `key` of the caller's choice they are issued once, and returned again whenever it asks.
        """
        profile, caller = self._admit(profile_name, presented)
        ring = self.issue.rings[profile.account]
        repeat = repeatable(ring, profile, caller, key, ["v1", count])
        entitled = self.issue.entitle(profile, caller, AskV1())
        request, fits, window = new_request(self.issue.chance), self.issue.fits(entitled), entitled.terms.window
        for _ in range(_MOST_ROUNDS):
            made = v1.mint_all(entitled.pair, new_tokens(self.issue.chance, count, fits), window)
            nonces = nonce_ids(profile.account, "v1", map(str.encode, made.tokens))
            items = () if repeat is None else _items(made)
            recording = self._record(entitled, nonces, [window.record_until] * count, request, repeat, items)
            if repeat is not None and recording.outcome is RecordOutcome.AGAIN:
                return Issued(_of_items(repeat.items(recording.receipt)))
            if recording.recorded:
                return Issued(made, left_after(entitled.quota, recording))
        raise Refusal(Code.TOKEN_EXISTS, "No new tokens could be found.", "Try again.")

    def v2(
        self,
        profile_name: str,
        presented: Presented,
        uploads: Sequence[object],
        expire: object = None,
        key: str | None = None,
    ) -> tuple[str, Issued[list[str | Refusal]]]:
        """Return the public key, and for each of the (1 to 100) uploads its JWT or why there is none.

        Equal payloads are moved back in time by whole seconds until they differ, as for one credential. With a `key` of
        the caller's choice they are issued once, and returned again whenever it asks; those without one, too.
        """
        profile, caller = self._admit(profile_name, presented)
        ring = self.issue.rings[profile.account]
        repeat = repeatable(ring, profile, caller, key, ["v2", uploads, expire])
        request = new_request(self.issue.chance)
        results: list[str | Refusal] = [_TOO_MANY_ALIKE] * len(uploads)
        drafts: Drafts | None = None
        for place, payload in enumerate(uploads):
            try:
                upload = _object(payload)
                if drafts is None:
                    entitled = self.issue.entitle(profile, caller, AskV2(upload, expire))
                    stencils, fits = Stencils(entitled.terms), self.issue.fits(entitled)
                    drafts = Drafts(entitled.pair, entitled.terms.window, fits)
                drafts.add(place, stencils.members(upload))
            except Refusal as refusal:
                if refusal.code not in _OF_ONE_UPLOAD:
                    raise
                results[place] = refusal
        if drafts is None:
            return ring.active, Issued(results)
        while drafts.texts:
            drafts.part()
            places = list(drafts.texts)
            answer = [drafts.texts.get(place, one) for place, one in enumerate(results)]
            items = () if repeat is None else (ring.active, *(_item(one) for one in answer))
            nonces = nonce_ids(profile.account, "v2", drafts.nonces.values())
            recording = self._record(entitled, nonces, drafts.untils(), request, repeat, items)
            if repeat is not None and recording.outcome is RecordOutcome.AGAIN:
                public_key, *kept = repeat.items(recording.receipt)
                return public_key, Issued([_of_item(item) for item in kept])
            if recording.recorded:
                return ring.active, Issued(answer, left_after(entitled.quota, recording))
            for number in recording.known:
                drafts.move(places[number])
        return ring.active, Issued(results)

    def _admit(self, profile_name: str, presented: Presented) -> tuple[Profile, Caller]:
        profile, caller = self.issue.admit(profile_name, presented)
        if caller.once is not None or caller.source in self.issue.anonymous:
            raise Refusal(
                Code.CALLER_FORBIDDEN,
                "A ticket, or a caller without a name, is given one credential at a time.",
                "Ask at the profile's path without /batch, for each upload.",
            )
        return profile, caller

    def _record(
        self,
        entitled: Entitlement,
        nonces: Sequence[NonceId],
        untils: Sequence[int],
        request: str,
        repeat: Repeatable | None,
        items: Sequence[Any],
    ) -> Recording:
        """Record all of them, or none. `items` are what is kept of them for a repetition."""
        receipt = None
        if repeat is not None:
            receipt = repeat.receipt(items, max(untils), self.issue.chance)
        recording = self.issue.nonces.record_batch(
            nonces,
            grant=entitled.text,
            untils=untils,
            request=request,
            quota=entitled.quota,
            uses=entitled.profile.uses,
            receipt=receipt,
        )
        require_share(entitled.quota, recording)
        if recording.recorded:
            self.issue.audit.note_each("issued", entitled.facts, nonces)
        return recording


def _items(made: v1.Credentials) -> list[Any]:
    """What a receipt has of each v1 credential."""
    count = len(made.tokens)
    return list(zip(made.tokens, [made.expire] * count, made.signatures, [made.public_key] * count, strict=True))


def _of_items(items: Sequence[Any]) -> v1.Credentials:
    tokens, expires, signatures, public_keys = zip(*items, strict=True)
    return v1.Credentials(tokens, expires[0], signatures, public_keys[0])


def _item(one: str | Refusal) -> Any:  # noqa: ANN401 - JSON
    return one if isinstance(one, str) else {"code": str(one.code), "field": one.field, "detail": one.detail}


def _of_item(item: Any) -> str | Refusal:  # noqa: ANN401 - as above
    return item if isinstance(item, str) else Refusal(Code(item["code"]), item["detail"], field=item["field"])


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
