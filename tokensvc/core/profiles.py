"""What a profile may limit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` in any `seconds`."""

    count: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a profile; None (or no types) is no limit."""

    max_bytes: int | None = None
    types: tuple[str, ...] = ()
    rate: Rate | None = None
    per_day: int | None = None
    outstanding: int | None = None
