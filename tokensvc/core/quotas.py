"""How many credentials a subject may have: the counts that the nonce store keeps beside its records.

They are counted where the record is made and in the same step, so they are exact however many ask at once. Nothing
is counted unless a profile says so. A client may need more than one credential an upload (ImageKit's Angular sample
fetches two) or many at once (Uppy: one a file); whoever sets a limit allows for that.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from .errors import Allowance, Code, Refusal
from .profiles import Limits, Rate

LimitName = Literal["rate", "per_day", "outstanding"]

MOST_COUNTED: Final = 10_000
"""The highest `rate` count and `outstanding`. The store keeps one entry for each of them: at most 150 bytes each, so
3 MB for a subject that is at both of these bounds, and 6 KB for one at 60 a minute and 50 outstanding."""

MOST_PER_DAY: Final = 1_000_000_000
LONGEST_WINDOW_SECONDS: Final = 86_400
DAY_SECONDS: Final = 86_400

_SUBJECT_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(frozen=True, slots=True)
class Quota:
    """What one subject may have. None is no limit. ValueError for what the store could not count.

    `rate` is in any window of that length. `per_day` is per calendar day in UTC. `outstanding` is what was issued and
    is not spent, revoked or past its record's end, which is ten seconds after the credential's.
    """

    subject_id: str
    rate: Rate | None = None
    per_day: int | None = None
    outstanding: int | None = None

    def __post_init__(self) -> None:
        if not _SUBJECT_ID.fullmatch(self.subject_id):
            raise ValueError("A subject id is 22 URL-safe characters.")
        if self.rate is not None:
            _require("rate", self.rate.count, MOST_COUNTED)
            _require("rate's seconds", self.rate.seconds, LONGEST_WINDOW_SECONDS)
        _require("per_day", self.per_day, MOST_PER_DAY)
        _require("outstanding", self.outstanding, MOST_COUNTED)


@dataclass(frozen=True, slots=True)
class Remaining:
    """How many more a subject may have now, by each limit; None is no limit. It may have as many as the least says."""

    rate: int | None = None
    per_day: int | None = None
    outstanding: int | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """How many more a subject may have at once, and the limit that says so: of several, the one with the fewest."""

    allowance: Allowance
    count: int


def _require(name: str, value: int | None, most: int) -> None:
    if value is not None and not 1 <= value <= most:
        raise ValueError(f"{name} is from 1 to {most}.")


@lru_cache(maxsize=2048)
def quota_of(limits: Limits, *, account: str, profile: str, source: str, subject: str) -> Quota | None:
    """The quota of a subject under a profile's limits, or nothing if they count nothing."""
    if limits.rate is None and limits.per_day is None and limits.outstanding is None:
        return None
    name = subject_id(account, profile, source, subject)
    return Quota(name, limits.rate, limits.per_day, limits.outstanding)


def subject_id(account: str, profile: str, source: str, subject: str) -> str:
    """The name under which a subject is counted: 22 URL-safe characters, the first 128 bits of a SHA-256.

    The first three are names from the configuration and have no NUL, so no two subjects share a text.
    """
    digest = hashlib.sha256(f"tokensvc-subject\0{account}\0{profile}\0{source}\0{subject}".encode()).digest()
    return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()


def refusal_of(quota: Quota, limit: LimitName, retry_after: int) -> Refusal:
    """The refusal of one more, with the limit that said so; `retry_after` is in seconds."""
    if limit == "rate" and quota.rate is not None:
        code, detail = Code.RATE_LIMITED, f"{rate_text(quota.rate)} are issued to each caller; these are used up."
        remedy = f"Try again in {retry_after} s."
    elif limit == "per_day" and quota.per_day is not None:
        code, detail = Code.QUOTA_EXCEEDED, f"{quota.per_day} a day (UTC) are issued to each caller; these are used up."
        remedy = f"Try again in {retry_after} s, when the next day begins."
    elif quota.outstanding is not None:
        code = Code.QUOTA_EXCEEDED
        detail = f"{quota.outstanding} credentials that were issued to this caller have not been used yet."
        remedy = f"Upload with them, or wait: the next one of them ends in {retry_after} s."
    else:
        raise ValueError(f"The quota has no limit {limit}.")
    return Refusal(code, detail, remedy, retry_after=retry_after, allowance=allowance_of(quota, limit))


def allowance_of(quota: Quota, limit: LimitName) -> Allowance:
    """A limit of the quota as answers show it; ValueError if the quota has no such limit."""
    if limit == "rate" and quota.rate is not None:
        return Allowance("rate", quota.rate.count, quota.rate.seconds)
    if limit == "per_day" and quota.per_day is not None:
        return Allowance("per_day", quota.per_day, DAY_SECONDS)
    if limit == "outstanding" and quota.outstanding is not None:
        return Allowance("outstanding", quota.outstanding, None)
    raise ValueError(f"The quota has no limit {limit}.")


def left_of(quota: Quota, remaining: Remaining) -> Left | None:
    """What is left by the limit with the fewest left; of equals, the one that refuses longest. None without any."""
    counts: tuple[tuple[LimitName, int | None], ...] = (
        ("per_day", remaining.per_day),
        ("outstanding", remaining.outstanding),
        ("rate", remaining.rate),
    )
    known = [(count, name) for name, count in counts if count is not None]
    if not known:
        return None
    count, name = min(known, key=lambda each: each[0])
    return Left(allowance_of(quota, name), count)


_UNITS: Final = {1: "second", 60: "minute", 3600: "hour", 86_400: "24 hours"}


def rate_text(rate: Rate) -> str:
    """As "60 per minute", or "5 in 10 s" where there is no word for it."""
    unit = _UNITS.get(rate.seconds)
    return f"{rate.count} per {unit}" if unit else f"{rate.count} in {rate.seconds} s"
