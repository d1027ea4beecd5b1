"""The one typed caller of the scripts.

Every call is safe to repeat with the same request id, and is repeated when a reply does not come. So an
outage means "not known", never "no": the record may have been made, or the nonce spent, by the call that
failed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, Literal

from tokensvc.adapters.redis_client import Client
from tokensvc.core.nonces import NonceId
from tokensvc.core.quotas import LimitName, Quota, Remaining
from tokensvc.ports import Audit, Chance, Clock, Entry, Outcome, Recording, RecordOutcome, Redemption, Standing

from . import scripts
from .keys import MAX_BUCKETS, bucket_of, epoch_key, nonce_key
from .questions import Observe, Questions
from .readiness import Readiness
from .retries import RETRY_SHARE
from .rollback import Count, Counts

_REQUEST: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_END_OF_TIME: Final = 10**10
"""Unix seconds of eleven digits: later than any window, and a longer number would be an error of the store."""


class RedisNonces:
    """`ports.NonceStore` over a client of `redis_client`. Raises ValueError for what is no id or no time.

    `on_fence` says what to do when the server is not the one that the epoch record was written for. "rotate"
    starts a new epoch at once: what is outstanding becomes stale. "wait" leaves it to whoever restarted the server
    to say that nothing was lost, and asks again until the second is over.

    With more than one bucket a subject is counted in each bucket by itself, so it may have up to that many times its
    quota. There is one bucket until that is solved.
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

    def record(self, nonce: NonceId, *, grant: str, until: int, request: str, quota: Quota | None = None) -> Recording:
        """Note the nonce as issued until the Unix time `until`, and count it, in one round trip.

        Time is the server's. A refused one counts nothing, and neither does one that EXISTS.
        """
        counted = () if quota is None else _arguments(quota)
        word, *rest = self._ask(scripts.RECORD, nonce, _checked(request), grant, _time(until), *counted)
        return self._recording(word, rest)

    def _recording(self, word: str, rest: list[str]) -> Recording:
        if word in {"stale", "late"}:
            raise self._questions.outage(_UNRECORDED[word])
        if word in _LIMITS:
            limit, outcome = _LIMITS[word]
            return Recording(outcome, limit, int(rest[0]))
        if not rest:
            return Recording(RecordOutcome(word))
        nearest, _ = _LIMITS[rest[1]]
        return Recording(RecordOutcome(word), nearest, remaining=int(rest[0]))

    def remaining(self, quota: Quota) -> Remaining:
        """How many more the subject may have now, by each limit. Nothing is counted.

        With more than one bucket it is what any nonce may rely on: the least that a bucket has left.
        """
        counted = _arguments(quota)
        if not counted:
            return Remaining()
        counts = [self._remaining_in(bucket, counted) for bucket in range(self._buckets)]
        rate, per_day, outstanding = (min(each) for each in zip(*counts, strict=True))
        return Remaining(*(None if count < 0 else count for count in (rate, per_day, outstanding)))

    def _remaining_in(self, bucket: int, counted: tuple[str, ...]) -> tuple[int, ...]:
        _, *counts = self._questions.put(scripts.REMAINING, bucket, [epoch_key(bucket)], list(counted))
        return tuple(int(count) for count in counts)

    def record_batch(self, entries: Sequence[Entry], *, request: str, quota: Quota | None = None) -> Recording:
        """Note all as issued and count them, or none of them, in one round trip.

        With more than one bucket it is one round trip and one decision a bucket. What came before a bucket that
        refuses stays on record, and is handed out to nobody.
        """
        recording = Recording(RecordOutcome.RECORDED)
        for bucket in sorted({bucket_of(entry.nonce, self._buckets) for entry in entries}):
            places = [place for place, entry in enumerate(entries) if bucket_of(entry.nonce, self._buckets) == bucket]
            keys = [epoch_key(bucket), *(nonce_key(entries[place].nonce, bucket) for place in places)]
            counted = (() if quota is None else _arguments(quota)) or ("",) * 5
            texts = [text for place in places for text in (entries[place].grant, _time(entries[place].until))]
            word, *rest = self._questions.put(scripts.RECORD_BATCH, bucket, keys, [_checked(request), *counted, *texts])
            if word == "exists":
                return Recording(RecordOutcome.EXISTS, known=tuple(places[int(number)] for number in rest))
            recording = self._recording(word, rest)
            if not recording.recorded:
                break
        return recording

    def redeem(self, nonce: NonceId, *, request: str, cross_off_until: int | None = None) -> Redemption:
        """Spend the nonce. An unknown one with `cross_off_until` is noted as spent until then, and is a yes, once.

        Crossing off is a list of what was used: if the store is emptied, what was on it can be used once more.
        """
        until = "" if cross_off_until is None else _time(cross_off_until)
        bucket = bucket_of(nonce, self._buckets)
        before = self._counts.before(bucket)
        word, *rest = self._ask(scripts.REDEEM, nonce, _checked(request), until)
        if len(rest) > 1 and not self._counts.goes_on(bucket, before, told := Count(rest[1], int(rest[2]))):
            self._end_epoch(bucket, told)
            return Redemption(Outcome.STALE)
        match Outcome(word):
            case Outcome.SPENT:
                return Redemption(Outcome.SPENT, grant=rest[0])
            case Outcome.FINISHED:
                return Redemption(Outcome.FINISHED, result=rest[0])
            case refused:
                return Redemption(refused)

    def finish(self, nonce: NonceId, *, request: str, result: str) -> None:
        """Note the result of the redemption that `request` holds; the first stays.

        Without such a redemption (it expired, or is of an earlier epoch) there is nothing to note it on: no error.
        """
        self._ask(scripts.FINISH, nonce, _checked(request), result)

    def revoke(self, nonce: NonceId, *, actor: str) -> Outcome:
        """Make an issued nonce unspendable, and answer what it is now; `actor` is kept, of the first to do so."""
        word, *_ = self._ask(scripts.REVOKE, nonce, actor)
        return Outcome(word)

    def look(self, nonce: NonceId) -> Standing:
        """What the nonce is now; nothing is changed. It may be something else by the time that the answer is read."""
        word, *rest = self._ask(scripts.LOOK, nonce)
        return Standing(None, rest[0]) if word == "issued" else Standing(Outcome(word))

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
        return self._questions.put(script, bucket, [nonce_key(nonce, bucket), epoch_key(bucket)], list(arguments))


_LIMITS: Final[dict[str, tuple[LimitName, RecordOutcome]]] = {
    "rate": ("rate", RecordOutcome.RATE_LIMITED),
    "per_day": ("per_day", RecordOutcome.QUOTA_EXCEEDED),
    "outstanding": ("outstanding", RecordOutcome.QUOTA_EXCEEDED),
}
_UNRECORDED: Final = {
    "stale": "The nonce store was restarted or replaced while the credential was being recorded.",
    "late": "The nonce store's clock is past the time until which the record must be kept: compare the clocks.",
}


def _checked(request: str) -> str:
    if not _REQUEST.fullmatch(request):
        raise ValueError("A request id is 22 URL-safe characters.")
    return request


def _arguments(quota: Quota) -> tuple[str, ...]:
    """The subject and its limits as record.lua and remaining.lua take them; nothing if there is no limit."""
    rate = (quota.rate.count, quota.rate.seconds) if quota.rate is not None else (None, None)
    limits = (*rate, quota.per_day, quota.outstanding)
    if all(limit is None for limit in limits):
        return ()
    return (quota.subject_id, *("" if limit is None else str(limit) for limit in limits))


def _time(until: int) -> str:
    if not 0 < until < _END_OF_TIME:
        raise ValueError("A record is kept until a Unix time of at most ten digits.")
    return str(until)
