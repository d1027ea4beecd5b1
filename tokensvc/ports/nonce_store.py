"""The nonce store, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from tokensvc.core.nonces import NonceId
from tokensvc.core.quotas import LimitName, Quota, Remaining
from tokensvc.core.uses import ONCE, Uses
from tokensvc.core.watermarks import Origin, Watermark


class Outcome(StrEnum):
    """What a try to redeem came to. SPENT, CLAIMED and FINISHED are a yes, only to the request that holds the nonce.

    CLAIMED is one for a while: nothing may come of it before it is committed. HELD is a no for a while, because others
    have claimed what uses are left.
    """

    SPENT = "spent"
    CLAIMED = "claimed"
    FINISHED = "finished"
    HELD = "held"
    REPLAYED = "replayed"
    REVOKED = "revoked"
    STALE = "stale"
    UNISSUED = "unissued"


@dataclass(frozen=True, slots=True)
class Redemption:
    """`grant` is the text recorded at issue (SPENT and CLAIMED; empty for one that is crossed off).

    `result` is what finish noted. `retry_after` are the seconds after which one that is HELD is free, if not spent.
    `on_record` is the text where it is not handed out: for telling whose the nonce is, and no part of the answer.
    """

    outcome: Outcome
    grant: str = ""
    result: str = ""
    retry_after: int = 0
    on_record: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a nonce is now. `refused` is what redeeming it would come to; None while it can be spent.

    `grant` is empty for one on no record, which would be crossed off. `uses_left` is how many may be had now: at least
    1 if it is not refused.
    """

    refused: Outcome | None
    grant: str = ""
    uses_left: int = 0


class RecordOutcome(StrEnum):
    """What a try to record came to. Only RECORDED is a yes; nothing was recorded or counted by any other."""

    RECORDED = "recorded"
    EXISTS = "exists"
    AGAIN = "again"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"


@dataclass(frozen=True, slots=True)
class Recording:
    """`limit` is the one that refused, and `retry_after` the seconds (at least 1) after which it would not.

    `remaining` is how many more the subject may have at once, and then `limit` is the one that says so: both None
    without a quota, and where a call is repeated.
    `known` are the places in a batch whose nonces EXIST, and `receipt` is the text of the one that was recorded AGAIN.
    """

    outcome: RecordOutcome
    limit: LimitName | None = None
    retry_after: int = 0
    remaining: int | None = None
    known: tuple[int, ...] = ()
    receipt: str = ""

    @property
    def recorded(self) -> bool:
        """Whether the nonce is on record, for this request."""
        return self.outcome is RecordOutcome.RECORDED


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is kept with a batch until a Unix time, for whoever records one of that name again.

    A name is 22 URL-safe characters.
    """

    name: str
    text: str
    until: int


class NonceStore(Protocol):
    """Remembers each nonce from issue until past its expiry, and lets it be spent once.

    `request` is a text of 22 URL-safe characters made once per request of ours: repeating a call with the same one is
    answered as the first time, so that a lost reply can be asked for again. `until` is Unix seconds.
    """

    def record(
        self,
        nonce: NonceId,
        *,
        grant: str,
        until: int,
        request: str,
        quota: Quota | None = None,
        uses: Uses = ONCE,
    ) -> Recording:
        """Note the nonce as issued and count it against the quota, both or neither.

        It EXISTS if it is known already to another request. What is repeated is counted once. It is outstanding until
        the last of its uses is spent.
        """

    def remaining(self, quota: Quota) -> Remaining:
        """How many more the subject may have now, by each limit of the quota. Nothing is recorded or counted."""

    def record_batch(
        self,
        nonces: Sequence[NonceId],
        *,
        grant: str,
        untils: Sequence[int],
        request: str,
        quota: Quota | None = None,
        uses: Uses = ONCE,
        receipt: Receipt | None = None,
    ) -> Recording:
        """Note all as issued and count all, or none, in one round trip. The nonces differ from each other.

        `untils` has for each nonce, in its place, until when it is kept; the grant is that of all.

        If any is known to another request, it EXISTS and `known` says which. May be asked again with other nonces
        in their place: what this request has recorded already is not counted twice. If there is a receipt of that name,
        of another request, nothing is recorded: AGAIN, with its text. With a quota or a receipt the nonces must all be
        beside the subject.
        """

    def in_one_place(self) -> bool:
        """Whether each nonce is beside each subject."""

    def beside(self, nonce: NonceId, subject_id: str) -> bool:
        """Whether the nonce and the counts of the subject are in one place, so that one step reaches both.

        One that is not is counted all the same, in two steps, and as outstanding until it ends. Nobody is asked.
        """

    def elsewhere(self, nonce: NonceId) -> Callable[[NonceId], bool] | None:
        """Says of another nonce whether another server would record it; None if there is one server only.

        For who was not answered about the first, and may choose. Nobody is asked.
        """

    def redeem(
        self,
        nonce: NonceId,
        *,
        request: str,
        cross_off_until: int | None = None,
        lease: int | None = None,
        origin: Origin | None = None,
    ) -> Redemption:
        """Spend the nonce atomically, or one of its uses. With `cross_off_until` an unknown one is a yes, once.

        With a `lease` (seconds) a use that is spent on success is only CLAIMED: to be committed or released, and
        free for others when the lease has ended. Asked again by the same request, the lease begins anew.

        What a watermark revokes is REVOKED: by its grant, and an unknown one by its origin, if it has one.
        """

    def commit(self, nonce: NonceId, *, request: str) -> Outcome:
        """Spend what the request has claimed: SPENT, or the refusal if it has no claim any more. Repeated, the same.

        What was revoked since, by itself or by a watermark, is REVOKED.

        A lease that has ended is no reason to refuse, but that another has claimed it since is one.
        """

    def release(self, nonce: NonceId, *, request: str) -> None:
        """Give back what the request has claimed. What it has spent stays spent, and so does what others have."""

    def finish(self, nonce: NonceId, *, request: str, result: str) -> None:
        """Note the result of the redemption that `request` holds, so that the same request is answered alike again."""

    def revoke(self, nonce: NonceId, *, actor: str) -> Outcome:
        """Make an issued nonce unspendable; answers what it is now (REVOKED, or REPLAYED if it was spent before).

        With its uses: those that are left, and those that are claimed and not committed.
        """

    def revoke_before(self, mark: Watermark) -> None:
        """Make all unspendable that the mark concerns and that is not spent yet; when this returns, none of it can be.

        It reaches also what is recorded later with an earlier time of issue. A mark of an earlier second changes
        nothing.
        """

    def look(self, nonce: NonceId, *, cross_off: bool = False, origin: Origin | None = None) -> Standing:
        """What the nonce is now; nothing is changed. `cross_off`: redeeming would take one on no record, too."""

    def outstanding(self) -> int:
        """How many nonces were issued and could be spent now: about, if they are many. Nothing is changed."""

    def ready(self) -> tuple[str, ...]:
        """Return when issue and redeem would work now; otherwise raise Outage with the reason.

        Of a store of many servers some may be down, and the others serve: those are returned, as `host:port`.
        """
