"""What the service aims at, as ratios to what ran beside it, and how far it is from that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .rounds import Figures


@dataclass(frozen=True, slots=True)
class Goal:
    """`measured` is at most `goal`, better at most `stretch`; the other way round if `at_least`. None: not measured."""

    what: str
    measured: float | None
    goal: float
    stretch: float
    unit: str = ""
    at_least: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        """In words: met, or how far it is."""
        if self.measured is None:
            return "not measured in this run"
        if self._reaches(self.stretch):
            return "met, the stretch too"
        if self._reaches(self.goal):
            return "met"
        return f"missed, {max(self.measured, self.goal) / min(self.measured, self.goal):.2f} x the goal"

    def _reaches(self, bound: float) -> bool:
        measured = self.measured or 0.0
        return measured >= bound if self.at_least else measured <= bound


@dataclass(frozen=True, slots=True)
class Extras:
    """What is no case of its own. Milliseconds, megabytes, seconds; the last two only with the curves."""

    p99_half_load: float | None
    worker_megabytes: float
    start_seconds: float
    round_trips: float
    round_trips_under_load: float
    million_against_empty: float | None = None
    two_workers_against_one: float | None = None
    room_for_two: float | None = None


def goals(seen: Mapping[str, Figures], extras: Extras) -> list[Goal]:
    """The table of goals, in its order."""

    def ratio(over: str, under: str) -> float | None:
        return seen[over].cpu_us / seen[under].cpu_us if over in seen and under in seen else None

    def each(name: str) -> float | None:
        return seen[name].cpu_us / 100 if name in seen else None

    return [
        Goal("issue v1: CPU (service + store) / Express + SDK, untracked and open", ratio("v1", "express"), 0.8, 0.5),
        Goal("the same / Flask + SDK", ratio("v1", "flask"), 0.5, 0.25),
        Goal("the same / Go + go-redis, tracked (a stretch only)", ratio("v1", "go-tracked"), 1.0, 1.0),
        Goal("issue v2 with 6 parameters / issue v1", ratio("v2", "v1"), 1.25, 1.1),
        Goal("batch of 100, v1: CPU a credential", each("batch-v1"), 12, 8, "µs"),
        Goal("batch of 100, v2: CPU a credential", each("batch-v2"), 20, 15, "µs"),
        Goal(
            "round trips to the store for one issue, under load",
            extras.round_trips_under_load,
            1,
            0.99,
            note=f"alone {extras.round_trips:.2f}",
        ),
        Goal("redeem / issue v1", ratio("redeem", "v1"), 1.2, 1.0),
        Goal("upload of 5 MB: CPU / nginx, which writes the same to disk", ratio("upload", "upload-nginx"), 3, 2),
        Goal("p99 at half of the highest load", extras.p99_half_load, 10, 5, "ms"),
        Goal("issue with 1,000,000 outstanding / with none", extras.million_against_empty, 1.1, 1.0),
        Goal(
            "2 workers / 1, issues a second",
            extras.two_workers_against_one,
            1.7,
            1.9,
            at_least=True,
            note=""
            if extras.room_for_two is None
            else f"these cores, with store and load generator on them, have room for {extras.room_for_two:.2f}",
        ),
        Goal("memory of a worker", extras.worker_megabytes, 60, 45, "MB"),
        Goal("start to first credential", extras.start_seconds, 1, 0.6, "s"),
    ]
