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
    """`texts` are the JWTs by the places of their uploads, in order, and `nonces` their nonces, unhashed.

    All have the window, but for those moved back.

    The record says by its grant when they were really issued.
    """

    def __init__(self, pair: KeyPair, window: Window, fits: Fits | None) -> None:
        self._pair, self._window, self._fits = pair, window, fits
        self._mints = {0: v2.Mint(pair, window, fits)}
        self.texts: dict[int, str] = {}
        self.nonces: dict[int, bytes] = {}
        self._members: dict[int, str] = {}
        self._steps: dict[int, int] = {}

    def add(self, place: int, members: str) -> None:
        """Sign one; `members` as for `v2.Mint`. The places come in order."""
        self.texts[place], self.nonces[place] = self._mints[0].make(members)
        self._members[place] = members

    def untils(self) -> list[int]:
        """Of each the Unix time until which its record must be kept."""
        until, steps = self._window.record_until, self._steps
        return [until - steps.get(place, 0) for place in self.texts]

    def move(self, place: int) -> None:
        """Move one back by a second, or leave it out if that is too far."""
        step = self._steps.get(place, 0) + 1
        if step > min(MOST_STEPS_BACK, self._window.lifetime - 1):
            del self.texts[place], self.nonces[place]
            return
        self._steps[place] = step
        if step not in self._mints:
            self._mints[step] = v2.Mint(self._pair, self._window.earlier(step), self._fits)
        self.texts[place], self.nonces[place] = self._mints[step].make(self._members[place])

    def part(self) -> None:
        """Move them back until no two are the same; those for which there is no room are left out."""
        if len(set(self.nonces.values())) == len(self.nonces):
            return
        seen = set[bytes]()
        for place in list(self.nonces):
            while self.nonces.get(place) in seen:
                self.move(place)
            if place in self.nonces:
                seen.add(self.nonces[place])
