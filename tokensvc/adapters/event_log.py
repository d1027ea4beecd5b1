"""Audit to the log: one line an event, with how grave it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from .logs.lines import say, say_each

WARNINGS: Final = frozenset(
    {"replayed", "stale", "unissued", "unfinished", "keys_missed", "unthrottled", "breaker_opened", "epoch_changed"}
)
"""Nothing failed, and somebody should look if they are many: a replay is an attack, or a client that tries twice."""

ERRORS: Final = frozenset({"outage", "failed", "audit_missed"})


class EventLog:
    """Writes each event with the facts that are known."""

    def note(self, event: str, facts: Mapping[str, str | int | None]) -> None:
        """Write `event` and its facts."""
        say(_level(event), event, _known(facts))

    def note_each(self, event: str, facts: Mapping[str, str | int | None], nonces: Sequence[str]) -> None:
        """Write a line for each nonce."""
        say_each(_level(event), event, _known(facts), nonces)


def _level(event: str) -> str:
    return "error" if event in ERRORS else "warning" if event in WARNINGS else "info"


def _known(facts: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {name: fact for name, fact in facts.items() if fact is not None}
