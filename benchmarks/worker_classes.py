"""What the server alone costs: CPU of an application that does nothing, under each worker class, in turn.

`python -m benchmarks.worker_classes`; it needs wrk.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

from . import load, processes, rounds, service
from .rounds import Case

_CLASSES = ("gthread", "gevent", "tokensvc.worker.Worker")
_BODY = b'{"token": "%s", "expire": 1893456000, "signature": "%s"}' % (b"a" * 36, b"b" * 40)
_FIELDS = (
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(_BODY))),
    ("Cache-Control", "no-store"),
    ("Vary", "Origin, Authorization"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Request-Id", "Zm9vYmFyYmF6cXV4Zm9vYg"),
)


def app(_environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    """An answer as long as one with a credential."""
    start("200 OK", list(_FIELDS))
    return [_BODY]


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        requests = load.write_requests(Path(name) / "requests", service.v1_requests())
        cases = []
        for worker_class in _CLASSES:
            port = processes.free_port()
            command = [sys.executable, "-m", "gunicorn", "--config", "python:tokensvc.gunicorn_settings"]
            command += ["--worker-class", worker_class, "--threads", "8", "--workers", "1", "--max-requests", "0"]
            command += ["--bind", f"127.0.0.1:{port}", "benchmarks.worker_classes:app"]
            log = Path(name) / worker_class
            running = stack.enter_context(processes.server(command, os.environ, port, log))
            cases.append(Case(worker_class, worker_class, running, load.sending(port, requests)))
        for figures in rounds.interleaved(cases, 5, 2, lambda _: None).values():
            least, most = figures.spread
            print(f"{figures.label:24} {figures.cpu_us:6.1f} µs a request ({least:.1f}-{most:.1f})")


if __name__ == "__main__":
    main()
