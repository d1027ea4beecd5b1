"""Who may do what is not for clients: redeem for an uploader of one's own, and operate.

Only api keys carry such rights. Every source of them is asked, because here no profile says which one counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokensvc.core.callers import Caller, Presented, Right
from tokensvc.core.errors import Code, Refusal
from tokensvc.ports import CallerSource, Concern, Throttle

from .concern import unheard


@dataclass(frozen=True, slots=True)
class Rights:
    """The api key sources. Without a `throttle` nobody who guesses is slowed down."""

    sources: tuple[CallerSource, ...]
    throttle: Throttle | None = None
    concern: Concern = unheard

    def require(self, presented: Presented, *rights: Right) -> Caller:
        """Return who asks, or raise a refusal if that is not known or has none of these rights."""
        if self.throttle is not None:
            self.throttle.check(presented.address)
        try:
            caller = self._identify(presented)
        except Refusal as refusal:
            if self.throttle is not None and refusal.code == Code.CALLER_INVALID:
                self.throttle.failed(presented.address)
            raise
        self.concern(by=caller.subject)
        if caller.may.isdisjoint(rights):
            raise Refusal(
                Code.CALLER_FORBIDDEN, f"This caller may not {rights[0]}.", f'Add "{rights[0]}" to its may list.'
            )
        return caller

    def _identify(self, presented: Presented) -> Caller:
        refused: Refusal | None = None
        for source in self.sources:
            try:
                caller = source.identify(presented)
            except Refusal as refusal:  # another source may know the key
                refused = refusal
                continue
            if caller is not None:
                return caller
        raise refused or Refusal(
            Code.CALLER_MISSING,
            "The request does not say who is asking.",
            "Send an api key as Authorization: Bearer tsk_…",
        )
