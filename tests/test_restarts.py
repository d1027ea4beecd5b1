"""Restarts and rotations under load: what is done gracefully fails nothing; what is killed doubles nothing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.processes import PATIENCE_SECONDS, alive, until
from tests.support.service import Client, Deployment, Running, serving, tokensvc
from tests.support.uploading import Uploading
from tokensvc.web.paced_bodies import GRACE_SECONDS, SLOWEST_BYTES_PER_SECOND

pytestmark = pytest.mark.alone
OLD, NEW = "public_Old4bX1dFh2", "public_New9aK7sQm3"
SLOW_CLIENTS: Final = 500


def replace_workers(service: Running) -> None:
    """HUP, and wait for it."""
    before = service.workers
    service.send(signal.SIGHUP)
    until(lambda: len(service.workers) == 2 and not service.workers & before)


def await_replacement(service: Running, worker: int) -> None:
    """Wait until it is gone and another is there."""
    until(lambda: not alive(worker) and len(service.workers) == 2)


def test_five_reloads_and_eight_ended_workers_fail_no_upload(deployment: Deployment) -> None:
    with serving(deployment) as (service, client), Uploading(client) as load:
        for _ in range(5):
            replace_workers(service)
            load.wait_for(10)
        for _ in range(8):
            ended = min(service.workers)
            os.kill(ended, signal.SIGTERM)
            await_replacement(service, ended)
            load.wait_for(10)
    assert (load.refused, load.broken) == ([], [])
    assert len(load.uploaded) >= 130


def test_thirty_killed_workers_lose_no_upload_that_was_acknowledged_and_double_none(deployment: Deployment) -> None:
    with serving(deployment) as (service, client):
        with Uploading(client) as load:
            for _ in range(30):
                killed = max(service.workers)
                os.kill(killed, signal.SIGKILL)
                await_replacement(service, killed)
                load.wait_for(5)
        until(client.is_ready)
        assert load.refused == []  # each that failed was cut off, and told nothing that is not so
        for credential in load.uploaded:
            assert client.upload(credential).headers["x-tokensvc-code"] == "credential.replayed"
        kept = [path for path in (deployment.data / "files/objects").rglob("*") if path.is_file()]
        assert len(kept) >= 1
        answered = len(load.uploaded)
    events = [line for line in service.log.splitlines() if '"event": "stored"' in line]
    assert answered <= len(events) <= answered + len(load.broken)


def test_who_looks_at_readyz_loses_nothing_when_the_service_ends(deployment: Deployment) -> None:
    with serving(deployment, "--drain", "2") as (service, client):
        ready = threading.Event()
        ready.set()
        with Uploading(client, may_ask=ready.is_set) as load:
            load.wait_for(20)
            service.send(signal.SIGTERM)
            until(lambda: client.request("GET", "/readyz").status == 503)
            answer = client.request("GET", "/readyz")
            assert (answer.status, answer.json) == (503, {"status": "stopping"})
            assert client.request("GET", "/livez").status == 200
            load.wait_for(5)  # it serves on meanwhile
            ready.clear()
            assert service.wait() == 0
        assert (load.refused, load.broken) == ([], [])


def test_a_second_signal_does_not_wait_for_the_balancers(deployment: Deployment) -> None:
    with serving(deployment, "--drain", "60") as (service, client):
        service.send(signal.SIGTERM)
        until(lambda: client.request("GET", "/readyz").status == 503)
        service.send(signal.SIGTERM)
        assert service.process.wait(30) == 0
    with serving(deployment, "--drain", "60") as (service, _):
        service.send(signal.SIGINT)
        assert service.process.wait(30) == 0


# Keys


@pytest.fixture
def rotating(deployment: Deployment) -> Deployment:
    """With its account in the file, and comments that must stay."""
    (deployment.folder / "key-old").write_text(f"private_CANARY{'a' * 20}")
    (deployment.folder / "key-new").write_text(f"private_CANARY{'b' * 20}")
    text = deployment.toml.read_text()
    deployment.toml.write_text(
        f'# Keys of the shop\n[accounts.default]\nactive = "{OLD}"  # since May\n[[accounts.default.keys]]\n'
        f'public_key = "{OLD}"\nprivate_key_file = "key-old"\n{text}'
    )
    return deployment


def keys(deployment: Deployment, *arguments: str) -> subprocess.CompletedProcess[str]:
    return tokensvc("keys", *arguments, TOKENSVC_CONFIG=str(deployment.toml), TOKENSVC_DATA_DIR=str(deployment.data))


def told(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode == 0, ran.stderr
    assert "CANARY" not in ran.stdout + ran.stderr
    return ran.stdout


@contextlib.contextmanager
def serving_from_the_file(deployment: Deployment) -> Iterator[tuple[Running, Client]]:
    nothing = {"IMAGEKIT_PUBLIC_KEY": "", "IMAGEKIT_PRIVATE_KEY": ""}
    with serving(deployment, **nothing) as started:
        yield started


def test_a_rotation_under_load_refuses_nothing_until_the_old_key_is_removed(rotating: Deployment) -> None:
    """Twenty clients, each with ten requests a second, when the machine is not busy with other things."""
    with serving_from_the_file(rotating) as (service, client):
        signed_by_the_old = [client.credential() for _ in range(40)]
        with Uploading(client, clients=20, pause=0.1) as load:
            load.wait_for(50)
            assert {credential["publicKey"] for credential in load.uploaded} == {OLD}
            told(keys(rotating, "add", "--public-key", NEW, "--private-key-file", "key-new"))
            replace_workers(service)
            load.wait_for(50)
            assert {credential["publicKey"] for credential in load.uploaded} == {OLD}
            told(keys(rotating, "activate", NEW))
            replace_workers(service)
            load.wait_for(100)
            assert {credential["publicKey"] for credential in load.uploaded[-30:]} == {NEW}
            for credential in signed_by_the_old[:20]:
                assert client.upload(credential).status == 200
            assert (load.refused, load.broken) == ([], [])

            early = keys(rotating, "remove", OLD)
            assert early.returncode == 2
            assert "are accepted until" in early.stderr
            told(keys(rotating, "remove", OLD, "--now"))
            replace_workers(service)
            load.wait_for(20)
        assert (load.refused, load.broken) == ([], [])
        for credential in signed_by_the_old[20:]:
            assert client.upload(credential).headers["x-tokensvc-code"] == "credential.invalid"
        assert service.stop() == 0
    assert "CANARY" not in service.log


def test_the_commands_keep_the_file_s_comments_and_mode(rotating: Deployment) -> None:
    rotating.toml.chmod(0o640)
    told(keys(rotating, "add", "--public-key", NEW, "--private-key-file", "key-new"))
    told(keys(rotating, "activate", NEW))
    text = rotating.toml.read_text()
    assert "# Keys of the shop" in text
    assert "# since May" in text
    assert rotating.toml.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in rotating.folder.iterdir() if path.is_file()) == [
        "key-new",
        "key-old",
        "tokensvc.toml",
    ]
    shown = json.loads(told(keys(rotating, "list", "--json")))["default"]
    assert [(pair["public_key"], pair["signs"]) for pair in shown] == [(OLD, False), (NEW, True)]
    assert 3600 <= shown[0]["accept_until"] - time.time() <= 3600 + 5 + 300
    assert shown[1]["accept_until"] is None
    assert "signs" in told(keys(rotating, "list"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "--public-key", OLD, "--private-key-file", "key-new"], "has public_Old4bX1dFh2 already"),
        (["add", "--public-key", NEW, "--private-key-file", "not-there"], "private_key_file"),
        (["add", "--public-key", "private_CANARYswapped", "--private-key-file", "key-new"], "public_key"),
        (["add", "--account", "shop", "--public-key", NEW, "--private-key-file", "key-new"], "accounts.shop"),
        (["activate", NEW], "has no pair"),
        (["activate", OLD], "signs with public_Old4bX1dFh2 already"),
        (["remove", OLD], "signs with public_Old4bX1dFh2"),
        (["remove", OLD, "--now"], "make another pair active first"),
    ],
)
def test_what_would_not_be_good_is_told_and_changes_nothing(
    rotating: Deployment, arguments: list[str], says: str
) -> None:
    before = rotating.toml.read_bytes()
    ran = keys(rotating, *arguments)
    assert ran.returncode == 2
    assert says in ran.stderr
    assert "CANARY" not in ran.stderr
    assert "Traceback" not in ran.stderr
    assert rotating.toml.read_bytes() == before
    assert not [path for path in rotating.folder.iterdir() if path.name.startswith(".")]


def test_a_grace_must_be_longer_than_any_credential(rotating: Deployment) -> None:
    told(keys(rotating, "add", "--public-key", NEW, "--private-key-file", "key-new"))
    assert keys(rotating, "activate", NEW, "--grace", "3604").returncode == 2
    told(keys(rotating, "activate", NEW, "--grace", "3605"))


def test_a_pair_whose_grace_has_ended_is_removed_without_a_word_more(rotating: Deployment) -> None:
    told(keys(rotating, "add", "--public-key", NEW, "--private-key-file", "key-new"))
    told(keys(rotating, "activate", NEW))
    text, found = re.subn(r"accept_until = \S+", "accept_until = 2020-01-01T00:00:00Z", rotating.toml.read_text())
    assert found == 1
    rotating.toml.write_text(text)
    assert "is removed" in told(keys(rotating, "remove", OLD))
    assert OLD not in rotating.toml.read_text()


# Slow clients


def test_five_hundred_slow_clients_hold_up_nobody_and_are_ended(deployment: Deployment) -> None:
    """Idle connections, halves of a header, halves of a body, and bodies that drip."""
    with serving(deployment) as (_, client), contextlib.ExitStack() as stack:
        assert isinstance(client.address, int)
        head = b"POST /auth HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4096\r\n\r\n"
        begun = [b"", b"GET /auth HTTP/1.1\r\nHost: loc", head, head + b'{"uploadPayload": ']
        slow = []
        for number in range(SLOW_CLIENTS):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", client.address), 30))
            connection.sendall(begun[number % len(begun)])
            slow.append(connection)
        for _ in range(20):
            assert client.upload(client.credential()).status == 200

        def drip() -> bool:
            """Another byte of each dripping body; whether all of them were hung up on."""
            for connection in dripping:
                with contextlib.suppress(OSError):
                    connection.send(b" ")
            return all(map(_is_ended, halves + dripping))

        halves, dripping = slow[2::4], slow[3::4]
        took = until(drip)
        assert took > GRACE_SECONDS / 2  # not at once: there are slow phones
        assert client.upload(client.credential()).status == 200


def _is_ended(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    else:
        return True


def test_a_client_that_is_as_slow_as_allowed_is_served(deployment: Deployment) -> None:
    body = json.dumps({"uploadPayload": {"fileName": "a.jpg"}}).encode().ljust(SLOWEST_BYTES_PER_SECOND * 7)
    with serving(deployment) as (_, client):
        assert isinstance(client.address, int)
        with socket.create_connection(("127.0.0.1", client.address), PATIENCE_SECONDS) as connection:
            head = f"POST /auth HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {client.api_key}\r\n"
            connection.sendall(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            began, sent = time.monotonic(), 0
            while sent < len(body):
                due = int((time.monotonic() - began + 1) * SLOWEST_BYTES_PER_SECOND)
                if sent < due:
                    connection.sendall(body[sent:due])
                    sent = min(due, len(body))
                time.sleep(0.02)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
