"""The audit of a running service: workers that are killed, files that are moved away, and disks that are gone."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import until
from tests.support.service import Client, Deployment, free_port, running, tokensvc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.service import Running
    from tests.support.valkey import Valkey
KEY = "CANARY" + "0123456789abcdef" * 2


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    made = Deployment(tmp_path)
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit-key").write_text(KEY + "\n")
    made.write(f'[audit]\nfile = "{tmp_path}/audit/log.jsonl"\nsecret_key_file = "audit-key"\n')
    return made


@pytest.fixture
def served(deployment: Deployment, valkey: Valkey) -> Iterator[tuple[Running, Client]]:
    client = Client(free_port(), deployment.api_key)
    command = [sys.executable, "-m", "tokensvc", "serve", "--bind", f"127.0.0.1:{client.address}", "--workers", "2"]
    with running(command, deployment, client, REDIS_URL=valkey.url) as service:
        yield service, client
        assert service.stop() == 0


def verified(deployment: Deployment, *files: Path) -> dict[str, object]:
    """What `tokensvc audit verify` says."""
    options = ["--key-file", str(deployment.folder / "audit-key")] if files else []
    told = tokensvc("audit", "verify", "--json", *options, *map(str, files), **deployment.environment)
    assert told.stderr == ""
    report: dict[str, object] = json.loads(told.stdout)
    assert told.returncode == (0 if report["intact"] else 1)
    return report


def test_every_yes_is_in_one_chain_whatever_becomes_of_workers_and_files(
    deployment: Deployment, served: tuple[Running, Client]
) -> None:
    service, client = served
    path = deployment.folder / "audit/log.jsonl"
    for _ in range(5):
        client.credential()
    credential = client.credential()
    assert client.upload(credential).status == 200
    assert client.upload(credential).status == 400
    path.rename(path.with_name("log.jsonl.1"))
    for _ in range(3):
        client.credential()
    victim = min(service.workers)
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in service.workers and len(service.workers) == 2)
    until(client.is_ready)
    for _ in range(3):
        client.credential()
    files = [path, path.with_name("log.jsonl.1")]
    report = verified(deployment, *files)
    assert (report["intact"], report["first"], report["faults"], report["notes"]) == (True, 1, [], [])
    lines = [json.loads(line) for file in reversed(files) for line in file.read_text().splitlines()]
    events = [line["event"] for line in lines if line["event"] != "epoch_changed"]
    assert events == ["issued"] * 6 + ["redeemed", "stored", "replayed"] + ["issued"] * 6
    assert {line.get("subject") for line in lines if line["event"] != "epoch_changed"} == {"t"}
    assert verified(deployment)["intact"], "the configured file and key are what is looked at without arguments"
    written = "".join(file.read_text() for file in files)
    secrets = (KEY, deployment.api_key, deployment.private_key, *(credential[name] for name in ("token", "signature")))
    assert not [secret for secret in secrets if secret in written + service.log]
    altered = path.read_text().replace('"subject": "t"', '"subject": "x"', 1)
    path.write_text(altered)
    told = tokensvc("audit", "verify", **deployment.environment)
    assert told.returncode == 1
    assert f"{path}:1: was altered: it does not fit its seal\n" in told.stdout


def test_nothing_is_issued_or_redeemed_while_no_line_can_be_added(
    deployment: Deployment, served: tuple[Running, Client]
) -> None:
    service, client = served
    credential = client.credential()
    folder = deployment.folder / "audit"
    folder.rename(deployment.folder / "elsewhere")
    assert client.issue().status == 503
    assert client.upload(credential).status == 503
    assert not client.is_ready()
    assert '"event": "audit_missed", ' in service.log
    assert service.log.count('"event": "issued"') == 1
    (deployment.folder / "elsewhere").rename(folder)
    assert client.is_ready()
    assert client.issue().status == 200
    assert client.upload(credential).status == 400, "it was spent, to be on the safe side"
    assert verified(deployment)["intact"]


def test_a_disk_that_stalls_holds_up_those_alone_who_wait_for_it(deployment: Deployment, valkey: Valkey) -> None:
    client = Client(free_port(), deployment.api_key)
    command = [sys.executable, "-m", "tokensvc", "serve", "--bind", f"127.0.0.1:{client.address}", "--workers", "1"]
    with running(command, deployment, client, REDIS_URL=valkey.url) as service, ThreadPoolExecutor(3) as threads:
        client.credential()
        with (deployment.folder / "audit/log.jsonl.head").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # as if the one who has it waited for the disk
            waiting = [threads.submit(client.issue) for _ in range(3)]
            for _ in range(5):
                assert client.request("GET", "/livez").status == 200
            assert not any(each.done() for each in waiting)
        assert [each.result().status for each in waiting] == [200, 200, 200]
        assert service.stop() == 0


def test_it_does_not_start_where_it_could_not_write(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    deployment.write(f'[audit]\nfile = "{tmp_path}/nowhere/log.jsonl"\n')
    told = tokensvc("serve", **deployment.environment)
    assert told.returncode == 3
    assert f"cannot be written: {tmp_path}/nowhere/log.jsonl.head: No such file or directory." in told.stderr


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ('file = "audit.jsonl"', "audit.file: must be an absolute path"),
        ('file = "/"', "audit.file: must be an absolute path"),
        ('secret_key = "short"', "audit.secret_key: must have at least 32 characters"),
        ('when_down = "ignore"', "audit.when_down: must be 'refuse' or 'allow'"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(tmp_path: Path, setting: str, fault: str) -> None:
    deployment = Deployment(tmp_path)
    deployment.write(f"[audit]\n{setting}\n")
    told = tokensvc("config", "check", **deployment.environment)
    assert told.returncode == 2
    assert fault in told.stdout + told.stderr


def test_without_an_audit_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    deployment.write()
    told = tokensvc("audit", "verify", **deployment.environment)
    assert told.returncode == 2
    assert "No audit file is configured." in told.stderr
