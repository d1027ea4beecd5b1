"""What people write instead, and what bounds us: each is started with as many processes as the service has workers."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tokensvc.adapters.embedded.configuration import SETTINGS, server_binary

from . import processes
from .processes import Running
from .service import PRIVATE_KEY, PUBLIC_KEY

PEERS = Path(__file__).with_name("peers")


@dataclass(frozen=True, slots=True)
class Contender:
    """`start` is given a folder of its own, the folder of the peers' programs, and the number of processes."""

    name: str
    label: str
    start: Callable[[Path, Path, int], Iterator[Running]]


@contextmanager
def started(contender: Contender, folder: Path, programs: Path, workers: int) -> Iterator[Running]:
    """Run it in a new folder."""
    folder.mkdir()
    with contextmanager(contender.start)(folder, programs, workers) as running:
        yield running


def _environment(port: int, workers: int, **more: str) -> dict[str, str]:
    keys = {"PRIVATE_KEY": PRIVATE_KEY, "PUBLIC_KEY": PUBLIC_KEY, "NODE_ENV": "production"}
    return {**os.environ, "PORT": str(port), "WORKERS": str(workers), "GOMAXPROCS": str(workers), **keys, **more}


def _flask(folder: Path, programs: Path, workers: int) -> Iterator[Running]:
    port = processes.free_port()
    options = ["--chdir", str(PEERS), "--bind", f"127.0.0.1:{port}", "--workers", str(workers)]
    return _run([str(programs / "gunicorn"), *options, "flask_peer:app"], folder, port, workers)


def _flask_threads(folder: Path, programs: Path, workers: int) -> Iterator[Running]:
    port = processes.free_port()
    options = ["--chdir", str(PEERS), "--bind", f"127.0.0.1:{port}", "--workers", str(workers), "--threads", "8"]
    return _run([str(programs / "gunicorn"), *options, "flask_peer:app"], folder, port, workers)


def _starlette(folder: Path, programs: Path, workers: int) -> Iterator[Running]:
    port = processes.free_port()
    options = ["--app-dir", str(PEERS), "--port", str(port), "--workers", str(workers), "--no-access-log"]
    return _run([str(programs / "uvicorn"), *options, "starlette_peer:app"], folder, port, workers)


def _express(folder: Path, _programs: Path, workers: int) -> Iterator[Running]:
    return _run(["node", str(PEERS / "node" / "express.mjs")], folder, processes.free_port(), workers)


def _fastify(folder: Path, _programs: Path, workers: int) -> Iterator[Running]:
    return _run(["node", str(PEERS / "node" / "fastify.mjs")], folder, processes.free_port(), workers)


def _go(folder: Path, programs: Path, workers: int) -> Iterator[Running]:
    return _run([str(programs / "go-peer")], folder, processes.free_port(), workers)


def _go_tracked(folder: Path, programs: Path, workers: int) -> Iterator[Running]:
    with store(folder) as (socket, pid):
        for running in _run([str(programs / "go-peer")], folder, processes.free_port(), workers, STORE=str(socket)):
            yield Running(running.port, (*running.pids, pid), running.start_seconds)


def _nginx(folder: Path, _programs: Path, workers: int) -> Iterator[Running]:
    port = processes.free_port()
    text = (PEERS / "nginx.conf").read_text()
    for name, value in {"FOLDER": folder, "PORT": port, "WORKERS": workers}.items():
        text = text.replace(name, str(value))
    (folder / "nginx.conf").write_text(text)
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    return _run(command, folder, port, workers)


def _run(command: list[str], folder: Path, port: int, workers: int, **more: str) -> Iterator[Running]:
    with processes.server(command, _environment(port, workers, **more), port, folder / "log") as running:
        yield running


@contextmanager
def store(folder: Path, **settings: str) -> Iterator[tuple[Path, int]]:
    """A Valkey server with the settings of the embedded store, but no password; gives its socket and process."""
    socket = folder / "store.sock"
    chosen = {**SETTINGS, "unixsocket": str(socket), "dir": str(folder), **settings}
    command = [str(server_binary()), *(part for name, value in chosen.items() for part in (f"--{name}", value))]
    with (folder / "store.log").open("wb") as log, processes.ended(subprocess.Popen(command, stdout=log)) as process:
        while not socket.exists():
            if process.poll() is not None:
                raise SystemExit((folder / "store.log").read_text())
            time.sleep(0.01)
        yield socket, process.pid


ALL = (
    Contender("flask", "Flask + official SDK, gunicorn sync", _flask),
    Contender("flask-threads", "Flask + official SDK, gunicorn gthread", _flask_threads),
    Contender("express", "Express + official SDK", _express),
    Contender("starlette", "Starlette + official SDK, uvicorn", _starlette),
    Contender("fastify", "Fastify + node crypto", _fastify),
    Contender("go", "Go net/http", _go),
    Contender("go-tracked", "Go net/http + go-redis, tracked", _go_tracked),
    Contender("nginx", "nginx `return 200`: the limit of HTTP", _nginx),
)
