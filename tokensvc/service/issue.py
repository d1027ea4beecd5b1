"""Issue: know the caller, decide, mint, record; then, and only then, hand out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from tokensvc.core import policy, v1, v2
from tokensvc.core.callers import Caller, Once, Presented
from tokensvc.core.errors import Code, Outage, Refusal, Unanswered
from tokensvc.core.grants import Grant
from tokensvc.core.keys import KeyRing
from tokensvc.core.nonces import NonceId, nonce_id
from tokensvc.core.offers import Offer, offer_of
from tokensvc.core.policy import AskV1, AskV2
from tokensvc.core.profiles import Profile, find_profile
from tokensvc.core.quotas import Left, Quota, Remaining, allowance_of, left_of, quota_of, refusal_of, subject_id
from tokensvc.ports import Audit, CallerSource, Chance, Clock, Concern, NonceStore, Outcome, Recording, Throttle

from .concern import unheard
from .request_names import new_request
from .tokens import Fits, new_token
from .untracked import Untracked

MOST_STEPS_BACK: Final = 30
"""Seconds by which an equal v2 credential is moved back to differ from those already issued."""

_MOST_OWN_TOKENS: Final = 3
_Credential = TypeVar("_Credential")


@dataclass(frozen=True, slots=True)
class Issued(Generic[_Credential]):
    """What is on record and may leave; and how much more there is for its subject, if its profile counts that.

    One that is not `tracked` went out without a record, while the store was down: see `untracked`.
    """

    credential: _Credential
    left: Left | None = None
    tracked: bool = True


@dataclass(frozen=True, slots=True)
class Issue:
    """The use case with all that it needs from outside.

    `anonymous` names the caller sources whose callers have no name; without a `throttle` nobody is slowed down.
    """

    profiles: Mapping[str, Profile]
    rings: Mapping[str, KeyRing]
    sources: Mapping[str, CallerSource]
    nonces: NonceStore
    clock: Clock
    chance: Chance
    audit: Audit
    throttle: Throttle | None = None
    anonymous: frozenset[str] = frozenset()
    untracked: Untracked = field(default_factory=Untracked)
    concern: Concern = unheard

    def v1(self, profile_name: str, presented: Presented, ask: AskV1) -> Issued[v1.Credential]:
        """Issue a v1 credential, or raise a refusal or an outage."""
        grant, _ = self._decide(profile_name, presented, ask)
        ring, quota, moved = self.rings[grant.account], self.quota(grant), False
        fits = None if quota is None else self.fits(grant)
        for _ in range(_MOST_OWN_TOKENS):
            token = grant.token or new_token(self.chance, fits)
            credential = v1.mint(ring.signing, token, grant.window)
            try:
                recording = self._record(grant, token.encode(), grant.window.record_until, quota)
            except Unanswered:
                if moved or (fits := self._elsewhere(grant, token.encode())) is None:
                    raise
                moved = True
                continue
            if recording.recorded:
                return Issued(credential, left_after(quota, recording))
            if grant.token is not None:
                raise Refusal(
                    Code.TOKEN_EXISTS,
                    "token was issued before.",
                    "Send a new UUID each time, or leave token out.",
                    field="token",
                )
        raise Refusal(Code.TOKEN_EXISTS, "No new token could be found.", "Try again.")

    def v2(self, profile_name: str, presented: Presented, ask: AskV2) -> Issued[str]:
        """Issue a v2 credential (the text of its JWT), or raise a refusal or an outage.

        Two equal payloads in one second would be one JWT, good for one upload. So an equal one is moved back in time
        by whole seconds until it is new: its lifetime is as asked or up to 30 s less, never more.
        """
        grant, caller = self._decide(profile_name, presented, ask)
        ring, quota, moved, tracked = self.rings[grant.account], self.quota(grant), False, True
        fits = None if quota is None else self.fits(grant)
        for step in range(min(MOST_STEPS_BACK + 1, grant.window.lifetime)):
            window = grant.window.earlier(step)
            token = v2.mint(ring.signing, grant.parameters, window, fits)
            material = v2.signing_input(token)
            if tracked:
                try:
                    recording = self._record(grant, material, window.record_until, quota)
                    if recording.recorded:
                        return Issued(token, left_after(quota, recording))
                except Unanswered:
                    if not moved and (other := self._elsewhere(grant, material)) is not None:
                        fits, moved = other, True
                        continue
                    if not self._may_go_untracked(grant, caller):
                        raise
                    tracked = False
            if not tracked and self._hand_out_untracked(grant, material):
                return Issued(token, tracked=False)
        raise Refusal(
            Code.TOKEN_EXISTS,
            "Too many credentials for exactly these parameters were issued in the last seconds.",
            "Ask again in a few seconds, or vary fileName.",
            field="uploadPayload",
        )

    def identify(self, profile: Profile, presented: Presented) -> Caller:
        """Return who asks. The first source that finds its evidence decides; a forged one is not passed over."""
        for name in profile.callers:
            caller = self.sources[name].identify(presented)
            if caller is not None:
                break
        else:
            raise Refusal(
                Code.CALLER_MISSING,
                "The request does not say who is asking.",
                "Sign in, or send an api key as Authorization: Bearer tsk_…",
            )
        self.concern(account=profile.account, profile=profile.name, source=caller.source, subject=caller.subject)
        if caller.profile not in (None, profile.name):
            raise Refusal(
                Code.CALLER_FORBIDDEN,
                f"This caller may fetch credentials of profile {caller.profile} only.",
                "Ask under that profile's path.",
            )
        return caller

    def offer(self, profile_name: str, presented: Presented) -> tuple[Offer, Remaining, Left | None]:
        """What the caller may ask for, how many more of it by each limit, and by the one with the fewest left.

        Nothing is issued, counted or used up.
        """
        profile, caller = self.admit(profile_name, presented)
        offer = offer_of(profile, caller, self.clock())
        quota = _quota_of(profile, caller.source, caller.subject)
        if quota is None:
            return offer, Remaining(), None
        remaining = self.nonces.remaining(quota)
        return offer, remaining, left_of(quota, remaining)

    def admit(self, profile_name: str, presented: Presented) -> tuple[Profile, Caller]:
        """Return the profile of that name and who asks under it, or raise a refusal; strangers are slowed down."""
        profile = find_profile(self.profiles, profile_name)
        return profile, self._identify_slowly(profile, presented)

    def _decide(self, profile_name: str, presented: Presented, ask: AskV1 | AskV2) -> tuple[Grant, Caller]:
        profile, caller = self.admit(profile_name, presented)
        grant = policy.decide(profile, caller, ask, self.clock())
        self.rings[grant.account].require_public_key(ask.public_key)
        if caller.once is not None:  # last, so that a request which is refused anyway does not use it up
            self._cross_off(caller.once)
        return grant, caller

    def _may_go_untracked(self, grant: Grant, caller: Caller) -> bool:
        """Never what a ticket was used up for: who shows it again would get another."""
        allowed = self.profiles[grant.profile].untracked and caller.once is None and caller.source not in self.anonymous
        return allowed and self.untracked.has_room(self.clock())

    def _hand_out_untracked(self, grant: Grant, material: bytes) -> bool:
        nonce = nonce_id(grant.account, grant.version, material)
        if not self.untracked.take(nonce, self.clock()):
            return False
        self.audit.note("issued_untracked", {**_noted(grant), "nonce": nonce})
        return True

    def _identify_slowly(self, profile: Profile, presented: Presented) -> Caller:
        if self.throttle is None:
            return self.identify(profile, presented)
        self.throttle.check(presented.address)
        try:
            caller = self.identify(profile, presented)
        except Refusal as refusal:
            if refusal.code == Code.CALLER_INVALID:
                self.throttle.failed(presented.address)
            raise
        if caller.source in self.anonymous:
            self.throttle.anonymous(presented.address)
        return caller

    def _cross_off(self, once: Once) -> None:
        redemption = self.nonces.redeem(once.nonce, request=new_request(self.chance), cross_off_until=once.until)
        if redemption.outcome is Outcome.UNISSUED:
            raise Outage(
                "The nonce store's clock is past the time until which a use must be noted: compare the clocks."
            )
        if redemption.outcome is not Outcome.SPENT:
            raise Refusal(Code.CALLER_INVALID, "The ticket was used before.", "Fetch a new ticket for each credential.")

    def _record(self, grant: Grant, material: bytes, until: int, quota: Quota | None) -> Recording:
        """What came of it: recorded, or it exists; a refusal if the subject has had its share."""
        nonce, request = nonce_id(grant.account, grant.version, material), new_request(self.chance)
        recording = self.nonces.record(
            nonce, grant=grant.to_text(), until=until, request=request, quota=quota, uses=grant.uses
        )
        require_share(quota, recording)
        if recording.recorded:
            self.audit.note("issued", {**_noted(grant), "nonce": nonce})
        return recording

    def quota(self, grant: Grant) -> Quota | None:
        """What the grant's subject may have under its profile; None if that is not limited."""
        return _quota_of(self.profiles[grant.profile], grant.source, grant.subject)

    def fits(self, grant: Grant) -> Fits | None:
        """Says of the material of a nonce whether it would be beside its subject; None if it is wherever it is."""
        if self.nonces.in_one_place():
            return None
        home = subject_id(grant.account, grant.profile, grant.source, grant.subject)
        return lambda material: self.nonces.beside(nonce_id(grant.account, grant.version, material), home)

    def _elsewhere(self, grant: Grant, material: bytes) -> Fits | None:
        """What fits a server other than the one that did not answer about that material; None if there is none.

        Nor is there where the token was chosen by the client, or a count says where it has to be.
        """
        if grant.token is not None or self.quota(grant) is not None:
            return None
        is_elsewhere = self.nonces.elsewhere(nonce_id(grant.account, grant.version, material))
        if is_elsewhere is None:
            return None
        return lambda other: is_elsewhere(nonce_id(grant.account, grant.version, other))

    def note_each(self, grant: Grant, nonces: Sequence[NonceId]) -> None:
        """Note for the audit that credentials of the same caller are on record, and about to leave."""
        self.audit.note_each("issued", _noted(grant), nonces)


def _noted(grant: Grant) -> dict[str, str | int | None]:
    """What the audit is told of a grant, besides the nonce."""
    return {
        "version": grant.version,
        "account": grant.account,
        "profile": grant.profile,
        "source": grant.source,
        "subject": grant.subject,
    }


def require_share(quota: Quota | None, recording: Recording) -> None:
    """Raise the refusal that the recording came to, if the subject has had its share."""
    if quota is not None and recording.limit is not None and not recording.recorded:
        raise refusal_of(quota, recording.limit, recording.retry_after)


def left_after(quota: Quota | None, recording: Recording) -> Left | None:
    """How much more there is for a subject after this recording; None if that is not counted."""
    if quota is None or recording.limit is None or recording.remaining is None:
        return None
    return Left(allowance_of(quota, recording.limit), recording.remaining)


def _quota_of(profile: Profile, source: str, subject: str) -> Quota | None:
    return quota_of(profile.limits, account=profile.account, profile=profile.name, source=source, subject=subject)
