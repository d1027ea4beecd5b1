"""By what one request is found again: our own name for it, and the trace that it belongs to (W3C Trace Context).

A client chooses the trace. So it never replaces our own name, and what is not exactly a trace is a new one's beginning.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_TRACEPARENT: Final = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_REQUEST_BYTES: Final = 12
_TRACE_BYTES: Final = 16
_MOST_LETTERS: Final = 512


@dataclass(frozen=True, slots=True)
class Trail:
    """`request` is 24 hex digits, `trace` 32. `parent` is the caller's span, 16; empty if the trace begins here."""

    request: str
    trace: str
    parent: str = ""
    sampled: bool = False


def trail_of(traceparent: str, chance: Callable[[int], bytes]) -> Trail:
    """Name a request that came with this header, empty if with none. A malformed one is as none (section 2.2 there)."""
    fresh = chance(_REQUEST_BYTES + _TRACE_BYTES).hex()
    request, trace = fresh[: 2 * _REQUEST_BYTES], fresh[2 * _REQUEST_BYTES :]
    if not traceparent:
        return Trail(request, trace)
    found = _TRACEPARENT.fullmatch(traceparent) if len(traceparent) <= _MOST_LETTERS else None
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["more"]):
        return Trail(request, trace)
    if not found["trace"].strip("0") or not found["parent"].strip("0"):
        return Trail(request, trace)
    return Trail(request, found["trace"], found["parent"], bool(int(found["flags"], 16) & 1))
