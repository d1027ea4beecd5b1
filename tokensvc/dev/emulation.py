"""What the emulator is told now: faults, seed and clock; one file that all workers read, and change under a lock.

It also counts how often each fault was asked about, for all workers together. Without that each would have a series
of its own, and nothing would repeat.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tokensvc.ports import Clock

from .faults import Fault, parse_faults, parse_offset

_FILE: Final = "emulation.json"
_DIGITS_OF_UNIX_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class ClockSetting:
    """Off by `offset` seconds, or standing still at `at` (Unix seconds)."""

    offset: int = 0
    at: int | None = None

    def __post_init__(self) -> None:
        if self.at is not None and len(str(self.at)) != _DIGITS_OF_UNIX_SECONDS:
            raise ValueError("A clock stands at Unix seconds of ten digits: from September 2001 to November 2286.")

    @classmethod
    def parse(cls, text: str) -> ClockSetting:
        """Read `now`, an offset (`+300s`), Unix seconds or `2026-01-31T12:00:00Z`; ValueError for anything else."""
        if text == "now":
            return cls()
        if text[:1] in ("+", "-"):
            return cls(offset=parse_offset(text))
        if text.isascii() and text.isdigit():
            return cls(at=int(text))
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise ValueError(
                f"{text!r} is no clock. Write +300s or -2h, Unix seconds, or a time such as 2026-01-31T12:00:00Z."
            )
        return cls(at=int(moment.timestamp()))

    def read(self, now: int) -> int:
        """What it shows when it is `now`."""
        return now + self.offset if self.at is None else self.at

    def moved(self, seconds: int) -> ClockSetting:
        """Moved on, or back."""
        if self.at is None:
            return replace(self, offset=self.offset + seconds)
        return replace(self, at=self.at + seconds)

    def __str__(self) -> str:
        return f"{self.offset:+d}s" if self.at is None else str(self.at)


@dataclass(frozen=True, slots=True)
class Emulation:
    """`generation` is part of the name of every nonce and count: with a new one all are forgotten at once."""

    faults: tuple[str, ...] = ()
    seed: int = 0
    clock: ClockSetting = field(default_factory=ClockSetting)
    generation: str = ""
    drawn: Mapping[str, int] = field(default_factory=dict)

    @property
    def parsed(self) -> tuple[Fault, ...]:
        """The faults, read."""
        return parse_faults(self.faults)

    def fault(self, name: str) -> Fault | None:
        """The fault of that name, if it is switched on."""
        return next((fault for fault in self.parsed if fault.name == name), None)

    @property
    def in_words(self) -> str:
        """What is unusual, in one line of ASCII for a header; empty if nothing is."""
        said = list(self.faults)
        if self.clock != ClockSetting():
            said.append(
                f"clock stands at {self.clock}" if self.clock.at is not None else f"clock is off by {self.clock}"
            )
        return "; ".join([*said, f"seed {self.seed}"]) if said else ""


@dataclass(frozen=True, slots=True)
class EmulationFile:
    """The file in the development server's folder. `clock` is the machine's."""

    home: Path
    clock: Clock

    def begin(self, start: Emulation) -> None:
        """Note what the server was started with, which is what `afresh` goes back to. Generations go on."""
        with self._locked():
            try:
                generation = self._read()[1].generation
            except (FileNotFoundError, ValueError, KeyError, TypeError):  # none yet, or another version's
                generation = secrets.token_hex(8)
            start = replace(start, generation=generation, drawn={})
            self._write(start, start)

    def now(self) -> Emulation:
        """What holds now."""
        return self._read()[1]

    def change(self, change: Callable[[Emulation], Emulation]) -> Emulation:
        """Change what holds now, and return it."""
        with self._locked():
            start, current = self._read()
            current = change(current)
            self._write(start, current)
        return current

    def afresh(self) -> Emulation:
        """Go back to what the server was started with, and forget nonces and counts."""
        with self._locked():
            start, _ = self._read()
            current = replace(start, generation=secrets.token_hex(8))
            self._write(start, current)
        return current

    def hit(self, fault: Fault) -> bool:
        """Whether this occasion is hit; each is asked about once."""
        if fault.how_often.times is None and fault.how_often.share in (0.0, 1.0):
            return fault.how_often.share > 0
        with self._locked():
            start, current = self._read()
            number = current.drawn.get(fault.text, 0)
            self._write(start, replace(current, drawn={**current.drawn, fault.text: number + 1}))
        return fault.how_often.hits(current.seed, fault.text, number)

    def time(self) -> int:
        """The emulator's clock, in Unix seconds."""
        return self.now().clock.read(self.clock())

    @property
    def _path(self) -> Path:
        return self.home / _FILE

    def _read(self) -> tuple[Emulation, Emulation]:
        both = json.loads(self._path.read_text())
        return _emulation(both["start"]), _emulation(both["now"])

    def _write(self, start: Emulation, now: Emulation) -> None:
        fresh = self._path.with_name(f"{_FILE}.new")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps({"start": asdict(start), "now": asdict(now)}))
        fresh.replace(self._path)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._path.with_name(f"{_FILE}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _emulation(members: Mapping[str, Any]) -> Emulation:
    return Emulation(
        tuple(members["faults"]),
        members["seed"],
        ClockSetting(**members["clock"]),
        members["generation"],
        members["drawn"],
    )
