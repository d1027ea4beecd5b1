"""The results as Markdown tables."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .goals import Goal
from .processes import Running
from .rounds import Figures, Round


@dataclass(frozen=True, slots=True)
class Resting:
    """What is known of a server besides what it answers."""

    running: Running
    megabytes: float


def page(
    seen: Mapping[str, Figures],
    half: Mapping[str, Round],
    servers: Mapping[str, Resting],
    goals: Sequence[Goal],
    how: str,
    alone: str,
) -> str:
    """The whole page."""
    return "\n".join(
        [
            "# What an issue costs, and what peers cost beside it",
            "",
            f"Measured by `make bench`, Python {platform.python_version()}, Linux {platform.machine()}: {how}.",
            "",
            "The load generator shares the cores. So CPU a request, from the processes' own accounting, is the",
            "figure to trust, and requests a second are an order of magnitude. CPU is the median of the rounds, with",
            "the least and the most. The peers know no caller and have no limits, and only one records what it signs.",
            "",
            *_costs(seen, half),
            "",
            f"The store by itself, with the same settings, by redis-benchmark: {alone}.",
            "",
            *_resting(servers),
            "",
            *_goals(goals),
            "",
        ]
    )


def _costs(seen: Mapping[str, Figures], half: Mapping[str, Round]) -> list[str]:
    lines = [
        "| | requests/s | CPU µs a request | least-most | of it the store | p50 ms | p99 ms | p99 ms at half load |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, figures in seen.items():
        low, high = figures.spread
        lines.append(
            f"| {figures.label} | {figures.median(lambda each: each.answered.rate):,.0f} | {figures.cpu_us:,.0f} "
            f"| {low:,.0f}-{high:,.0f} | {figures.median(lambda each: each.store_us):,.0f} "
            f"| {figures.median(lambda each: each.answered.p50):.1f} "
            f"| {figures.median(lambda each: each.answered.p99):.1f} "
            f"| {f'{half[name].answered.p99:.1f}' if name in half else ''} |"
        )
    return lines


def _resting(servers: Mapping[str, Resting]) -> list[str]:
    rows = [f"| {label} | {each.megabytes:.0f} | {each.running.start_seconds:.2f} |" for label, each in servers.items()]
    return [
        "| | MB of the largest process, after the load | s from start to first answer, of three starts |",
        "|---|---:|---:|",
        *rows,
    ]


def _goals(goals: Sequence[Goal]) -> list[str]:
    lines = ["| goal | measured | goal | stretch | |", "|---|---:|---:|---:|---|"]
    for goal in goals:
        measured = "" if goal.measured is None else f"{goal.measured:.2f} {goal.unit}".strip()
        sign = "≥" if goal.at_least else "≤"
        verdict = "; ".join(filter(None, (goal.verdict, goal.note)))
        lines.append(f"| {goal.what} | {measured} | {sign} {goal.goal:g} | {sign} {goal.stretch:g} | {verdict} |")
    return lines
