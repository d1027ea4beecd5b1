"""How a run goes about it, what comes of each file, and who is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from .plan import Item


class Outcome(StrEnum):
    """What came of a file. FOUND was stored by a try whose answer was lost; UNSENT was not tried, or not to the end."""

    STORED = "stored"
    FOUND = "found"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    UNSENT = "unsent"


@dataclass(frozen=True, slots=True)
class Result:
    """Of one file. `answer` is the endpoint's JSON if it was stored; `why` says what is wrong if it was not."""

    item: Item
    outcome: Outcome
    tries: int = 0
    why: str = ""
    answer: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manner:
    """How to go about it. Pauses are seconds; the fields come with every file."""

    fields: Mapping[str, str]
    jobs: int = 4
    tries: int = 6
    first_pause: float = 0.25
    longest_pause: float = 20.0


class Watcher(Protocol):
    """Is told what happens, from several threads."""

    def began(self, item: Item) -> None:
        """A file is about to be sent, for the first time or again."""

    def moved(self, item: Item, sent: int) -> None:
        """So many of its bytes have been sent by this try."""

    def waits(self, item: Item, why: str, seconds: float) -> None:
        """It will be tried again."""

    def ended(self, result: Result) -> None:
        """Nothing more is done about a file."""
