"""Stops asking a store that does not answer, so that those who wait for it are told at once.

Without it, a store that hangs would hold every request for a second each, one behind the other. After five outages in
a row, or ten among the last twenty questions, the breaker is open for a second; then one caller tries, and by its luck
the others are let through or refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from tokensvc.ports import Chance

OUTAGES_IN_A_ROW: Final = 5
LATELY: Final = 20
OUTAGES_LATELY: Final = 10
OPEN_SECONDS: Final = 1.0
JITTER_SECONDS: Final = 0.25


class Breaker:
    """Counts outages. `monotonic` is in seconds. Safe between threads: a lost count only delays it by one.

    With `chance` each open time is up to a quarter longer, so that many workers do not all try in the same moment.
    """

    def __init__(self, monotonic: Callable[[], float], chance: Chance | None = None) -> None:
        self._monotonic = monotonic
        self._chance = chance
        self._outages = 0
        self._answered: deque[bool] = deque(maxlen=LATELY)
        self._failure: object = None
        self._open = False
        self._next_try_at = 0.0

    def lets_through(self) -> bool:
        """Whether to ask the store now. Saying yes after an open second makes the caller the one who tries."""
        if not self._open:
            return True
        if self._monotonic() < self._next_try_at:
            return False
        self._wait()
        return True

    def answered(self) -> None:
        """The store answered."""
        if self._open:
            self._open = False
            self._answered.clear()
        self._outages = 0
        self._answered.append(True)

    def failed(self, failure: object = None) -> bool:
        """It did not. Answers whether that opened the breaker. Those that failed together, by one failure, are one."""
        if failure is not None and failure is self._failure:
            return False
        self._failure = failure
        self._outages += 1
        self._answered.append(False)
        if self._open or (self._outages < OUTAGES_IN_A_ROW and not self._half_fail()):
            return False
        self._open = True
        self._wait()
        return True

    def _half_fail(self) -> bool:
        return len(self._answered) == LATELY and self._answered.count(False) >= OUTAGES_LATELY

    def _wait(self) -> None:
        part = 0.0 if self._chance is None else self._chance(1)[0] / 0x100
        self._next_try_at = self._monotonic() + OPEN_SECONDS + part * JITTER_SECONDS
