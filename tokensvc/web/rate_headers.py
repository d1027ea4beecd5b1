"""`RateLimit` and `RateLimit-Policy`: how many more credentials there are, on answers and on refusals alike.

They are the fields of draft-ietf-httpapi-ratelimit-headers-11, which names each limit: of several, the one that ends
first is told.
"""

from __future__ import annotations

from flask import Response

from tokensvc.core.errors import Allowance
from tokensvc.core.quotas import Left


def show(answer: Response, limit: Allowance, left: int, seconds: int | None = None) -> None:
    """Tell the limit, how many are left of it, and the seconds until there are more, where they are known."""
    window = "" if limit.seconds is None else f";w={limit.seconds}"
    when = "" if seconds is None else f";t={seconds}"
    answer.headers["RateLimit-Policy"] = f'"{limit.name}";q={limit.count}{window}'
    answer.headers["RateLimit"] = f'"{limit.name}";r={left}{when}'


def show_left(answer: Response, left: Left | None) -> Response:
    """The same answer, telling what is left where that is counted."""
    if left is not None:
        show(answer, left.allowance, left.count)
    return answer
