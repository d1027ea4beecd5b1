"""Spans: one a request, the store's inside, in the caller's trace; and nothing at all unless it is asked for."""

from __future__ import annotations

import io
import json
import sys
import time
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from tests.support.app import Service
from tests.support.valkey import Valkey
from tests.test_house import run
from tokensvc import events
from tokensvc.adapters.logs import lines
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.tracing import Spans, _OwnTraces
from tokensvc.web import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Traced:
    """A service with spans, and what was exported."""

    def __init__(self, store: Valkey, folder: Path) -> None:
        provider = TracerProvider(id_generator=_OwnTraces())
        self.exporter = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        spans = Spans(provider, time.time)
        self.service = Service(store.url, folder)
        nonces: RedisNonces = self.service.nonces
        nonces._questions._observe = events.observing(lambda *_asked: None, spans)
        self.service.app = create_app(self.service.doors(begin_span=spans.begin))
        self.service.client = self.service.app.test_client()

    def spans(self) -> dict[str, ReadableSpan]:
        """By name; and forget them."""
        found = {span.name: span for span in self.exporter.get_finished_spans()}
        self.exporter.clear()
        return found


@pytest.fixture
def traced(valkey: Valkey, tmp_path: Path) -> Iterator[Traced]:
    made = Traced(valkey, tmp_path)
    yield made
    made.service.close()


def test_issue_and_upload_have_a_span_with_the_store_s_inside(traced: Traced) -> None:
    credential = traced.service.credential()
    spans = traced.spans()
    assert spans.keys() == {"issue", "store record"}
    _assert_inside(spans["store record"], spans["issue"])
    assert spans["issue"].kind is SpanKind.SERVER
    assert dict(spans["store record"].attributes or {}) == {"db.system.name": "redis", "db.operation.name": "record"}
    assert traced.service.upload_v1(credential).status_code == 200
    spans = traced.spans()
    assert spans.keys() == {"upload", "store redeem"}
    _assert_inside(spans["store redeem"], spans["upload"])
    secrets = (credential["token"], credential["signature"], traced.service.api_key)
    told = " ".join(span.to_json() for span in spans.values())
    assert not [secret for secret in secrets if secret in told]


def _own(span: ReadableSpan) -> SpanContext:
    own = span.get_span_context()
    assert own is not None
    return own


def _assert_inside(inner: ReadableSpan, outer: ReadableSpan) -> None:
    assert inner.parent is not None
    assert inner.parent.span_id == _own(outer).span_id
    assert None not in (inner.start_time, inner.end_time, outer.start_time, outer.end_time)
    assert (outer.start_time or 0) <= (inner.start_time or 0) <= (inner.end_time or 0) <= (outer.end_time or 0)


@pytest.mark.parametrize("sampled", [True, False])
def test_the_caller_s_trace_is_continued_and_its_wish_to_be_sampled_kept(traced: Traced, sampled: bool) -> None:
    traced.service.get(Traceparent=f"00-{TRACE}-{PARENT}-{sampled:02x}")
    spans = traced.spans()
    assert bool(spans) is sampled
    for span in spans.values():
        assert _own(span).trace_id == int(TRACE, 16)
    if sampled:
        parent = spans["issue"].parent
        assert parent is not None
        assert (parent.span_id, parent.is_remote) == (int(PARENT, 16), True)


@pytest.mark.parametrize("traceparent", ["", f"00-{'0' * 32}-{PARENT}-01", "nonsense"])
def test_a_trace_that_begins_here_has_the_id_that_the_log_has(traced: Traced, traceparent: str) -> None:
    with lines.written_to(io.StringIO()) as log:
        traced.service.get(**({"Traceparent": traceparent} if traceparent else {}))
    span = traced.spans()["issue"]
    assert span.parent is None
    assert json.loads(log.getvalue())["trace"] == f"{_own(span).trace_id:032x}"


def test_a_refusal_has_its_status_and_only_a_failure_is_an_error(tmp_path: Path) -> None:
    with Valkey() as own:
        traced = Traced(own, tmp_path)
        assert traced.service.get("expire=1").status_code == 400
        span = traced.spans()["issue"]
        assert dict(span.attributes or {})["http.response.status_code"] == 400
        assert span.status.status_code is StatusCode.UNSET
        own.kill()
        assert traced.service.get().status_code == 503
        spans = traced.spans()
        assert {span.status.status_code for span in spans.values()} == {StatusCode.ERROR}
        assert spans.keys() == {"issue", "store record"}
        traced.service.close()


def test_what_is_neither_issue_nor_redemption_nor_upload_has_none(traced: Traced) -> None:
    for path in ("/livez", "/readyz", "/metrics", "/nowhere"):
        traced.service.send("GET", path)
    assert traced.spans() == {}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nobody_who_does_not_ask_has_spans(environment: dict[str, str]) -> None:
    assert events.spans(environment, time.time) is None


def test_unless_it_is_asked_for_nothing_of_it_is_even_loaded() -> None:
    """But for what redis-py loads by itself where the packages are installed."""
    code = """if True:
        import sys
        import redis
        before = set(sys.modules)
        import tokensvc.application
        print([name for name in set(sys.modules) - before if "opentelemetry" in name or "tracing" in name])
    """
    assert run(sys.executable, "-c", code).stdout == "[]\n"


def test_the_standard_variables_say_where_spans_go(tmp_path: Path) -> None:
    code = """if True:
        import time
        from tokensvc import events
        from tokensvc.core.trail import Trail
        spans = events.spans({"OTEL_TRACES_EXPORTER": "console"}, time.time)
        spans.begin("issue", Trail("12" * 12, "34" * 16))(200)
    """
    told = run(sys.executable, "-c", code, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert '"name": "issue"' in told.stdout
    assert '"service.name": "tokensvc"' in told.stdout


def test_without_its_packages_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry.py").write_text("raise ImportError\n")
    code = "import time; from tokensvc import events; events.spans({'OTEL_TRACES_EXPORTER': 'otlp'}, time.time)"
    told = run(sys.executable, "-c", code, cwd=tmp_path)
    assert "ConfigurationError: OTEL_…: ask for traces, and OpenTelemetry is not here" in told.stderr
    assert "tokensvc[otel]" in told.stderr
