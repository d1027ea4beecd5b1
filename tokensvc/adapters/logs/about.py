"""The request that is being answered, and what is known of it so far, for every line that is written meanwhile.

A greenlet or thread has its own, so it need not be handed through the rules. In a thread of a pool there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from time import monotonic
from typing import Final

from tokensvc.core.trail import Trail

_NOW: Final[ContextVar[tuple[Trail, float, dict[str, str | float]] | None]] = ContextVar(
    "tokensvc_request", default=None
)


def begin(trail: Trail) -> None:
    """A request is here; the one before it in this greenlet is over."""
    facts: dict[str, str | float] = {"request": trail.request, "trace": trail.trace}
    if trail.parent:
        facts["parent"] = trail.parent
    facts["ms"] = 0.0  # it has its place
    _NOW.set((trail, monotonic(), facts))


def concern(**facts: str | None) -> None:
    """This is known by now of whom and what the request is about, and goes along with each line that follows."""
    now = _NOW.get()
    if now is not None:
        for name, fact in facts.items():
            if fact is not None:
                now[2][name] = fact


def current_trail() -> Trail | None:
    """The names of the request that is being answered."""
    now = _NOW.get()
    return None if now is None else now[0]


def request_facts() -> Mapping[str, str | float]:
    """Its names, how many milliseconds ago it came, and what is known of it; not to be kept, for it changes."""
    now = _NOW.get()
    if now is None:
        return {}
    _, began, facts = now
    facts["ms"] = round((monotonic() - began) * 1000, 1)
    return facts
