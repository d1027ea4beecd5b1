"""The one typed caller of the scripts.

Every call is safe to repeat with the same request id, and is repeated when a reply does not come. So an
outage means "not known", never "no": the record may have been made, or the nonce spent, by the call that
failed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, Literal

from tokensvc.adapters.redis_client import Client
from tokensvc.core.errors import Outage
from tokensvc.core.nonces import NonceId
from tokensvc.core.quotas import LimitName, Quota, Remaining
from tokensvc.ports import Audit, Chance, Entry, Outcome, Recording, RecordOutcome, Redemption, Standing

from . import fence, scripts
from .attempts import Attempts, Fenced, Unanswered
from .keys import MAX_BUCKETS, bucket_of, epoch_key, nonce_key
from .lanes import Lane, Lanes

_REQUEST: Final = re.compile(r"[A-Za-z0-9_-]{22}")
TURN_SECONDS: Final = 10.0
"""The longest queue that a burst may make. A store that is silent empties it at once, by the breaker."""

Observe = Callable[[str, float, bool], None]
"""Told of each question: the script's name, the seconds it took with all its tries, and whether it was answered."""

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
        audit: Audit | None = None,
        observe: Observe | None = None,
        sleep: Callable[[float], None] | None = None,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        """Prepare; nothing is sent. `sleep` and `monotonic` (both in seconds) are those of `time` unless given.

        `connections` is how many are asked of one server at once: all that the client has, unless given. `audit` is
        told of new epochs, and when the breaker opens.
        """
        if not 1 <= buckets <= MAX_BUCKETS:
            raise ValueError(f"There are from 1 to {MAX_BUCKETS} buckets.")
        self._client = client
        self._audit, self._observe = audit, observe
        self._monotonic = monotonic or time.monotonic
        self._lanes = Lanes(client, connections, self._monotonic)
        self._chance = chance
        self._buckets = buckets
        self._rotates = on_fence == "rotate"
        # Looked up here and not as defaults: gevent replaces them, after this module was imported.
        self._attempts = Attempts(
            chance, patient=on_fence == "wait", sleep=sleep or time.sleep, monotonic=self._monotonic
        )

    def record(self, nonce: NonceId, *, grant: str, until: int, request: str, quota: Quota | None = None) -> Recording:
        """Note the nonce as issued until the Unix time `until`, and count it, in one round trip.

        Time is the server's. A refused one counts nothing, and neither does one that EXISTS.
        """
        counted = () if quota is None else _arguments(quota)
        word, *rest = self._ask(scripts.RECORD, nonce, _checked(request), grant, _time(until), *counted)
        return self._recording(word, rest)

    def _recording(self, word: str, rest: list[str]) -> Recording:
        if word in {"stale", "late"}:
            raise self._attempts.outage(_UNRECORDED[word])
        if word in _LIMITS:
            limit, outcome = _LIMITS[word]
            return Recording(outcome, limit, int(rest[0]))
        return Recording(RecordOutcome(word), remaining=int(rest[0]) if rest else None)

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
        _, *counts = self._ask_bucket(scripts.REMAINING, bucket, [epoch_key(bucket)], list(counted))
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
            word, *rest = self._ask_bucket(scripts.RECORD_BATCH, bucket, keys, [_checked(request), *counted, *texts])
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
        word, *rest = self._ask(scripts.REDEEM, nonce, _checked(request), until)
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

    def ready(self) -> None:
        """Return when record and redeem would work now in every bucket; otherwise raise Outage with the reason."""
        for bucket in range(self._buckets):
            word, *_ = self._ask_bucket(scripts.READY, bucket, [epoch_key(bucket)], [])
            if word == "evicting":
                raise self._attempts.outage(_EVICTING)

    def _ask(self, script: scripts.Script, nonce: NonceId, *arguments: str) -> list[str]:
        bucket = bucket_of(nonce, self._buckets)
        return self._ask_bucket(script, bucket, [nonce_key(nonce, bucket), epoch_key(bucket)], list(arguments))

    def _ask_bucket(self, script: scripts.Script, bucket: int, keys: list[str], arguments: list[str]) -> list[str]:
        lane = self._lanes.to_owner_of(keys[0])
        # No more at once than there are connections: who waits here for a turn has no time-out running yet.
        if not (lane.turns.acquire(timeout=TURN_SECONDS) or lane.turns.acquire(blocking=False)):
            raise self._attempts.outage(_CROWDED)
        try:
            if not lane.breaker.lets_through():
                raise self._attempts.outage(_SILENT)
            return self._ask_in_turn(lane, script.name, self._question(script, bucket, keys, arguments))
        finally:
            lane.turns.release()

    def _ask_in_turn(self, lane: Lane, name: str, ask: Callable[[], list[str]]) -> list[str]:
        started, answered = self._monotonic(), True
        try:
            answer = self._attempts.make(ask)
        except Unanswered:
            answered = False
            if lane.breaker.failed() and self._audit is not None:
                self._audit.note("breaker_opened", {})
            raise
        except Outage:  # it answered, if only that it is full: others may well be served
            lane.breaker.answered()
            raise
        finally:
            if self._observe is not None:
                self._observe(name, self._monotonic() - started, answered)
        lane.breaker.answered()
        return answer

    def _question(
        self, script: scripts.Script, bucket: int, keys: list[str], arguments: list[str]
    ) -> Callable[[], list[str]]:
        def ask() -> list[str]:
            answer = script.run(self._client, keys, arguments)
            if answer == ["fenced"] and self._rotates:
                binding = fence.rotate(self._client, bucket, fence.choose_epoch(self._chance))
                if binding.written and self._audit is not None:
                    self._audit.note("epoch_changed", {"epoch": binding.epoch})
                answer = script.run(self._client, keys, arguments)
            if answer == ["fenced"]:
                raise Fenced
            if answer == ["hidden"]:
                raise Outage(fence.HIDDEN)
            return answer

        return ask


_LIMITS: Final[dict[str, tuple[LimitName, RecordOutcome]]] = {
    "rate": ("rate", RecordOutcome.RATE_LIMITED),
    "per_day": ("per_day", RecordOutcome.QUOTA_EXCEEDED),
    "outstanding": ("outstanding", RecordOutcome.QUOTA_EXCEEDED),
}
_UNRECORDED: Final = {
    "stale": "The nonce store was restarted or replaced while the credential was being recorded.",
    "late": "The nonce store's clock is past the time until which the record must be kept: compare the clocks.",
}
_SILENT: Final = "The nonce store has not answered for a while."
_CROWDED: Final = "More requests wait for the nonce store than it answers."
_EVICTING: Final = "The nonce store may evict records: its maxmemory-policy has to be noeviction."


def _checked(request: str) -> str:
    if not _REQUEST.fullmatch(request):
        raise ValueError("A request id is 22 URL-safe characters.")
    return request


@lru_cache(maxsize=2048)
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
