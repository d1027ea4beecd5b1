"""The one typed caller of the scripts.

Every call is safe to repeat with the same request id, and is repeated when a reply does not come. So an
outage means "not known", never "no": the record may have been made, or the nonce spent, by the call that
failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Literal

from tokensvc.adapters.redis_client import Client, Cluster
from tokensvc.core.nonces import NonceId
from tokensvc.core.quotas import Quota, Remaining
from tokensvc.core.uses import ONCE, Uses
from tokensvc.core.watermarks import Origin, Watermark
from tokensvc.ports import Audit, Chance, Clock, Outcome, Receipt, Recording, RecordOutcome, Redemption, Standing

from . import scripts
from .answers import UNRECORDED, recording_of
from .arguments import NO_QUOTA, batch_texts, checked, lease_text, origin_texts, quota_arguments, time_text, uses_text
from .census import Census
from .keys import MAX_BUCKETS, bucket_of, epoch_key, nonce_key, nonce_keys, places_by_bucket, stand_in
from .questions import Observe, Questions
from .readiness import Readiness
from .retries import RETRY_SHARE
from .rollback import Count, Counts

_JUST_SPENT: Final = 3
"""Parts of an answer that has the count of what was spent."""


class RedisNonces:
    """`ports.NonceStore` over a client of `redis_client`. Raises ValueError for what is no id or no time.

    `on_fence` says what to do when the server is not the one that the epoch record was written for. "rotate"
    starts a new epoch at once: what is outstanding becomes stale. "wait" leaves it to whoever restarted the server
    to say that nothing was lost, and asks again until the second is over.

    With more than one bucket a subject is counted in one of them. Who chooses nonces so that they are beside it is
    counted in the step that records.
    """

    def __init__(
        self,
        client: Client,
        *,
        chance: Chance,
        connections: int | None = None,
        buckets: int = 1,
        on_fence: Literal["rotate", "wait"] = "rotate",
        retry_share: float = RETRY_SHARE,
        clock: Clock | None = None,
        audit: Audit | None = None,
        observe: Observe | None = None,
        sleep: Callable[[float], None] | None = None,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        """Prepare; nothing is sent. `sleep` and `monotonic` (both in seconds) are those of `time` unless given.

        `connections` is how many are asked of one server at once: all that the client has, unless given. `audit` is
        told of new epochs, when the breaker opens, and when the store went back in time. `retry_share` of the
        questions may be put again. With a `clock` it is not ready while the store's differs much.
        """
        if not 1 <= buckets <= MAX_BUCKETS:
            raise ValueError(f"There are from 1 to {MAX_BUCKETS} buckets.")
        self._audit = audit
        self._buckets = buckets
        self._counts = Counts()
        self._questions = Questions(
            client,
            chance=chance,
            connections=connections,
            on_fence=on_fence,
            retry_share=retry_share,
            audit=audit,
            observe=observe,
            sleep=sleep,
            monotonic=monotonic,
        )
        self._readiness = Readiness(self._questions, buckets, clock, audit)
        self._census = Census(self._questions, buckets, isinstance(client, Cluster))

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
        """Note the nonce as issued until the Unix time `until`, and count it, in one round trip.

        Time is the server's. A refused one counts nothing, and neither does one that EXISTS. One that is not beside
        its subject is counted in the subject's bucket first, by a record that stands for it and stays outstanding; it
        takes two round trips, and one that EXISTS has counted for the rate and the day.
        """
        counted = () if quota is None else quota_arguments(quota)
        noted = (checked(request), grant, time_text(until), uses_text(uses))
        if quota is None or not counted or self.beside(nonce, quota.subject_id):
            return self._put(nonce, *noted, *(counted or NO_QUOTA))
        substitute = stand_in(nonce, quota.subject_id)
        first = self._put(substitute, noted[0], "", noted[2], "", *counted)
        if not first.recorded:
            return first
        recording = self._put(nonce, *noted, *NO_QUOTA)
        if not recording.recorded:
            self.revoke(substitute, actor="")
        return replace(recording, limit=first.limit, remaining=first.remaining) if recording.recorded else recording

    def _put(self, nonce: NonceId, *arguments: str) -> Recording:
        return self._recording(*self._ask(scripts.RECORD, nonce, *arguments))

    def in_one_place(self) -> bool:
        """Whether there is one bucket."""
        return self._buckets == 1

    def beside(self, nonce: NonceId, subject_id: str) -> bool:
        """Whether the nonce is in the subject's bucket."""
        return self._buckets == 1 or bucket_of(nonce, self._buckets) == self._home(subject_id)

    def elsewhere(self, nonce: NonceId) -> Callable[[NonceId], bool] | None:
        """Says of another nonce whether another server has it, as far as is known; None if no other has any."""
        others = self._questions.apart_from(bucket_of(nonce, self._buckets), self._buckets)
        return (lambda other: bucket_of(other, self._buckets) in others) if others else None

    def _home(self, subject_id: str) -> int:
        return bucket_of(NonceId(subject_id), self._buckets)

    def _recording(self, word: str, *rest: str) -> Recording:
        if word in UNRECORDED:
            raise self._questions.outage(UNRECORDED[word])
        return recording_of(word, rest)

    def remaining(self, quota: Quota) -> Remaining:
        """How many more the subject may have now, by each limit. Nothing is counted."""
        counted = quota_arguments(quota)
        if not counted:
            return Remaining()
        bucket = self._home(quota.subject_id)
        _, *counts = self._questions.put(scripts.REMAINING, bucket, [epoch_key(bucket)], list(counted))
        return Remaining(*(None if int(count) < 0 else int(count) for count in counts))

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
        """Note all as issued and count them, or none of them, in one round trip.

        In several buckets, which they may be in without a quota and a receipt (else ValueError), it is one round trip
        and one decision a bucket. What came before a bucket that refuses stays on record, and is handed out to nobody.
        """
        recording = Recording(RecordOutcome.RECORDED)
        buckets = places_by_bucket(nonces, self._buckets)
        counted = () if quota is None else quota_arguments(quota)
        if (receipt is not None and len(buckets) > 1) or (
            quota is not None and counted and list(buckets) != [self._home(quota.subject_id)]
        ):
            raise ValueError("A batch with a quota or a receipt is in one bucket, its subject's.")
        kept = ("", "", "") if receipt is None else (receipt.name, receipt.text, time_text(receipt.until))
        for bucket, places in buckets.items():
            keys = [epoch_key(bucket), *nonce_keys([nonces[place] for place in places], bucket)]
            texts = batch_texts(grant, [untils[place] for place in places])
            arguments = [checked(request), *(counted or NO_QUOTA), uses_text(uses), *kept, *texts]
            word, *rest = self._questions.put(scripts.RECORD_BATCH, bucket, keys, arguments)
            if word == "exists":
                rest = [str(places[int(number)]) for number in rest]
            recording = self._recording(word, *rest)
            if not recording.recorded:
                break
        return recording

    def redeem(
        self,
        nonce: NonceId,
        *,
        request: str,
        cross_off_until: int | None = None,
        lease: int | None = None,
        origin: Origin | None = None,
    ) -> Redemption:
        """Spend the nonce. An unknown one with `cross_off_until` is noted as spent until then, and is a yes, once.

        Crossing off is a list of what was used: if the store is emptied, what was on it can be used once more.
        A `lease` is counted by the server's clock, to the millisecond; one of 0 s has ended at once.
        """
        until = "" if cross_off_until is None else time_text(cross_off_until)
        asked = (checked(request), until, lease_text(lease), *origin_texts(origin))
        bucket = bucket_of(nonce, self._buckets)
        before = self._counts.before(bucket)
        word, *rest = self._ask(scripts.REDEEM, nonce, *asked)
        if len(rest) == _JUST_SPENT and not self._counts.goes_on(bucket, before, told := Count(rest[1], int(rest[2]))):
            self._end_epoch(bucket, told)
            return Redemption(Outcome.STALE)
        match Outcome(word):
            case (Outcome.SPENT | Outcome.CLAIMED) as outcome:
                return Redemption(outcome, grant=rest[0])
            case Outcome.FINISHED:
                return Redemption(Outcome.FINISHED, result=rest[0], on_record=rest[1])
            case Outcome.HELD:
                return Redemption(Outcome.HELD, retry_after=int(rest[0]), on_record=rest[1])
            case refused:
                return Redemption(refused, on_record=rest[0] if rest else "")

    def commit(self, nonce: NonceId, *, request: str) -> Outcome:
        """Spend what `request` has claimed, if it still has it."""
        word, *_ = self._ask(scripts.COMMIT, nonce, checked(request))
        return Outcome(word)

    def release(self, nonce: NonceId, *, request: str) -> None:
        """Give back what `request` has claimed and not spent; if that is nothing, nothing happens."""
        self._ask(scripts.RELEASE, nonce, checked(request))

    def finish(self, nonce: NonceId, *, request: str, result: str) -> None:
        """Note the result of the redemption that `request` holds; the first stays.

        Without such a redemption (it expired, or is of an earlier epoch) there is nothing to note it on: no error.
        """
        self._ask(scripts.FINISH, nonce, checked(request), result)

    def revoke(self, nonce: NonceId, *, actor: str) -> Outcome:
        """Make an issued nonce unspendable, and answer what it is now; `actor` is kept, of the first to do so."""
        word, *_ = self._ask(scripts.REVOKE, nonce, actor)
        return Outcome(word)

    def revoke_before(self, mark: Watermark) -> None:
        """Refuse from now on what the mark concerns. With several buckets it is in all of them when this returns.

        After an outage it may be in some of them: ask again.
        """
        texts = [mark.scope, mark.source, mark.name, time_text(mark.issued_before), time_text(mark.until)]
        for bucket in range(self._buckets):
            self._questions.put(scripts.MARK, bucket, [epoch_key(bucket)], texts)

    def look(self, nonce: NonceId, *, cross_off: bool = False, origin: Origin | None = None) -> Standing:
        """What the nonce is now; nothing is changed. It may be something else by the time that the answer is read."""
        word, *rest = self._ask(scripts.LOOK, nonce, "1" if cross_off else "", *origin_texts(origin))
        return Standing(None, rest[0], int(rest[1])) if word == "issued" else Standing(Outcome(word))

    def outstanding(self) -> int:
        """How many nonces could be spent now; about, if the store has more keys than `census.MOST_LOOKED_AT`."""
        return self._census.outstanding()

    def ready(self) -> tuple[str, ...]:
        """Return the servers where record and redeem would not work now, as `host:port`; raise Outage if it is all."""
        return self._readiness.require()

    def _end_epoch(self, bucket: int, told: Count) -> None:
        """The server has fewer spent than it had told: it went back in time, and what it lost may be spent again."""
        if self._audit is not None:
            self._audit.note("rollback_found", {"epoch": told.epoch, "bucket": bucket, "spent": told.number})
        binding = self._questions.renew(bucket, told.epoch)
        if binding.written and self._audit is not None:
            self._audit.note("epoch_changed", {"epoch": binding.epoch})

    def _ask(self, script: scripts.Script, nonce: NonceId, *arguments: str) -> list[str]:
        bucket = bucket_of(nonce, self._buckets)
        keys = [nonce_key(nonce, bucket), epoch_key(bucket)]
        if script.takes_several:  # the key that a group has in common comes first
            keys.reverse()
        return self._questions.put(script, bucket, keys, list(arguments))
