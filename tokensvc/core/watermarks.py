"""Watermarks: what was issued before a second to a subject, by a profile or of an account is revoked, however much.

A mark is compared with the time of issue that is on record, never with a credential's `iat`: that of an equal v2
credential is moved back. It ends by itself, when the last credential that it can concern has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .window import LEEWAY_SECONDS, MARGIN_SECONDS, MAX_LIFETIME_SECONDS

Scope = Literal["subject", "profile", "account"]


@dataclass(frozen=True, slots=True)
class Watermark:
    """`name` is that of the scope; `issued_before` is Unix seconds, and what was issued in that very second stays good.

    `source` is for a subject alone: the caller source that vouches for it. Without it the subject is meant whichever
    source does.
    """

    scope: Scope
    name: str
    issued_before: int
    source: str = ""

    @property
    def until(self) -> int:
        """Unix time at which every credential that it concerns has ended, and its record with it."""
        return self.issued_before + MAX_LIFETIME_SECONDS + LEEWAY_SECONDS + MARGIN_SECONDS


@dataclass(frozen=True, slots=True)
class Origin:
    """What a verified credential says of where it is from, for one that is on no record: nobody knows its subject.

    `issued_at` (Unix seconds) is the earliest that it may have been: v1 does not say, and lives for an hour at most.
    """

    account: str
    issued_at: int
