"""How many of the questions to a store may be put again: a tenth, and a few that were saved up.

Without a bound an outage would triple the load on a store that is only slow, and so make it last.
"""

from __future__ import annotations

from typing import Final

RETRY_SHARE: Final = 0.1
MOST_SAVED: Final = 10.0
"""Tries that a worker with little traffic has in hand: as many as it takes until the breaker opens."""


class RetryBudget:
    """What one worker may try again at one server. Safe between threads: a lost count is one try more or less."""

    def __init__(self, share: float = RETRY_SHARE) -> None:
        """`share` of the questions may be put again: 1.0 is each of them, once."""
        self._share = share
        self._left = MOST_SAVED
        self._failure: object = None

    def asked(self) -> None:
        """A question was put for the first time."""
        self._left = min(MOST_SAVED, self._left + self._share)

    def take(self, failure: object) -> bool:
        """Whether one may be put again; if so, that one is used up. Those that failed together count as one."""
        if failure is not self._failure:
            if self._left < 1:
                return False
            self._left -= 1
            self._failure = failure
        return True
