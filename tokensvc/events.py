"""Builds what is told of events, from the settings: the log, the totals, the audit's file.

Apart from `wiring`, because it is as long; the clock and the metrics of the process still come from there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tokensvc.adapters.audit import Audited, AuditFile, Seal
from tokensvc.adapters.event_log import EventLog
from tokensvc.adapters.metrics import Metered, Metrics
from tokensvc.config import Settings
from tokensvc.core.errors import Outage
from tokensvc.ports import Audit


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


def require_audit(settings: Settings, file: AuditFile | None, aside: Callable[..., Any]) -> None:
    """Raise an outage if nothing would be issued because no line can be added."""
    if file is None or settings.audit.when_down == "allow":
        return
    try:
        aside(file.check)
    except OSError as exc:
        raise Outage(f"The audit file cannot be written: {exc.strerror}.") from exc
