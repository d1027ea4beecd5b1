"""How long connections are kept, how many there are, and how they end: as with gunicorn's own worker."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.processes import alive, until
from tests.support.tls import make_certificate

from .servers import OURS, STOCK, Server, all_of, children, one_answer, server

pytestmark = pytest.mark.alone
GET: Final = b"GET /auth HTTP/1.1\r\nHost: shop.example\r\n\r\n"
POST: Final = b"POST /redeem HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\n\r\n"
SLOW: Final = b"GET /auth/slow HTTP/1.1\r\nHost: shop.example\r\n\r\n"


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It waits a second for the next request."""
    with server(OURS, tmp_path_factory.mktemp("w"), "--keep-alive", "1") as started:
        yield started


@pytest.mark.parametrize("before", [[], [GET], [GET, POST + b"body"]])
@pytest.mark.parametrize("begun", [b"", b"GET /au", POST[:-2]])
def test_a_connection_without_a_whole_head_is_ended(impatient: Server, before: list[bytes], begun: bytes) -> None:
    with impatient.connect() as client:
        for request in before:
            client.sendall(request)
            assert one_answer(client)[:2] == (200, True)
        client.sendall(begun)
        assert all_of(client) == b""


def test_a_connection_that_is_used_is_kept_for_longer_than_it_may_idle(impatient: Server) -> None:
    with impatient.connect() as client:
        began = time.monotonic()
        while time.monotonic() - began < 2.5:
            client.sendall(GET)
            assert one_answer(client)[:2] == (200, True)
            time.sleep(0.05)
        assert all_of(client) == b""


def test_a_body_that_comes_later_than_its_head_is_waited_for(impatient: Server) -> None:
    with impatient.connect() as client:
        for _ in range(3):
            client.sendall(POST)
            time.sleep(0.05)
            client.sendall(b"bo")
            time.sleep(0.05)
            client.sendall(b"dy")
            assert one_answer(client)[2].endswith(b'"body": "body"}')
        client.sendall(POST)
        began = time.monotonic()
        until(lambda: time.monotonic() - began > 1.5)  # it waits for a second
        client.sendall(b"body")
        assert one_answer(client)[2].endswith(b'"body": "body"}')


def test_a_body_that_nobody_reads_is_waited_for_no_longer_than_a_next_request(impatient: Server) -> None:
    with impatient.connect() as client:
        client.sendall(b"POST /redeem/unread HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 70000\r\n\r\nbegun")
        assert one_answer(client)[:2] == (200, True)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 30:  # a byte now and then is not in time
                client.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() - began < 30


def test_a_request_that_waits_for_the_answer_before_it_is_answered(impatient: Server) -> None:
    with impatient.connect() as client:
        client.sendall(SLOW)
        time.sleep(0.05)
        client.sendall(GET)
        assert one_answer(client)[2] == b"slow"
        assert one_answer(client)[:2] == (200, True)
        client.sendall(GET)
        assert one_answer(client)[:2] == (200, True)


def test_a_request_that_waits_costs_nothing_meanwhile(impatient: Server) -> None:
    (worker,) = children(impatient.process)
    with impatient.begin(SLOW) as client:
        time.sleep(0.05)
        client.sendall(GET)
        time.sleep(0.05)
        before = cpu_seconds(worker)
        assert one_answer(client)[2] == b"slow"
        assert cpu_seconds(worker) - before < 0.1  # of nearly half a second


def cpu_seconds(pid: int) -> float:
    """Of the process, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_who_hangs_up_meanwhile_holds_up_nobody(impatient: Server) -> None:
    for _ in range(20):
        with impatient.begin(SLOW) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with impatient.begin(GET) as client:
        assert one_answer(client)[:2] == (200, True)
    assert "Traceback" not in impatient.log


def test_a_large_answer_reaches_a_slow_reader(impatient: Server) -> None:
    with impatient.begin(b"GET /auth/large HTTP/1.1\r\nHost: shop.example\r\n\r\n") as client:
        time.sleep(0.05)
        assert len(one_answer(client)[2]) == 3_000_000


@pytest.mark.parametrize("worker_class", [OURS, STOCK])
def test_no_more_connections_at_once_than_allowed(tmp_path: Path, worker_class: str) -> None:
    with server(worker_class, tmp_path, "--worker-connections", "3") as limited, contextlib.ExitStack() as stack:
        held = [stack.enter_context(limited.begin(GET)) for _ in range(3)]
        for client in held:
            assert one_answer(client)[:2] == (200, True)
        waiting = stack.enter_context(limited.begin(GET))
        waiting.settimeout(0.3)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        held[1].close()
        waiting.settimeout(30)
        assert one_answer(waiting)[:2] == (200, True)


def test_a_worker_that_has_had_its_number_is_replaced_and_loses_nothing(tmp_path: Path) -> None:
    with server(OURS, tmp_path, "--max-requests", "7", "--max-requests-jitter", "0") as recycled:
        kept: list[bool] = []
        client = recycled.connect()
        while len(kept) < 6 or True not in kept[6:]:
            client.sendall(GET)
            status, keeps, _ = one_answer(client)
            assert status == 200
            kept.append(keeps)
            if not keeps:
                assert client.recv(1) == b""
                client.close()
                client = recycled.connect()
        client.close()
        assert kept[:6] == [True] * 5 + [False]  # one was asked before
        assert True in kept[6:]  # of the next worker


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_was_begun_is_answered_before_the_worker_ends(tmp_path: Path, number: signal.Signals) -> None:
    with server(OURS, tmp_path, "--keep-alive", "2") as ending, contextlib.ExitStack() as stack:
        (worker,) = children(ending.process)
        idle, begun, half, unread = (
            stack.enter_context(ending.begin(first)) for first in (GET, SLOW, POST, GET + GET[:9])
        )
        for client in (idle, unread):
            assert one_answer(client)[:2] == (200, True)
        os.kill(ending.process.pid, number)
        until(lambda: "Worker exiting" in ending.log or _no_longer_listens(ending, worker))
        assert one_answer(begun)[::2] == (200, b"slow")
        half.sendall(b"body")
        assert one_answer(half)[0] == 200
        idle.sendall(GET)
        assert one_answer(idle)[:2] == (200, False)
        unread.sendall(GET[9:])
        assert one_answer(unread)[:2] == (200, False)
        for client in (idle, unread):
            assert all_of(client) == b""
        until(lambda: not alive(worker))
        if number == signal.SIGTERM:
            assert ending.process.wait(30) == 0
        else:
            until(lambda: len(children(ending.process)) == 1 and worker not in children(ending.process))
        assert "Traceback" not in ending.log


def _no_longer_listens(ending: Server, worker: int) -> bool:
    """The first worker takes no new connections."""
    inodes = {str(each.readlink()) for each in Path(f"/proc/{worker}/fd").iterdir()} if alive(worker) else set()
    assert isinstance(ending.place, int)
    listening = {
        f"socket:[{fields[9]}]"
        for fields in (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == ending.place
    }
    return not inodes & listening


@pytest.mark.parametrize("worker_class", [OURS, STOCK])
def test_it_speaks_tls(worker_class: str, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=certificate.certificate_path)
    options = ("--certfile", str(certificate.certificate_path), "--keyfile", str(certificate.key_path))
    with (
        server(worker_class, tmp_path / "server", *options, trusting=trusting) as started,
        started.connect(trusting) as client,
    ):
        for request in (GET, POST + b"body", GET):
            client.sendall(request)
            assert one_answer(client)[:2] == (200, True)
