"""What a request costs in the application alone: `python -m benchmarks.inside`, in two trees in turn to compare them.

No server is between, and the store is a real one, so what is left beside the application is one exchange with it.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication, WSGIEnvironment

from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from tokensvc.application import create

from . import contenders, service

_ROUNDS = 7
_HEADERS = Headers({"Authorization": f"Bearer {service.API_KEYS[0]}", "User-Agent": "benchmark", "Accept": "*/*"})


def main() -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory(prefix="tokensvc-inside-") as name, contenders.store(Path(name)) as (socket, _):
        folder = Path(name)
        (folder / "tokensvc.toml").write_text(service.configuration(service.Size()))
        os.environ |= {
            "TOKENSVC_CONFIG": str(folder / "tokensvc.toml"),
            "TOKENSVC_DATA_DIR": str(folder / "var"),
            "REDIS_URL": f"unix://{socket}",
        }
        app = create()
        cases: dict[str, tuple[Callable[[int], Iterable[dict[str, Any]]], int, int]] = {
            "v1": (lambda count: [_get() for _ in range(count)], 500, 1),
            "v2 with 6 parameters": (lambda count: [_post("/auth", _v2()) for _ in range(count)], 300, 1),
            "batch of 100 v1": (lambda count: [_post("/auth/batch", _batch_v1()) for _ in range(count)], 10, 100),
            "batch of 100 v2": (lambda count: [_post("/auth/batch", _batch_v2()) for _ in range(count)], 5, 100),
        }
        took: dict[str, list[float]] = {case: [] for case in cases}
        for _ in range(_ROUNDS + 1):
            for case, (make, count, credentials) in cases.items():
                took[case].append(_microseconds(app, list(make(count))) / credentials)
    print("| | µs of CPU a credential | least-most |", "|---|---:|---:|", sep="\n")
    for case, (_, *seen) in took.items():  # the first round warms up
        print(f"| {case} | {statistics.median(seen):,.1f} | {min(seen):,.1f}-{max(seen):,.1f} |")


def _microseconds(app: WSGIApplication, environs: list[WSGIEnvironment]) -> float:
    statuses: set[str] = set()

    def start(status: str, _headers: object, _exc_info: object = None, /) -> Callable[[bytes], object]:
        statuses.add(status)
        return bytes  # what WSGI has to write by, and nobody does

    began = time.process_time()
    for environ in environs:
        answer = app(environ, start)
        b"".join(answer)
        getattr(answer, "close", lambda: None)()
    took = time.process_time() - began
    if statuses != {"200 OK"}:
        raise SystemExit(f"unexpected: {statuses}")
    return took / len(environs) * 1_000_000


def _get() -> dict[str, Any]:
    return EnvironBuilder("/auth", headers=_HEADERS).get_environ()


def _post(path: str, body: object) -> dict[str, Any]:
    return EnvironBuilder(path, method="POST", headers=_HEADERS, data=json.dumps(body)).get_environ()


def _parameters() -> dict[str, str]:
    return {**service.PARAMETERS, "fileName": f"{os.urandom(8).hex()}.jpg"}


def _v2() -> object:
    return {"uploadPayload": _parameters()}


def _batch_v1() -> object:
    return {"version": "v1", "count": 100}


def _batch_v2() -> object:
    return {"version": "v2", "uploads": [_parameters() for _ in range(100)]}


if __name__ == "__main__":
    main()
