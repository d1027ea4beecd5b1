"""Finds a store that went back in time without changing its name, by the number of what was spent in each bucket.

The fence tells another server, and one that was started anew. It cannot tell a machine that was put back to a
snapshot while it ran, or a file that lost its end: there the server is the same and the count is lower. A worker that
saw the higher one knows. One that was started since does not: this is a second line and no proof.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Count:
    """How many were spent in an epoch. Counts of two epochs say nothing of each other."""

    epoch: str
    number: int


class Counts:
    """The highest count of each bucket that was told to this worker. Safe between threads."""

    def __init__(self) -> None:
        self._highest: dict[int, Count] = {}
        self._lock = threading.Lock()

    def before(self, bucket: int) -> Count | None:
        """What is known now. Ask this before the store is asked: answers overtake each other."""
        return self._highest.get(bucket)

    def goes_on(self, bucket: int, before: Count | None, told: Count) -> bool:
        """Whether what the store tells follows what was known before it was asked; if so, it is remembered."""
        if before is not None and before.epoch == told.epoch and told.number <= before.number:
            return False
        with self._lock:
            highest = self._highest.get(bucket)
            if highest is None or highest.epoch != told.epoch or highest.number < told.number:
                self._highest[bucket] = told
        return True
