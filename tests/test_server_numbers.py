"""What each number that gunicorn is told comes to in a running service; that it is told them is in `test_house`."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import PATIENCE_SECONDS, alive, until
from tests.support.service import Client, Deployment, Running, serving
from tests.support.uploading import Uploading
from tokensvc import gunicorn_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

END_OF_LINE = b"\r\n"
RECYCLED_WORKERS = 8


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Client]]:
    """One for those that leave it as it was."""
    made = Deployment(tmp_path_factory.mktemp("n"))
    made.write()
    with serving(made) as started:
        yield started


def connect(client: Client) -> socket.socket:
    assert isinstance(client.address, int)
    return socket.create_connection(("127.0.0.1", client.address), PATIENCE_SECONDS)


def status_of(client: Client, *lines: bytes) -> int:
    """What a request of these lines and no body is answered with."""
    with connect(client) as connection:
        connection.sendall(END_OF_LINE.join((*lines, b"", b"")))
        return int(connection.recv(4096).split()[1])


@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 414)])
def test_a_request_line_may_be_so_long(running: tuple[Running, Client], over: int, status: int) -> None:
    around = len(b"GET /livez?x= HTTP/1.1")
    query = b"a" * (gunicorn_settings.limit_request_line - around + over)
    assert status_of(running[1], b"GET /livez?x=" + query + b" HTTP/1.1", b"Host: localhost") == status


@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 431)])
def test_a_request_may_have_so_many_headers(running: tuple[Running, Client], over: int, status: int) -> None:
    more = [b"X-%d: x" % number for number in range(gunicorn_settings.limit_request_fields - 1 + over)]
    assert status_of(running[1], b"GET /livez HTTP/1.1", b"Host: localhost", *more) == status


@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 431)])
def test_a_header_may_be_so_long(running: tuple[Running, Client], over: int, status: int) -> None:
    """Its line's end counts."""
    long = b"X-Long: ".ljust(gunicorn_settings.limit_request_field_size - len(END_OF_LINE) + over, b"a")
    assert status_of(running[1], b"GET /livez HTTP/1.1", b"Host: localhost", long) == status


def test_a_connection_is_kept_for_a_while_and_then_ended(running: tuple[Running, Client]) -> None:
    request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(running[1]) as connection:
        for _ in range(2):
            connection.sendall(request)
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(4096)
            assert b" 200 OK\r\n" in answer
        began = time.monotonic()
        assert connection.recv(4096) == b""
        assert time.monotonic() - began > gunicorn_settings.keepalive / 2


def test_the_heartbeat_is_in_memory_and_nothing_listens_but_what_was_asked_for(
    running: tuple[Running, Client],
) -> None:
    """gunicorn would have a control socket below the home directory."""
    service, client = running
    for worker in service.workers:
        assert any(name.startswith(f"{gunicorn_settings.worker_tmp_dir}/") for name in open_files(worker))
    sockets = {name.removeprefix("socket:[").removesuffix("]") for name in open_files(service.master)}
    listening = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    assert [line[7] for line in listening if line[6] in sockets and len(line) > 7] == []
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert [int(line[1].rpartition(":")[2], 16) for line in table if line[9] in sockets] == [client.address]


def open_files(pid: int) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.add(str(descriptor.readlink()))
    return found


def test_workers_that_have_had_their_requests_are_replaced_and_no_upload_fails(deployment: Deployment) -> None:
    """A hundred times as often as in production."""
    seen: set[int] = set()
    with (
        serving(deployment, GUNICORN_CMD_ARGS="--max-requests 40 --max-requests-jitter 20") as (service, client),
        Uploading(client) as load,
    ):

        def has_changed_often() -> bool:
            seen.update(service.workers)
            return len(seen) >= RECYCLED_WORKERS

        until(has_changed_often, within_seconds=4 * PATIENCE_SECONDS)
        load.wait_for(10)
    assert (load.refused, load.broken) == ([], [])


@pytest.mark.parametrize(("options", "finishes"), [("", True), ("--graceful-timeout 1", False)], ids=["60 s", "1 s"])
def test_a_service_that_ends_waits_for_the_uploads_that_are_under_way(
    deployment: Deployment, options: str, *, finishes: bool
) -> None:
    """For so long and no longer. What it had issued is good at the next one."""
    with serving(deployment, GUNICORN_CMD_ARGS=options) as (service, client), connect(client) as connection:
        workers, unspent, spent = service.workers, client.credential(), client.credential()
        assert client.upload(spent).status == 200
        body = b'{"uploadPayload": {"fileName": "a.jpg"}}'
        head = f"POST /auth HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {client.api_key}\r\n"
        connection.sendall(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:9])
        until(lambda: client.request("GET", "/livez").status == 200)
        service.send(signal.SIGTERM)
        until(lambda: not _listens(client))
        if not finishes:
            until(lambda: not any(map(alive, workers)))
        with suppress(OSError):
            connection.sendall(body[9:])
        answer = b""
        with suppress(OSError):
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 200 ") is finishes
        assert service.wait() == 0
    with serving(deployment) as (_, client):
        assert client.upload(unspent).status == 200
        assert client.upload(spent).headers["x-tokensvc-code"] == "credential.replayed"


def _listens(client: Client) -> bool:
    try:
        connect(client).close()
    except OSError:
        return False
    return True


def test_a_worker_that_stands_still_is_replaced_and_the_other_serves_meanwhile(deployment: Deployment) -> None:
    with serving(deployment, GUNICORN_CMD_ARGS="--timeout 2") as (service, client):
        still = min(service.workers)
        os.kill(still, signal.SIGSTOP)
        until(lambda: still not in service.workers and len(service.workers) == 2)
        until(client.is_ready)
        assert client.issue().status == 200
