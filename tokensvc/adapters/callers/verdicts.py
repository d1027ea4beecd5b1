"""Evidence that was found genuine a moment ago, so that who asks often is not verified each time anew.

A verdict is about the signature alone. Whoever keeps one still has to look at all that can change meanwhile: the times,
and whether the key is one that is held now. So nothing is good for longer than it would be without.
"""

from __future__ import annotations

import hashlib
from typing import Final, Generic, TypeVar

REMEMBERED_SECONDS: Final = 10
MOST_REMEMBERED: Final = 1024

Verdict = TypeVar("Verdict")


class Verdicts(Generic[Verdict]):
    """What was found in texts that are genuine, by the SHA-256 of each: the texts are not kept. `now` is Unix seconds.

    What is not genuine is not remembered, so strangers cannot fill it.
    """

    def __init__(self) -> None:
        self._kept: dict[bytes, tuple[int, Verdict]] = {}

    def find(self, text: str, now: int) -> Verdict | None:
        """What was kept of exactly this text in the last ten seconds."""
        found = self._kept.get(_digest(text))
        return found[1] if found is not None and 0 <= now - found[0] < REMEMBERED_SECONDS else None

    def keep(self, text: str, verdict: Verdict, now: int) -> None:
        """Remember it. If there are too many, all others are forgotten: they are verified again, no more."""
        if len(self._kept) >= MOST_REMEMBERED:
            self._kept = {}
        self._kept[_digest(text)] = now, verdict


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
