"""What the workers of this service cost, as the system accounts for it: read at each scrape, for all of them.

prometheus-client's own figures are those of one process, and whichever worker answers would tell of itself alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .processes import figures_of


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
