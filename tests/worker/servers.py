"""gunicorn with one worker of either class, and what it answers to bytes."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.processes import PATIENCE_SECONDS, until
from tests.support.service import clean_environment

OURS: Final = "tokensvc.worker.Worker"
STOCK: Final = "gevent"
_SEGMENT_SECONDS: Final = 0.001
_REASON: Final = re.compile(
    rb"Content-Length: \d+\r\n\r\n<html>\n  <head>\n    <title>Bad Request</title>.*?</html>\n", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Server:
    """A running one. `place` is a port or a path."""

    place: int | Path
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self.log_file.read_text()

    def connect(self, trusting: ssl.SSLContext | None = None) -> socket.socket:
        """A new connection, in TLS if something is trusted."""
        if isinstance(self.place, Path):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(PATIENCE_SECONDS)
            client.connect(str(self.place))
            return client
        client = socket.create_connection(("127.0.0.1", self.place), PATIENCE_SECONDS)
        return client if trusting is None else trusting.wrap_socket(client, server_hostname="localhost")

    def begin(self, first: bytes) -> socket.socket:
        """A new connection on which that was sent."""
        client = self.connect()
        client.sendall(first)
        return client

    def finish(self, client: socket.socket) -> bytes:
        """End our side, and return all that comes back until the server hangs up, without what differs by itself."""
        with client:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            return self._alike(all_of(client))

    def _alike(self, answered: bytes) -> bytes:
        alike = re.sub(rb"\r\nDate: [^\r]*", b"\r\nDate: -", answered)
        return alike.replace(f'"{self.place}"'.encode(), b'"?????"')


def all_of(client: socket.socket) -> bytes:
    """What comes until the end, however that comes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := client.recv(65536):
            received += chunk
    return received


def one_answer(client: socket.socket) -> tuple[int, bool, bytes]:
    """Status, whether the connection is kept, and body of the next answer, which says its length."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):  # a byte at a time: the next answer may have come already
        byte = client.recv(1)
        assert byte, f"hung up after {head!r}"
        head += byte
    said = re.search(rb"Content-Length: (\d+)", head)
    assert said is not None, f"no length in {head!r}"
    body, length = b"", int(said[1])
    while len(body) < length:
        body += client.recv(length - len(body))
    return int(head.split()[1]), b"Connection: keep-alive" in head, body


def is_hung_up(client: socket.socket) -> bool:
    """Whether the server has closed it. Nothing is waited for."""
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@contextlib.contextmanager
def server(
    worker_class: str,
    folder: Path,
    *options: str,
    place: Path | None = None,
    trusting: ssl.SSLContext | None = None,
    **environment: str,
) -> Iterator[Server]:
    """Run it, until it answers (in TLS, if its certificate is trusted); then end it."""
    folder.mkdir(parents=True, exist_ok=True)
    log, bind = folder / "log", f"unix:{place}" if place else "127.0.0.1:0"
    command = [sys.executable, "-m", "gunicorn", "-c", "python:tokensvc.gunicorn_settings", "-k", worker_class]
    command += ["--bind", bind, "--workers", "1", *options, "tests.worker.echo:app"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=clean_environment(environment), stdout=out, stderr=out)
    try:
        until(lambda: process.poll() is not None or _listens(log))
        found = re.search(r"127\.0\.0\.1:(\d+)", log.read_text())
        bound = place or (found and int(found[1]))
        assert bound is not None, log.read_text()
        started = Server(bound, process, log)
        with started.connect(trusting) as client:
            client.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
            assert all_of(client).startswith(b"HTTP/1.0 200 OK\r\n")
        yield started
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _listens(log: Path) -> bool:
    return "Listening at" in log.read_text()


Pair = tuple[Server, Server]


@contextlib.contextmanager
def pair(folder: Path, *options: str, unix: bool = False, **environment: str) -> Iterator[Pair]:
    """One of each class, otherwise alike: ours first."""
    with contextlib.ExitStack() as stack:
        servers: list[Server] = []
        for name, worker_class in (("ours", OURS), ("stock", STOCK)):
            place = folder / f"{len(servers)}.sock" if unix else None
            servers.append(
                stack.enter_context(
                    server(worker_class, folder / name, *options, place=place, trusting=None, **environment)
                )
            )
        ours, stock = servers
        yield ours, stock


def alike(servers: Pair, segments: Sequence[bytes], *, with_reasons: bool = True) -> bytes:
    """What both answer, asked at once; AssertionError with the bytes if they differ.

    `with_reasons`: in the same words, too, where they understand nothing. Of two reasons gunicorn finds the one or the
    other, by how much has come at that moment.
    """
    connections = [each.connect() for each in servers]
    for number, segment in enumerate(segments):
        time.sleep(_SEGMENT_SECONDS if number else 0)  # so that each is read by itself
        for client in connections:
            with contextlib.suppress(ConnectionError):
                client.sendall(segment)
    ours, stock = (each.finish(client) for each, client in zip(servers, connections, strict=True))
    if not with_reasons:
        ours, stock = (_REASON.sub(b"", answer) for answer in (ours, stock))
    assert ours == stock, (segments, ours, stock)
    return ours


def children(process: subprocess.Popen[bytes]) -> set[int]:
    """The workers."""
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return {int(pid) for pid in text.split()}
