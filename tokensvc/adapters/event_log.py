"""Audit to the log: one line an event, with how grave it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from .logs.lines import LOG

WARNINGS: Final = frozenset(
    {"replayed", "stale", "unissued", "unfinished", "keys_missed", "unthrottled", "breaker_opened", "epoch_changed"}
)
"""Nothing failed, and somebody should look if they are many: a replay is an attack, or a client that tries twice."""

ERRORS: Final = frozenset({"outage", "failed", "audit_missed"})


class EventLog:
    """Writes each event with the facts that are known."""

    def note(self, event: str, facts: Mapping[str, str | int | None]) -> None:
        """Write `event` and its facts."""
        _to_say(event)(event, **_known(facts))

    def note_each(self, event: str, facts: Mapping[str, str | int | None], nonces: Sequence[str]) -> None:
        """Write a line for each nonce."""
        _to_say(event)(event, **_known(facts), nonces=nonces)


def _to_say(event: str) -> Callable[..., object]:
    return LOG.error if event in ERRORS else LOG.warning if event in WARNINGS else LOG.info


def _known(facts: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {name: fact for name, fact in facts.items() if fact is not None}
