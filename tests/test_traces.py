"""Spans of a running service arrive at a collector, by OTLP over HTTP, from workers that gevent has patched."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.support.canaries import require_silence
from tests.support.processes import until
from tests.support.service import Deployment, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.valkey import Valkey

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(BaseHTTPRequestHandler):
    """Keeps what it is sent, and says yes."""

    received: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        self.received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


def test_spans_arrive_in_the_caller_s_trace_and_hold_no_secret(tmp_path: Path, valkey: Valkey) -> None:
    deployment = Deployment(tmp_path)
    deployment.write()
    received: list[tuple[str, bytes]] = []
    handler = type("Keeping", (Collector,), {"received": received})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as collector:
        threading.Thread(target=collector.serve_forever).start()
        told = {
            "REDIS_URL": valkey.url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        try:
            with serving(deployment, **told) as (service, client):
                credential = client.credential()
                traced = {"Traceparent": f"00-{TRACE}-{PARENT}-01"}
                assert client.upload(credential, traced).status == 200
                until(lambda: any(bytes.fromhex(TRACE) in body for _, body in received))
                assert service.stop() == 0
        finally:
            collector.shutdown()
    assert {path for path, _ in received} == {"/v1/traces"}
    spans = b"".join(body for _, body in received)
    for said in (b"upload", b"redeem", b"tokensvc", bytes.fromhex(PARENT)):
        assert said in spans
    require_silence(spans, "What the collector got")
    assert b"subject" not in spans
    assert b"nonce" not in spans
