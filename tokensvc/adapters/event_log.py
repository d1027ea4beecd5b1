"""Audit to the log: one line of JSON an event."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TextIO

_LOG = logging.getLogger("tokensvc")


def write_to(stream: TextIO) -> None:
    """Send the service's events to a stream, unless somebody has configured its logger already."""
    if not _LOG.handlers:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(message)s"))
        _LOG.addHandler(handler)
        _LOG.setLevel(logging.INFO)
        _LOG.propagate = False


class EventLog:
    """Writes each event with its facts."""

    def note(self, event: str, facts: Mapping[str, str | int | None]) -> None:
        """Write `event` and the facts that are known."""
        known = {name: fact for name, fact in facts.items() if fact is not None}
        _LOG.info("%s", json.dumps({"event": event, **known}))
