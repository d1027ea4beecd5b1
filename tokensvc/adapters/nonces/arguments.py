"""What the scripts are told, as the texts that they take. ValueError for what is no id, no time and no lease."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from tokensvc.core.quotas import Quota
from tokensvc.core.uses import ONCE, Uses
from tokensvc.core.watermarks import Origin

_REQUEST: Final = re.compile(r"[A-Za-z0-9_-]{22}")

_END_OF_TIME: Final = 10**10
"""Unix seconds of eleven digits: later than any window, and a longer number would be an error of the store."""


NO_QUOTA: Final = ("",) * 5
"""Instead of `quota_arguments`, where the script is to be told of none."""


def checked(request: str) -> str:
    """A request id."""
    if not _REQUEST.fullmatch(request):
        raise ValueError("A request id is 22 URL-safe characters.")
    return request


def time_text(until: int) -> str:
    """Unix seconds."""
    if not 0 < until < _END_OF_TIME:
        raise ValueError("A record is kept until a Unix time of at most ten digits.")
    return str(until)


def lease_text(lease: int | None) -> str:
    """Seconds, empty for none."""
    if lease is None:
        return ""
    if not 0 <= lease < _END_OF_TIME:
        raise ValueError("A lease is a number of seconds of at most ten digits.")
    return str(lease)


def uses_text(uses: Uses) -> str:
    """As uses.lua has them; empty for what needs no more than a record without uses."""
    return "" if uses == ONCE else f"{uses.count},{uses.spend.removeprefix('on-')[0]}"


@lru_cache(maxsize=2048)
def quota_arguments(quota: Quota) -> tuple[str, ...]:
    """The subject and its limits as record.lua and remaining.lua take them; nothing if there is no limit."""
    rate = (quota.rate.count, quota.rate.seconds) if quota.rate is not None else (None, None)
    limits = (*rate, quota.per_day, quota.outstanding)
    if all(limit is None for limit in limits):
        return ()
    return (quota.subject_id, *("" if limit is None else str(limit) for limit in limits))


def batch_texts(grant: str, untils: Sequence[int]) -> list[str]:
    """The grant and its untils as record_batch.lua takes them: how many there are that differ, these, each after the
    grant, and if that is not one for all, for each record the place (from 1) of its own.
    """
    places = {until: str(place) for place, until in enumerate(dict.fromkeys(untils), 1)}
    texts = [str(len(places)), *(text for until in places for text in (grant, time_text(until)))]
    return texts if len(places) == 1 else [*texts, *map(places.__getitem__, untils)]


def origin_texts(origin: Origin | None) -> tuple[str, str]:
    """The account and the second of issue; without an origin no account."""
    return ("", "0") if origin is None else (origin.account, str(origin.issued_at))
