"""Issue: know the caller, decide, mint, record; then, and only then, hand out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from tokensvc.core import policy, v1, v2
from tokensvc.core.callers import Caller, Once, Presented
from tokensvc.core.errors import Code, Outage, Refusal, Unanswered
from tokensvc.core.keys import KeyRing
from tokensvc.core.offers import Offer, offer_of
from tokensvc.core.policy import AskV1, AskV2
from tokensvc.core.profiles import Profile, find_profile
from tokensvc.core.quotas import Left, Quota, Remaining, allowance_of, left_of, refusal_of, subject_id
from tokensvc.ports import Audit, CallerSource, Chance, Clock, Concern, NonceStore, Outcome, Recording, Throttle

from .concern import unheard
from .entitlements import Entitlement, Entitlements, quota_under
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
    entitlements: Entitlements = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "entitlements", Entitlements(self.rings))

    def v1(self, profile_name: str, presented: Presented, ask: AskV1) -> Issued[v1.Credential]:
        """Issue a v1 credential, or raise a refusal or an outage."""
        entitled = self.entitle(*self.admit(profile_name, presented), ask)
        chosen, window, moved = policy.token_of(ask), entitled.terms.window, False
        self._settle(entitled, ask)
        fits = None if entitled.quota is None else self.fits(entitled)
        for _ in range(_MOST_OWN_TOKENS):
            token = chosen or new_token(self.chance, fits)
            credential = v1.mint(entitled.pair, token, window)
            try:
                recording = self._record(entitled, token.encode(), window.record_until)
            except Unanswered:
                if moved or chosen is not None or (fits := self._elsewhere(entitled, token.encode())) is None:
                    raise
                moved = True
                continue
            if recording.recorded:
                return Issued(credential, left_after(entitled.quota, recording))
            if chosen is not None:
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
        entitled = self.entitle(*self.admit(profile_name, presented), ask)
        members, moved, tracked = v2.members(policy.parameters_of(entitled.terms, ask)), False, True
        self._settle(entitled, ask)
        fits = None if entitled.quota is None else self.fits(entitled)
        for step in range(min(MOST_STEPS_BACK + 1, entitled.terms.window.lifetime)):
            window = entitled.terms.window.earlier(step)
            token, material = v2.Mint(entitled.pair, window, fits).make(members)
            if tracked:
                try:
                    recording = self._record(entitled, material, window.record_until)
                    if recording.recorded:
                        return Issued(token, left_after(entitled.quota, recording))
                except Unanswered:
                    if not moved and (other := self._elsewhere(entitled, material)) is not None:
                        fits, moved = other, True
                        continue
                    if not self._may_go_untracked(entitled):
                        raise
                    tracked = False
            if not tracked and self._hand_out_untracked(entitled, material):
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
        quota = quota_under(profile, caller)
        if quota is None:
            return offer, Remaining(), None
        remaining = self.nonces.remaining(quota)
        return offer, remaining, left_of(quota, remaining)

    def admit(self, profile_name: str, presented: Presented) -> tuple[Profile, Caller]:
        """Return the profile of that name and who asks under it, or raise a refusal; strangers are slowed down."""
        profile = find_profile(self.profiles, profile_name)
        return profile, self._identify_slowly(profile, presented)

    def entitle(self, profile: Profile, caller: Caller, ask: AskV1 | AskV2) -> Entitlement:
        """What one who was admitted may have now, whatever else it asks for than until when; or a refusal."""
        return self.entitlements.of(profile, caller, ask, self.clock())

    def _settle(self, entitled: Entitlement, ask: AskV1 | AskV2) -> None:
        """Refuse another key than ours; and use up what is good once, last, so that no refused request does."""
        self.rings[entitled.profile.account].require_public_key(ask.public_key)
        if entitled.caller.once is not None:
            self._cross_off(entitled.caller.once)

    def _may_go_untracked(self, entitled: Entitlement) -> bool:
        """Never what a ticket was used up for: who shows it again would get another."""
        caller = entitled.caller
        allowed = entitled.profile.untracked and caller.once is None and caller.source not in self.anonymous
        return allowed and self.untracked.has_room(self.clock())

    def _hand_out_untracked(self, entitled: Entitlement, material: bytes) -> bool:
        nonce = entitled.nonce_id(material)
        if not self.untracked.take(nonce, self.clock()):
            return False
        self.audit.note_each("issued_untracked", entitled.facts, (nonce,))
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

    def _record(self, entitled: Entitlement, material: bytes, until: int) -> Recording:
        """What came of it: recorded, or it exists; a refusal if the subject has had its share."""
        nonce, quota = entitled.nonce_id(material), entitled.quota
        recording = self.nonces.record(
            nonce,
            grant=entitled.text,
            until=until,
            request=new_request(self.chance),
            quota=quota,
            uses=entitled.profile.uses,
        )
        require_share(quota, recording)
        if recording.recorded:
            self.audit.note_each("issued", entitled.facts, (nonce,))
        return recording

    def fits(self, entitled: Entitlement) -> Fits | None:
        """Says of the material of a nonce whether it would be beside its subject; None if it is wherever it is."""
        if self.nonces.in_one_place():
            return None
        profile, caller = entitled.profile, entitled.caller
        home = subject_id(profile.account, profile.name, caller.source, caller.subject)
        return lambda material: self.nonces.beside(entitled.nonce_id(material), home)

    def _elsewhere(self, entitled: Entitlement, material: bytes) -> Fits | None:
        """What fits a server other than the one that did not answer about that material; None if there is none.

        Nor is there where a count says where it has to be.
        """
        if entitled.quota is not None:
            return None
        is_elsewhere = self.nonces.elsewhere(entitled.nonce_id(material))
        if is_elsewhere is None:
            return None
        return lambda other: is_elsewhere(entitled.nonce_id(other))


def require_share(quota: Quota | None, recording: Recording) -> None:
    """Raise the refusal that the recording came to, if the subject has had its share."""
    if quota is not None and recording.limit is not None and not recording.recorded:
        raise refusal_of(quota, recording.limit, recording.retry_after)


def left_after(quota: Quota | None, recording: Recording) -> Left | None:
    """How much more there is for a subject after this recording; None if that is not counted."""
    if quota is None or recording.limit is None or recording.remaining is None:
        return None
    return Left(allowance_of(quota, recording.limit), recording.remaining)
