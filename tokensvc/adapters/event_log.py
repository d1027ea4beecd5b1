"""Audit to the log: one line of JSON an event."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

_LOG = logging.getLogger("tokensvc")


class EventLog:
    """Writes each event with its facts."""

    def note(self, event: str, facts: Mapping[str, str | int | None]) -> None:
        """Write `event` and the facts that are known."""
        known = {name: fact for name, fact in facts.items() if fact is not None}
        _LOG.info("%s", json.dumps({"event": event, **known}))
