"""Load by wrk, on kept-alive connections from one thread. It shares the cores with what is measured."""

from __future__ import annotations

import json
import math
import resource
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Answered:
    """One run: requests that were answered, in how many seconds; milliseconds of the answers."""

    requests: int
    seconds: float
    p50: float
    p99: float
    worst: float
    generator_us: float = 0.0
    """CPU of the load generator a request."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def raw(method: str, path: str, headers: Mapping[str, str] | None = None, body: str = "") -> bytes:
    """A request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: */*"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body.encode())}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def write_requests(file: Path, requests: Iterable[bytes]) -> Path:
    """The file that `send` takes."""
    file.write_bytes(b"\0".join(requests))
    return file


def send(
    port: int,
    requests: Path,
    seconds: float,
    *,
    connections: int = CONNECTIONS,
    pause_ms: float = 0,
    once: bool = False,
) -> Answered:
    """Send these requests, over and over or `once`. SystemExit if many answers are not a yes: they cost less.

    `pause_ms` is the mean time that each connection waits before a request, and no part of what an answer takes.
    """
    script = Path(__file__).with_name("load.lua")
    options = [
        "--threads",
        "1",
        "--connections",
        str(connections),
        "--duration",
        f"{max(1, round(seconds))}s",
        "--timeout",
        "30s",
    ]
    arguments = [str(requests), str(pause_ms), "once" if once else "again"]
    command = ["wrk", *options, "--script", str(script), f"http://127.0.0.1:{port}/", "--", *arguments]
    before = _cpu_of_children()
    told = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    result = next((line for line in told.stdout.splitlines() if line.startswith("RESULT ")), None)
    if result is None:
        raise SystemExit(f"wrk: {told.stdout}{told.stderr}")
    figures = json.loads(result.removeprefix("RESULT "))
    most_broken = 1 + figures["requests"] // 1000  # a worker that is replaced closes its connections
    most_refused = 1 + figures["requests"] // 1000  # on a busy machine the store may once answer too late: 503
    if figures["refused"] > most_refused or figures["broken"] > most_broken:
        raise SystemExit(f"{figures['refused']} refused, {figures['broken']} broken, of {requests.name} at {port}")
    generator_us = (_cpu_of_children() - before) / max(1, figures["requests"]) * 1e6
    told_of = {name: figures[name] for name in ("requests", "seconds", "p50", "p99", "worst")}
    return Answered(**told_of, generator_us=generator_us)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def sending(port: int, requests: Path, longest: float = math.inf) -> Callable[[float], Callable[[], Answered]]:
    """For a `rounds.Case`: rounds of `send`, none of them longer than that many seconds."""
    return lambda seconds: lambda: send(port, requests, min(seconds, longest))
