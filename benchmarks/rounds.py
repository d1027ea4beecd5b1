"""Interleaved rounds: each in turn, again and again, so that all see the same drift of the machine."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .load import Answered
from .processes import Running, cpu


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured: one kind of request to one server.

    `prepare` is given the seconds that a round takes, and returns what then sends the requests. Only that is measured.
    """

    name: str
    label: str
    running: Running
    prepare: Callable[[float], Callable[[], Answered]]


@dataclass(frozen=True, slots=True)
class Round:
    """One run of one case: what was answered, and microseconds of CPU a request."""

    answered: Answered
    server_us: float
    store_us: float

    @property
    def cpu_us(self) -> float:
        """Of server and store together."""
        return self.server_us + self.store_us


@dataclass(frozen=True, slots=True)
class Figures:
    """All rounds of one case."""

    label: str
    rounds: Sequence[Round]

    def median(self, what: Callable[[Round], float]) -> float:
        """The median over the rounds."""
        return statistics.median(map(what, self.rounds))

    @property
    def cpu_us(self) -> float:
        """The median CPU of server and store."""
        return self.median(lambda each: each.cpu_us)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the most CPU of server and store."""
        seen = [each.cpu_us for each in self.rounds]
        return min(seen), max(seen)


def measure(case: Case, seconds: float) -> Round:
    """One run of one case."""
    load = case.prepare(seconds)
    os.sync()  # what others have written is on its way to the disk, and each group of records would wait behind it
    before = cpu(case.running.pids)
    answered = load()
    used = cpu(case.running.pids) - before
    return Round(answered, used.server / answered.requests * 1e6, used.store / answered.requests * 1e6)


def interleaved(cases: Sequence[Case], rounds: int, seconds: float, tell: Callable[[str], None]) -> dict[str, Figures]:
    """Measure every case once a round. What comes first in one round comes last in the next."""
    seen: Mapping[str, list[Round]] = {case.name: [] for case in cases}
    for number in range(rounds):
        tell(f"round {number + 1} of {rounds}")
        for case in cases if number % 2 == 0 else reversed(cases):
            seen[case.name].append(measure(case, seconds))
    return {case.name: Figures(case.label, seen[case.name]) for case in cases}
