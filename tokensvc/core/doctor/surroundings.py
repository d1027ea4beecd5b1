"""What is before and behind the service: nginx with limits of its own, and ImageKit with a clock of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .findings import Finding, Level
from .store import findings_of_skew

DEFAULT_NGINX_BYTES: Final = 1024 * 1024
"""nginx's own limit where its file says nothing: less than any picture of a telephone."""

_DIRECTIVE: Final = re.compile(r"^[^#\n]*?\bclient_max_body_size\s+([0-9]+)([kKmMgG]?)\s*;", re.MULTILINE | re.ASCII)
_UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def findings_of_nginx(path: str, text: str, needed: int) -> Iterator[Finding]:
    """Compare each `client_max_body_size` with the largest body that we take, in bytes. 0 is no limit there."""
    found = list(_DIRECTIVE.finditer(text))
    remedy = f"client_max_body_size {-(-needed // 1024**2)}m;"
    for match in found:
        size = int(match[1]) * _UNITS[match[2].lower()]
        place = f"{path}:{text.count(chr(10), 0, match.start(1)) + 1}"
        if 0 < size < needed:
            what = f"nginx refuses bodies of more than {size} bytes, and uploads may have {needed}"
            yield Finding(Level.WARNING, place, what, remedy)
        else:
            yield Finding(Level.FINE, place, "nginx lets the largest upload through")
    if not found:
        what = f"nginx refuses bodies of more than {DEFAULT_NGINX_BYTES} bytes unless another of its files says more"
        level = Level.WARNING if needed > DEFAULT_NGINX_BYTES else Level.FINE
        yield Finding(level, path, what, remedy if level is Level.WARNING else "")


def findings_of_upstream(place: str, skew: float | None, why_not: str = "") -> Iterator[Finding]:
    """Our clock against ImageKit's, which says to the second when a credential begins and ends."""
    if skew is None:
        yield Finding(Level.UNKNOWN, place, f"ImageKit's clock could not be compared with ours: {why_not}")
        return
    yield from findings_of_skew(place, "ImageKit's", skew)
