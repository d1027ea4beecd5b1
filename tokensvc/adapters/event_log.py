"""Audit to the log: one line an event, with how grave it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from .logs.lines import tell

WARNINGS: Final = frozenset(
    {"replayed", "stale", "unissued", "unfinished", "keys_missed", "unthrottled", "breaker_opened", "epoch_changed"}
)
"""Nothing failed, and somebody should look if they are many: a replay is an attack, or a client that tries twice."""

ERRORS: Final = frozenset({"outage", "failed", "audit_missed"})

_LEVELS: Final = dict.fromkeys(WARNINGS, "warning") | dict.fromkeys(ERRORS, "error")


class EventLog:
    """Writes each event with the facts that are known."""

    def note(self, event: str, facts: Mapping[str, str | int | None]) -> None:
        """Write `event` and its facts."""
        tell(_LEVELS.get(event, "info"), event, facts)

    def note_each(self, event: str, facts: Mapping[str, str | int | None], nonces: Sequence[str]) -> None:
        """Write a line for each nonce."""
        tell(_LEVELS.get(event, "info"), event, {**facts, "nonces": nonces})
