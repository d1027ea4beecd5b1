"""Who runs when: many tests at once, or one alone. It holds between processes, and nobody waits for ever.

A test of what a service does in time has no use for a neighbour that takes its processor.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


class Turns:
    """Turns of all processes that name the same folder, which is made."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder

    @contextlib.contextmanager
    def take(self, *, alone: bool) -> Iterator[None]:
        """Wait for a turn, and have it while the block lasts."""
        with contextlib.ExitStack() as stack:
            with self._held("door", fcntl.LOCK_EX):  # who waits to be alone keeps the next ones out meanwhile
                stack.enter_context(self._held("room", fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
            yield

    @contextlib.contextmanager
    def _held(self, name: str, kind: int) -> Iterator[None]:
        with (self._folder / name).open("wb") as file:
            fcntl.flock(file, kind)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)  # a child that was forked meanwhile may have it open still
