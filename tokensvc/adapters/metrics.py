"""What the service counts, for Prometheus: see docs/metrics.md.

No label has a value that a client can choose: an event, a version, a profile of the configuration, a code, a script.
Who asked, for what and with which nonce is in the log.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from tokensvc import __version__
from tokensvc.core.errors import Outage
from tokensvc.core.nonces import NonceId
from tokensvc.ports import Audit

from .metrics_files import living, take_number
from .worker_figures import WorkerFigures

_LABELS: Final = ("event", "version", "profile", "code")
_STORE_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_AGE_SECONDS: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class Metrics:
    """The metrics of this process, and the totals of all that count in the same directory. Make one a process."""

    def __init__(self, directory: Path | None = None) -> None:
        """Count in `directory`, which has to be that of the environment's `metrics_files.VARIABLE`; else alone.

        OSError if there is no such directory.
        """
        disable_created_metrics()  # they would say when a file was made, not more
        self._directory = directory
        self._registry = None if directory is not None else CollectorRegistry()
        if directory is not None:
            number = take_number(directory)
            values.ValueClass = values.MultiProcessValue(lambda: number)
        here = self._registry
        self._figures = WorkerFigures(self._workers, __version__)
        if here is not None:
            here.register(self._figures)
        self._events = Counter("tokensvc_events", "What happened.", _LABELS, registry=here)
        # Looking a counter up by its labels costs as much as counting; there are few, for no client can choose one.
        self._counters: dict[tuple[str | int | None, ...], Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._bytes = Counter("tokensvc_upload_bytes", "Bytes of the files that were kept.", registry=here)
        self._age = Histogram(
            "tokensvc_redemption_age_seconds",
            "Seconds from issue to redemption.",
            buckets=_AGE_SECONDS,
            registry=here,
        )
        self._store = Histogram(
            "tokensvc_store_seconds",
            "How long the nonce store took to answer, tries again included.",
            ("script",),
            buckets=_STORE_SECONDS,
            registry=here,
        )
        self._store_outages = Counter(
            "tokensvc_store_outages", "Questions that the nonce store did not answer.", ("script",), registry=here
        )
        self._throttle_open = Counter(
            "tokensvc_throttle_open",
            "Requests that were not throttled because Redis did not answer.",
            registry=here,
        )
        self._breaker = Counter(
            "tokensvc_breaker_openings", "Times that the silent nonce store was given up for a second.", registry=here
        )
        self._breaker_open = Gauge(
            "tokensvc_breaker_open",
            "Workers that have given the nonce store up, and had no answer since.",
            multiprocess_mode="sum",
            registry=here,
        )
        self._breaker_open.set(0)  # whoever had our number before may have ended with it open
        self._given_up = False
        self._epochs = Counter(
            "tokensvc_epoch_changes", "Epochs that were begun; what was outstanding became stale.", registry=here
        )

        self._rollbacks = Counter(
            "tokensvc_rollbacks", "Times that the nonce store was found to have gone back in time.", registry=here
        )

    def count(self, event: str, facts: Mapping[str, str | int | None], times: int = 1) -> None:
        """Count an event of `ports.Audit`, or so many that are alike."""
        labels = (event, facts.get("version"), facts.get("profile"), facts.get("code"))
        counter = self._counters.get(labels)
        if counter is None:
            counter = self._counters[labels] = self._events.labels(*(str(label or "") for label in labels))
        counter.inc(times)
        match event, facts:
            case "redeemed", {"age": int(age)}:
                self._age.observe(max(age, 0))
            case "stored", {"size": int(size)}:
                self._bytes.inc(size)
            case "breaker_opened", _:
                self._breaker.inc()
                self._given_up = True
                self._breaker_open.set(1)
            case "epoch_changed", _:
                self._epochs.inc()
            case "rollback_found", _:
                self._rollbacks.inc()

    def store_answered(self, script: str, seconds: float, answered: bool) -> None:
        """The nonce store answered a script, or did not, after that time."""
        histogram = self._histograms.get(script)
        if histogram is None:
            histogram = self._histograms[script] = self._store.labels(script)
        histogram.observe(seconds)
        if not answered:
            self._store_outages.labels(script).inc()
        elif self._given_up:
            self._given_up = False
            self._breaker_open.set(0)

    def unthrottled(self) -> None:
        """The throttle let a request through because it could not ask."""
        self._throttle_open.inc()

    def text(self, outstanding: Callable[[], int]) -> bytes:
        """All totals in Prometheus' text format 0.0.4, and how many credentials are `outstanding`, if that is told."""
        registry = self._registry
        if registry is None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, str(self._directory))
            registry.register(self._figures)
        return generate_latest(registry) + generate_latest(_Outstanding(outstanding))

    def _workers(self) -> list[tuple[int, int]]:
        return [(0, os.getpid())] if self._directory is None else list(living(self._directory))


class _Outstanding(Collector):
    """What the store says at this moment. One that does not answer leaves a gap: no number would be true."""

    def __init__(self, ask: Callable[[], int]) -> None:
        self._ask = ask

    def collect(self) -> Iterator[Metric]:
        figure = GaugeMetricFamily("tokensvc_outstanding", "Credentials on record that could be spent now.")
        with suppress(Outage):
            figure.add_metric([], self._ask())
        yield figure


class Metered:
    """An audit that counts each event and passes it on."""

    def __init__(self, inner: Audit, metrics: Metrics) -> None:
        self._inner, self._metrics = inner, metrics

    def note(self, event: str, facts: Mapping[str, str | int | None]) -> None:
        """Count it, and pass it on."""
        self._metrics.count(event, facts)
        self._inner.note(event, facts)

    def note_each(self, event: str, facts: Mapping[str, str | int | None], nonces: Sequence[NonceId]) -> None:
        """Count all of them, and pass them on."""
        self._metrics.count(event, facts, len(nonces))
        self._inner.note_each(event, facts, nonces)
