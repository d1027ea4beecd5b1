"""What the emulator can be told to do wrong, as it is written: `reject=0.1`, `status=503@x2`, `latency=500ms`.

How often is a share from 0 to 1, or `xN`: the first N times and never again. A share is no die: which of the requests
are hit follows from the seed and the number of the request, so that a run can be repeated.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Literal

Name = Literal["latency", "reject", "clock", "status", "expire", "replay", "store"]

NAMES: Final[dict[Name, str]] = {
    "latency": "latency=500ms",
    "reject": "reject=0.1",
    "clock": "clock=+300s",
    "status": "status=503@0.05",
    "expire": "expire=now",
    "replay": "replay=1",
    "store": "store=down",
}
"""Every fault, with an example of how it is written."""

_LONGEST_LATENCY_SECONDS: Final = 60.0
_FARTHEST_SECONDS: Final = 10 * 366 * 86_400
_MOST_TIMES: Final = 1_000_000
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)", re.ASCII)
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_TIMES: Final = re.compile(r"x([1-9][0-9]{0,6})", re.ASCII)
_SHARE: Final = re.compile(r"[01]|0?\.[0-9]{1,6}|1\.0{1,6}", re.ASCII)
_ERRORS: Final = frozenset(status.value for status in HTTPStatus if status.value >= HTTPStatus.BAD_REQUEST)


@dataclass(frozen=True, slots=True)
class HowOften:
    """A share of the times, or the first so many if `times` is given."""

    share: float = 1.0
    times: int | None = None

    def hits(self, seed: int, what: str, number: int) -> bool:
        """Whether the occasion with this number (from 0) is hit."""
        if self.times is not None:
            return number < self.times
        drawn = hashlib.sha256(f"{seed} {what} {number}".encode()).digest()[:8]
        return int.from_bytes(drawn) < self.share * 2**64


ALWAYS: Final = HowOften()


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `text` is how it was written; `amount` is seconds (latency, clock) or an HTTP status (status)."""

    text: str
    name: Name
    amount: float = 0.0
    how_often: HowOften = ALWAYS


def parse_faults(texts: Iterable[str]) -> tuple[Fault, ...]:
    """Read the faults, or raise ValueError with a sentence that says what to write. Only `status` may come again."""
    faults: list[Fault] = []
    for text in texts:
        fault = parse_fault(text)
        if text in {other.text for other in faults}:
            raise ValueError(f"{text} is given twice.")
        if fault.name != "status" and any(other.name == fault.name for other in faults):
            raise ValueError(f"{fault.name} is given twice; only status may be.")
        faults.append(fault)
    return tuple(faults)


def parse_fault(text: str) -> Fault:
    """Read `NAME=VALUE` or `NAME=VALUE@HOW-OFTEN`; ValueError with a sentence that says what to write."""
    name, sign, value = text.partition("=")
    if not sign or name not in NAMES:
        raise ValueError(f"{text!r} is no fault. There are: {', '.join(NAMES.values())}.")
    known: Name = name
    if known in ("reject", "replay"):
        return Fault(text, known, how_often=_how_often(text, value))
    amount, at, often = value.partition("@")
    how_often = _how_often(text, often) if at else ALWAYS
    if known == "clock":
        if at:
            raise ValueError(f"{text!r}: a clock is wrong all the time. Write it without @.")
        return Fault(text, known, parse_offset(amount))
    if known == "latency":
        return Fault(text, known, _latency(text, amount), how_often)
    if known == "status":
        return Fault(text, known, _status(text, amount), how_often)
    wanted = {"expire": "now", "store": "down"}[known]
    if amount != wanted:
        raise ValueError(f"{text!r}: {known} takes only {wanted}, as in {NAMES[known]}.")
    return Fault(text, known, how_often=how_often)


def parse_offset(text: str) -> int:
    """Whole seconds with their sign, from `+300s` or `-2h`; ValueError for anything else."""
    match = _DURATION.fullmatch(text[1:])
    if text[:1] not in ("+", "-") or match is None:
        raise ValueError(f"{text!r} is no offset. Write a sign, a number and s, m, h or d, as in +300s or -2h.")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds != int(seconds) or seconds > _FARTHEST_SECONDS:
        raise ValueError(f"{text!r}: an offset is whole seconds, and at most ten years.")
    return int(seconds) * (-1 if text[0] == "-" else 1)


def _how_often(text: str, often: str) -> HowOften:
    if times := _TIMES.fullmatch(often):
        if int(times[1]) > _MOST_TIMES:
            raise ValueError(f"{text!r}: at most x{_MOST_TIMES}.")
        return HowOften(times=int(times[1]))
    if not _SHARE.fullmatch(often):
        raise ValueError(f"{text!r}: how often is a share from 0 to 1, such as 0.05, or x3 for the first three times.")
    return HowOften(float(often))


def _latency(text: str, amount: str) -> float:
    match = _DURATION.fullmatch(amount)
    seconds = float(match[1]) * _SECONDS[match[2]] if match else -1.0
    if not 0 <= seconds <= _LONGEST_LATENCY_SECONDS:
        raise ValueError(f"{text!r}: latency is a number with ms or s, at most {_LONGEST_LATENCY_SECONDS:g} s.")
    return seconds


def _status(text: str, amount: str) -> int:
    if not (amount.isascii() and amount.isdigit()) or int(amount) not in _ERRORS:
        raise ValueError(f"{text!r}: status is that of an HTTP error, such as 429, 500 or 503.")
    return int(amount)
