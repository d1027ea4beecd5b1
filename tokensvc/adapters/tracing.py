"""Spans for OpenTelemetry: one for each issue, redemption and upload, with what the nonce store was asked inside.

Imported only if the environment asks for it; it needs the extra `otel`. A span of the store is made after the answer,
with the times that were measured anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from tokensvc import __version__
from tokensvc.core.trail import Trail

from .logs.about import current_trail

_NANOSECONDS: Final = 1_000_000_000
_SERVER_ERRORS_FROM: Final = 500


class _OwnTraces(RandomIdGenerator):
    """A trace that begins here has the id that the log says."""

    def generate_trace_id(self) -> int:
        trail = current_trail()
        return super().generate_trace_id() if trail is None else int(trail.trace, 16)


class Spans:
    """`now` is in Unix seconds."""

    def __init__(self, provider: TracerProvider, now: Callable[[], float]) -> None:
        self._tracer = provider.get_tracer("tokensvc", __version__)
        self._now = now

    def begin(self, name: str, trail: Trail) -> Callable[[int], None]:
        """Begin the span of a request; call what is returned with the status of its answer, to end it."""
        parent = context.Context()
        if trail.parent:
            flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if trail.sampled else trace.TraceFlags.DEFAULT)
            caller = trace.SpanContext(int(trail.trace, 16), int(trail.parent, 16), is_remote=True, trace_flags=flags)
            parent = trace.set_span_in_context(trace.NonRecordingSpan(caller), parent)
        about = {"tokensvc.request": trail.request}
        span = self._tracer.start_span(name, parent, trace.SpanKind.SERVER, about)
        attached = context.attach(trace.set_span_in_context(span))

        def end(status: int) -> None:
            span.set_attribute("http.response.status_code", status)
            if status >= _SERVER_ERRORS_FROM:
                span.set_status(trace.StatusCode.ERROR)
            context.detach(attached)
            span.end()

        return end

    def store_answered(self, script: str, seconds: float, answered: bool) -> None:
        """The nonce store answered a script, or did not, after that time: a span within that of the request."""
        if not trace.get_current_span().is_recording():
            return
        ended_at = int(self._now() * _NANOSECONDS)
        span = self._tracer.start_span(
            f"store {script}",
            kind=trace.SpanKind.CLIENT,
            attributes={"db.system.name": "redis", "db.operation.name": script},
            start_time=ended_at - int(seconds * _NANOSECONDS),
        )
        if not answered:
            span.set_status(trace.StatusCode.ERROR)
        span.end(ended_at)


def spans_of(environment: Mapping[str, str], now: Callable[[], float]) -> Spans:
    """Send spans where the standard variables say. Call it in the process that is to send them: a thread does."""
    resource = Resource.create()
    if not (environment.get("OTEL_SERVICE_NAME") or "service.name" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")):
        resource = resource.merge(Resource({"service.name": "tokensvc"}))
    provider = TracerProvider(resource=resource, id_generator=_OwnTraces())
    provider.add_span_processor(BatchSpanProcessor(_exporter(environment)))
    return Spans(provider, now)


def _exporter(environment: Mapping[str, str]) -> SpanExporter:
    if environment.get("OTEL_TRACES_EXPORTER") == "console":
        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - slow to load

    return OTLPSpanExporter()
