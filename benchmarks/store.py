"""The store by itself: what is asked of it for one issue, and what it could do at most."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import redis

from tokensvc.adapters import embedded

from .contenders import store


def reads(service_folder: Path) -> int:
    """How often the service's embedded store has read something so far: a round trip is one."""
    client = redis.Redis.from_url(embedded.url(service_folder / "var" / "store"))
    try:
        return int(client.info("stats")["total_reads_processed"])
    finally:
        client.close()


def at_most(folder: Path) -> str:
    """In words, what redis-benchmark gets out of a server with the embedded store's settings."""
    (folder / "alone").mkdir()
    with store(folder / "alone") as (socket, _):
        command = ["redis-benchmark", "-s", str(socket), "-t", "set", "-n", "100000", "-c", "16", "-d", "150", "--csv"]
        told = subprocess.run([*command, "-r", "100000"], capture_output=True, text=True, timeout=120, check=True)
    rows = list(csv.DictReader(told.stdout.splitlines()))
    return f"{float(rows[0]['rps']):,.0f} SET a second, p99 {float(rows[0]['p99_latency_ms']):.1f} ms"
