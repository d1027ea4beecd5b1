"""Builds what is told of events, from the settings: the log, the totals, the audit's file.

Apart from `wiring`, because it is as long; the clock and the metrics of the process still come from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tokensvc.adapters.audit import Audited, AuditFile, Seal
from tokensvc.adapters.event_log import EventLog
from tokensvc.adapters.metrics import Metered, Metrics
from tokensvc.config import ConfigurationError, Fault, Settings
from tokensvc.core.errors import Outage
from tokensvc.core.trail import Trail
from tokensvc.ports import Audit

Observe = Callable[[str, float, bool], None]
"""Told of each question to the nonce store: its script, the seconds that it took, and whether it was answered."""


class Spans(Protocol):
    """What `adapters.tracing` has, which is not imported unless it is asked for."""

    def begin(self, name: str, trail: Trail) -> Callable[[int], None]:
        """Begin the span of a request."""

    def store_answered(self, script: str, seconds: float, answered: bool) -> None:
        """Make the span of a question."""


def told(settings: Settings | None, metrics: Metrics, now: Callable[[], float], aside: Callable[..., Any]) -> Audit:
    """Where events go: counted, to the log, and to the audit's file if the settings name one."""
    log = Metered(EventLog(), metrics)
    file = None if settings is None else audit_file(settings, now)
    if settings is None or file is None:
        return log
    return Audited(log, file, aside, refuses=settings.audit.when_down == "refuse")


def audit_file(settings: Settings, now: Callable[[], float]) -> AuditFile | None:
    """The audit's file, if one is configured."""
    if settings.audit.file is None:
        return None
    return AuditFile(settings.audit.file, audit_seal(settings), now, sync=settings.audit.fsync)


def audit_seal(settings: Settings) -> Seal:
    """What seals its lines."""
    key = settings.audit.secret_key
    return Seal(None if key is None else key.get_secret_value().encode())


def require_audit(settings: Settings, now: Callable[[], float], aside: Callable[..., Any]) -> None:
    """Raise an outage if nothing would be issued because no line can be added."""
    file = audit_file(settings, now)
    if file is None or settings.audit.when_down == "allow":
        return
    try:
        aside(file.check)
    except OSError as exc:
        raise Outage(f"The audit file cannot be written: {exc.filename}: {exc.strerror}.") from exc


def spans(environment: Mapping[str, str], now: Callable[[], float]) -> Spans | None:
    """Where spans go, if OpenTelemetry's variables name a place; `config.ConfigurationError` without its packages."""
    exporter = environment.get("OTEL_TRACES_EXPORTER")
    named = any(environment.get(name) for name in _WHERE) or exporter in _EXPORTERS
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporter == "none"
    if off or not named:
        return None
    try:
        from tokensvc.adapters.tracing import spans_of  # noqa: PLC0415 - an extra, and slow to load
    except ImportError:
        remedy = "pip install 'tokensvc[otel]', or set OTEL_SDK_DISABLED=true"
        raise ConfigurationError([Fault("OTEL_…", "ask for traces, and OpenTelemetry is not here", remedy)]) from None
    return spans_of(environment, now)


def observing(first: Observe, spans: Spans | None) -> Observe:
    """Tell both of each question."""
    if spans is None:
        return first
    second = spans.store_answered

    def both(script: str, seconds: float, answered: bool) -> None:
        first(script, seconds, answered)
        second(script, seconds, answered)

    return both


_WHERE = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_EXPORTERS = ("otlp", "console")
