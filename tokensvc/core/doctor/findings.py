"""A finding: how bad, where, what, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """FATAL stops the service; OUTAGE may pass by itself, so it does not; UNKNOWN could not be looked at."""

    FATAL = "fatal"
    OUTAGE = "outage"
    WARNING = "warning"
    UNKNOWN = "unknown"
    FINE = "fine"


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` and `remedy` are sentences without their first word's capital, as those of a configuration's faults."""

    level: Level
    place: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.what}" + (f" -> {self.remedy}" if self.remedy else "")
