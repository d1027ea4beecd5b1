"""Stops asking a store that does not answer, so that those who wait for it are told at once.

Without it, a store that hangs would hold every request for a second each, one behind the other. After five outages in
a row the breaker is open for a second; then one caller tries, and by its luck the others are let through or refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

OUTAGES_IN_A_ROW: Final = 5
OPEN_SECONDS: Final = 1.0


class Breaker:
    """Counts outages in a row. `monotonic` is in seconds. Safe between threads: a lost count only delays it by one."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._outages = 0
        self._next_try_at = 0.0

    def lets_through(self) -> bool:
        """Whether to ask the store now. Saying yes after an open second makes the caller the one who tries."""
        if self._outages < OUTAGES_IN_A_ROW:
            return True
        now = self._monotonic()
        if now < self._next_try_at:
            return False
        self._next_try_at = now + OPEN_SECONDS
        return True

    def answered(self) -> None:
        """The store answered."""
        self._outages = 0

    def failed(self) -> bool:
        """It did not. Answers whether that opened the breaker."""
        self._outages += 1
        if self._outages == OUTAGES_IN_A_ROW:
            self._next_try_at = self._monotonic() + OPEN_SECONDS
            return True
        return False
