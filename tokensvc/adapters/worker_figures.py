"""What the workers of this service cost, as the system accounts for it: read at each scrape, for all of them.

prometheus-client's own figures are those of one process, and whichever worker answers would tell of itself alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_USER, _SYSTEM, _START, _PAGES = 11, 12, 19, 21
"""Fields of /proc/PID/stat, counted from the one after the command (proc_pid_stat(5))."""


@dataclass(frozen=True, slots=True)
class Figures:
    """`open_files` is None where the system does not let us look."""

    cpu_seconds: float
    resident_bytes: int
    open_files: int | None


def started(pid: int) -> str:
    """When a process was started, in the system's own count, which no other process of that number shares."""
    return _stat(pid)[_START]


def figures_of(pid: int) -> Figures | None:
    """None if there is no such process any more."""
    try:
        stat = _stat(pid)
    except (OSError, IndexError):
        return None
    try:
        open_files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        open_files = None
    return Figures((int(stat[_USER]) + int(stat[_SYSTEM])) / _TICKS, int(stat[_PAGES]) * _PAGE_BYTES, open_files)


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


class WorkerFigures(Collector):
    """`workers` gives each living worker's number and process."""

    def __init__(self, workers: Callable[[], Iterable[tuple[int, int]]], release: str) -> None:
        self._workers, self._release = workers, release

    def collect(self) -> Iterator[Metric]:
        """The figures now."""
        yield self._about()
        found = [(number, figures) for number, pid in self._workers() if (figures := figures_of(pid)) is not None]
        yield GaugeMetricFamily("tokensvc_workers", "Workers that are there.", len(found))
        cpu = CounterMetricFamily("tokensvc_worker_cpu_seconds", "CPU time of a worker.", labels=["worker"])
        memory = GaugeMetricFamily("tokensvc_worker_resident_bytes", "Memory of a worker.", labels=["worker"])
        files = GaugeMetricFamily("tokensvc_worker_open_files", "Open files and connections.", labels=["worker"])
        for number, figures in found:
            cpu.add_metric([str(number)], figures.cpu_seconds)
            memory.add_metric([str(number)], figures.resident_bytes)
            if figures.open_files is not None:
                files.add_metric([str(number)], figures.open_files)
        yield from (cpu, memory, files)

    def _about(self) -> Metric:
        about = GaugeMetricFamily("tokensvc_about", "1, for the release that runs.", labels=["release"])
        about.add_metric([self._release], 1)
        return about
