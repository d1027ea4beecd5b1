"""What one issue costs here: `make bench`, or `make bench ARGS="--seconds 5 --workers 1"`.

Starts the service as `tokensvc serve` does (embedded store, api-key caller), asks for v1 and v2 credentials in turn
over kept-alive connections, and prints requests a second and, the figure to trust, CPU a request of the workers and of
the store from the processes' own accounting. The load generator shares the cores.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

API_KEY = "tsk_benchmark"
CONFIGURATION = f"""
[[accounts.default.keys]]
public_key = "public_benchmark"
private_key = "private_benchmark_0123456789abcdef"
[accounts.default]
active = "public_benchmark"
[callers.backend]
kind = "api_key"
keys = [{{ id = "bench", sha256 = "{hashlib.sha256(API_KEY.encode()).hexdigest()}", subject = "bench" }}]
[profiles.default]
callers = ["backend"]
"""
V2_BODY = '{"uploadPayload":{"fileName":"a.jpg","tags":"a,b","useUniqueFileName":"true"}}'
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=16)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, service(Path(folder), asked.workers) as (port, pid):
        results: dict[str, list[tuple[float, float, float]]] = {"v1": [], "v2": []}
        for _ in range(asked.rounds):
            for version, rounds in results.items():  # in turn, so that both see the same drift of the machine
                rounds.append(measure(version, port, pid, asked.seconds, asked.connections))
    print(f"{'':4}{'req/s':>9}{'worker CPU us':>16}{'store CPU us':>15}   medians of {asked.rounds}, worker min-max")
    for version, rounds in results.items():
        rate, worker, store = (statistics.median(column) for column in zip(*rounds, strict=True))
        spread = [row[1] for row in rounds]
        print(f"{version:4}{rate:9.0f}{worker:16.0f}{store:15.0f}   {min(spread):.0f}-{max(spread):.0f}")


@contextmanager
def service(folder: Path, workers: int) -> Iterator[tuple[int, int]]:
    """Run the service; gives its port and process."""
    (folder / "tokensvc.toml").write_text(CONFIGURATION)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if key != "REDIS_URL"}
    environment |= {"TOKENSVC_CONFIG": str(folder / "tokensvc.toml"), "TOKENSVC_DATA_DIR": str(folder / "var")}
    command = [sys.executable, "-m", "tokensvc", "serve", "--bind", f"127.0.0.1:{port}", "--workers", str(workers)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while not is_ready(port):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("the service did not start")
            time.sleep(0.05)
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def is_ready(port: int) -> bool:
    """Whether /readyz answers 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def measure(version: str, port: int, pid: int, seconds: float, connections: int) -> tuple[float, float, float]:
    """One round: requests a second, CPU microseconds a request of the workers and of the store."""
    before, counts = cpu(pid), [0] * connections
    until = time.monotonic() + seconds

    def ask(place: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Authorization": f"Bearer {API_KEY}"}
        while time.monotonic() < until:
            if version == "v1":
                connection.request("GET", "/auth", headers=headers)
            else:
                body = V2_BODY.replace("a.jpg", f"{place}-{counts[place]}.jpg")
                connection.request("POST", "/auth", body, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"unexpected status {answer.status}")
            counts[place] += 1
        connection.close()

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after, total = cpu(pid), sum(counts)
    return total / seconds, *((after[kind] - before[kind]) / total * 1e6 for kind in ("gunicorn", "valkey-server"))


def cpu(pid: int) -> dict[str, float]:
    """CPU seconds so far of all descendants, by the name of their program."""
    seconds = {"gunicorn": 0.0, "valkey-server": 0.0}
    for stat in descendants(pid):
        name = stat.partition("(")[2].rpartition(")")[0]
        fields = stat.rpartition(")")[2].split()
        kind = "valkey-server" if name.startswith("valkey") else "gunicorn"
        seconds[kind] += (int(fields[11]) + int(fields[12])) / TICKS
    return seconds


def descendants(pid: int) -> Iterator[str]:
    """The `stat` lines of every process below `pid`."""
    children: dict[int, list[str]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            stat = path.read_text()
        except OSError:
            continue
        children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(stat)
    waiting = [pid]
    while waiting:
        for stat in children.get(waiting.pop(), []):
            yield stat
            waiting.append(int(stat.split()[0]))


if __name__ == "__main__":
    main()
