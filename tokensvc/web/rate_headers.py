"""`RateLimit` and `RateLimit-Policy`: how many more credentials there are, on answers and on refusals alike.

They are the fields of draft-ietf-httpapi-ratelimit-headers-11, which names each limit: of several, the one that ends
first is told.
"""

from __future__ import annotations

from tokensvc.core.errors import Allowance
from tokensvc.core.quotas import Left

Header = tuple[str, str]


def rate_headers(limit: Allowance, left: int, seconds: int | None = None) -> tuple[Header, Header]:
    """Tell the limit, how many are left of it, and the seconds until there are more, where they are known."""
    window = "" if limit.seconds is None else f";w={limit.seconds}"
    when = "" if seconds is None else f";t={seconds}"
    return (
        ("RateLimit-Policy", f'"{limit.name}";q={limit.count}{window}'),
        ("RateLimit", f'"{limit.name}";r={left}{when}'),
    )


def left_headers(left: Left | None) -> tuple[Header, ...]:
    """Tell what is left, where that is counted."""
    return () if left is None else rate_headers(left.allowance, left.count)
