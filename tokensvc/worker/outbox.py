"""Answers of one turn of the loop leave together, at its end.

Who reads an answer is woken by it, in the call that sends it, and on a busy machine takes the processor at once. If
each of those who were recorded together sent its own in its own time, they would hold each other up.
"""

from __future__ import annotations

from typing import Any, Protocol


class Leaving(Protocol):
    """Whoever has an answer in the outbox."""

    def leave(self) -> None:
        """Send it, without waiting for anything and without raising."""


class Outbox:
    """A worker's. What was put in leaves in that order."""

    def __init__(self, loop: Any) -> None:  # noqa: ANN401 - gevent has no types
        self._loop = loop
        self._leaving: list[Leaving] = []

    def put(self, leaving: Leaving) -> None:
        """Let it leave when all who were woken in this turn have run."""
        if not self._leaving:
            self._loop.run_callback(self.empty)
        self._leaving.append(leaving)

    def empty(self) -> None:
        """Let all leave now."""
        together, self._leaving = self._leaving, []
        for leaving in together:
            leaving.leave()
