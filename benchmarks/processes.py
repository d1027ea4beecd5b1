"""Starting, ending, and the accounts of processes: CPU and memory as the kernel has them, a tree at a time."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_READY_WITHIN_SECONDS = 30
_ENDS_WITHIN_SECONDS = 70


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers. `start_seconds` passed from its start to its first answer of 200."""

    port: int
    pids: tuple[int, ...]
    start_seconds: float


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds so far of what serves, and of the store behind it."""

    server: float
    store: float

    def __sub__(self, earlier: Cpu) -> Cpu:
        return Cpu(self.server - earlier.server, self.store - earlier.store)


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def server(
    command: Sequence[str],
    environment: Mapping[str, str],
    port: int,
    log: Path,
    probe: tuple[str, Mapping[str, str]] = ("/auth", {}),
) -> Iterator[Running]:
    """Run a server until its first yes to the probe (path and headers), and end it afterwards, by TERM."""
    started = time.monotonic()
    with log.open("wb") as out, ended(subprocess.Popen(command, env=environment, stdout=out, stderr=out)) as process:
        while not _answers(port, *probe):
            if process.poll() is not None or time.monotonic() > started + _READY_WITHIN_SECONDS:
                raise SystemExit(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.005)
        yield Running(port, (process.pid,), time.monotonic() - started)


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End the process afterwards; kill it if it does not obey."""
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_ENDS_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int, path: str, headers: Mapping[str, str]) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers=dict(headers))
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def cpu(pids: Sequence[int]) -> Cpu:
    """CPU of these processes and all below them, those included that have ended meanwhile."""
    seconds = {False: 0.0, True: 0.0}
    for stat in _trees(pids):
        name = stat.partition("(")[2].rpartition(")")[0]
        fields = stat.rpartition(")")[2].split()
        seconds[name.startswith("valkey")] += sum(int(field) for field in fields[11:15]) / _TICKS
    return Cpu(seconds[False], seconds[True])


def memory(pids: Sequence[int]) -> list[int]:
    """Bytes of each process, the largest first; what is shared counts in part (PSS). The store's are left out."""
    sizes = []
    for stat in _trees(pids):
        if not stat.partition("(")[2].startswith("valkey"):
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{stat.split()[0]}/smaps_rollup").read_text()
                sizes.append(next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")))
    return sorted(sizes, reverse=True)


def _trees(pids: Sequence[int]) -> Iterator[str]:
    """The `stat` lines of these processes and of every process below them."""
    stats: dict[int, str] = {}
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            stat = path.read_text()
            pid, parent = int(stat.split()[0]), int(stat.rpartition(")")[2].split()[1])
            stats[pid] = stat
            children.setdefault(parent, []).append(pid)
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid in stats:
            yield stats[pid]
            waiting += children.get(pid, [])
