"""The credentials of a v2 batch while they are signed and not on record: until then they must not leave.

Two equal payloads in one second would be one JWT, good for one upload. So one of them is moved back in time.
"""

from __future__ import annotations

from tokensvc.core import v2
from tokensvc.core.keys import KeyPair
from tokensvc.core.window import Window

from .issue import MOST_STEPS_BACK
from .tokens import Fits


class Drafts:
    """`texts` are the JWTs by the places of their uploads, in order. All have the window, but for those moved back.

    The record says by its grant when they were really issued.
    """

    def __init__(self, pair: KeyPair, window: Window, fits: Fits | None) -> None:
        self._pair, self._window, self._fits = pair, window, fits
        self.texts: dict[int, str] = {}
        self._members: dict[int, str] = {}
        self._steps: dict[int, int] = {}

    def add(self, place: int, members: str) -> None:
        """Sign one; `members` as for `v2.mint_members`. The places come in order."""
        self.texts[place] = v2.mint_members(self._pair, members, self._window, self._fits)
        self._members[place] = members

    def untils(self) -> list[int]:
        """Of each the Unix time until which its record must be kept."""
        until, steps = self._window.record_until, self._steps
        return [until - steps.get(place, 0) for place in self.texts]

    def move(self, place: int) -> None:
        """Move one back by a second, or leave it out if that is too far."""
        step = self._steps.get(place, 0) + 1
        if step > min(MOST_STEPS_BACK, self._window.lifetime - 1):
            del self.texts[place]
            return
        self._steps[place] = step
        self.texts[place] = v2.mint_members(self._pair, self._members[place], self._window.earlier(step), self._fits)

    def part(self) -> None:
        """Move them back until no two are the same; those for which there is no room are left out."""
        if len(set(self.texts.values())) == len(self.texts):
            return
        seen = set[str]()
        for place in list(self.texts):
            while self.texts.get(place) in seen:
                self.move(place)
            if place in self.texts:
                seen.add(self.texts[place])
