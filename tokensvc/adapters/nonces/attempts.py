"""How often and how long the store is asked before the answer is an outage: a second in all, whatever
happens.

Only what has the same request id in every attempt may be passed in here. A lost reply is no reason to refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from redis import exceptions as redis_errors
from redis.sentinel import MasterNotFoundError

from tokensvc.core.errors import Outage, Unanswered
from tokensvc.ports import Chance

BUDGET_SECONDS: Final = 1.0
ONE_ATTEMPT_SECONDS: Final = 0.25
"""A time-out's length: no attempt starts later than this before the end of the budget."""

MOST_ATTEMPTS: Final = 3
SHORTEST_PAUSE_SECONDS: Final = 0.02
LONGEST_PAUSE_SECONDS: Final = 0.2
LONGEST_RETRY_AFTER_SECONDS: Final = 5

Answer = TypeVar("Answer")


class Fenced(Exception):  # noqa: N818 - an answer of the store, not an error of ours
    """The epoch record is not bound to the server that was asked."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What an error comes to: whether to ask again, and the sentence if that is of no use."""

    again: bool
    detail: str


# The first match counts: redis-py makes a wrong password a kind of connection error.
_VERDICTS: Final[tuple[tuple[type[Exception], _Verdict], ...]] = (
    (redis_errors.AuthenticationError, _Verdict(False, "The nonce store does not accept our user and password.")),
    (redis_errors.AuthorizationError, _Verdict(False, "The nonce store does not let our user in.")),
    (redis_errors.NoPermissionError, _Verdict(False, "The nonce store does not let our user do what it has to.")),
    (redis_errors.OutOfMemoryError, _Verdict(False, "The nonce store is full.")),
    (Fenced, _Verdict(True, "The nonce store was restarted or replaced, and is not in use again yet.")),
    (redis_errors.BusyLoadingError, _Verdict(True, "The nonce store is still loading its file.")),
    (redis_errors.ReadOnlyError, _Verdict(True, "The nonce store that answers is a replica.")),
    (redis_errors.MasterDownError, _Verdict(True, "The nonce store has lost its primary.")),
    (redis_errors.ClusterDownError, _Verdict(True, "The nonce store's cluster is down, or this part of it.")),
    (redis_errors.TryAgainError, _Verdict(True, "The nonce store's cluster is moving records.")),
    (redis_errors.AskError, _Verdict(True, "The nonce store's cluster does not agree who has what.")),
    (redis_errors.TimeoutError, _Verdict(True, "The nonce store did not answer in time.")),
    (MasterNotFoundError, _Verdict(True, "The sentinels of the nonce store know no primary, or do not answer.")),
    (redis_errors.ConnectionError, _Verdict(True, "The nonce store cannot be reached.")),
)
_ANY_OTHER: Final = _Verdict(False, "The nonce store answered with an error.")
_PASSES_SOON: Final = (Fenced, redis_errors.BusyLoadingError, redis_errors.ConnectionError)
"""What a store that is being restarted answers. redis-py's TimeoutError is no ConnectionError."""


def failure_of(error: BaseException | None) -> object:
    """What is the same for all that failed together."""
    return error and (error.__cause__ or error)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Asks until there is an answer, or raises Outage. `patient`: a restart of the store is waited for."""

    chance: Chance
    patient: bool
    sleep: Callable[[float], None]
    monotonic: Callable[[], float]

    def make(self, ask: Callable[[], Answer], may_try_again: Callable[[object], bool] = lambda _: True) -> Answer:
        """Return what `ask` returns; it may be called several times, and has to mean the same each time.

        `may_try_again` is asked about the failure before each time but the first. Not of a patient store that is being
        restarted: that is on this machine, nobody else asks it, and it takes no load from who finds it gone.
        """
        last_start = self.monotonic() + BUDGET_SECONDS - ONE_ATTEMPT_SECONDS
        left = MOST_ATTEMPTS
        while True:
            try:
                return ask()
            except (redis_errors.RedisError, Fenced) as exc:
                verdict = next((verdict for kind, verdict in _VERDICTS if isinstance(exc, kind)), _ANY_OTHER)
                waits = self.patient and isinstance(exc, _PASSES_SOON)
                if not waits:
                    left -= 1
                pause = min(self._pause(), last_start - self.monotonic())
                if not verdict.again:
                    raise self.outage(verdict.detail) from exc
                if left == 0 or pause <= 0 or not (waits or may_try_again(failure_of(exc))):
                    raise self.outage(verdict.detail, Unanswered) from exc
            self.sleep(pause)

    def outage(self, detail: str, kind: type[Outage] = Outage) -> Outage:
        """An outage that asks each caller to come back at another moment."""
        return kind(detail, retry_after=1 + self.chance(1)[0] % LONGEST_RETRY_AFTER_SECONDS)

    def _pause(self) -> float:
        part = int.from_bytes(self.chance(2)) / 0x10000
        return SHORTEST_PAUSE_SECONDS + part * (LONGEST_PAUSE_SECONDS - SHORTEST_PAUSE_SECONDS)
