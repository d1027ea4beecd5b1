"""The totals at `/metrics` are those of all workers, whichever answers, and whatever became of those that counted."""

from __future__ import annotations

import os
import re
import signal
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import until
from tests.support.service import Client, Deployment, Running, free_port, running, serving, tokensvc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.valkey import Valkey
ISSUED = re.compile(
    rb'^tokensvc_events_total\{code="",event="issued",profile="default",version="v1"\} ([0-9.]+)$', re.MULTILINE
)


@contextmanager
def only(service: Running, worker: int) -> Iterator[None]:
    """While the block lasts, no other worker than this one answers."""
    others = service.workers - {worker}
    for other in others:
        os.kill(other, signal.SIGSTOP)
    try:
        yield
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)


def issued(client: Client) -> int:
    """How many credentials were issued, by what `/metrics` says."""
    answer = client.request("GET", "/metrics")
    assert answer.status == 200, answer
    found = ISSUED.search(answer.body)
    return int(float(found[1])) if found else 0


def outstanding(client: Client) -> int:
    """How many credentials could be spent now, by what `/metrics` says."""
    (found,) = re.findall(
        r"^tokensvc_outstanding ([0-9.]+)$", client.request("GET", "/metrics").body.decode(), re.MULTILINE
    )
    return int(float(found))


def figures(client: Client) -> set[str]:
    """The numbers of the workers whose costs are told, of which there have to be as many as workers."""
    text = client.request("GET", "/metrics").body.decode()
    found = set(re.findall(r'^tokensvc_worker_resident_bytes\{worker="(\d+)"\} ', text, re.MULTILINE))
    assert f"\ntokensvc_workers {len(found)}.0\n" in text
    return found


def issue(client: Client, count: int) -> None:
    for _ in range(count):
        assert client.issue().status == 200


def directory_of(worker: int) -> Path:
    """Where it counts."""
    environment = Path(f"/proc/{worker}/environ").read_bytes().split(b"\0")
    (name,) = (entry for entry in environment if entry.startswith(b"PROMETHEUS_MULTIPROC_DIR="))
    return Path(name.partition(b"=")[2].decode())


def test_totals_are_right_over_workers_killed_ones_and_reloads(tmp_path_factory: pytest.TempPathFactory) -> None:
    deployment = Deployment(tmp_path_factory.mktemp("m"))
    deployment.write()
    with serving(deployment) as (service, client):
        one, two = sorted(service.workers)
        directory = directory_of(one)
        assert directory == directory_of(two)
        assert directory.stat().st_mode & 0o777 == 0o700
        until(lambda: figures(client) == {"0", "1"})
        with only(service, one):
            issue(client, 3)
            assert issued(client) == 3
        with only(service, two):
            assert issued(client) == 3
            issue(client, 4)
            assert issued(client) == 7
        with only(service, one):
            assert issued(client) == 7

        os.kill(one, signal.SIGKILL)
        until(lambda: one not in service.workers and len(service.workers) == 2)
        until(lambda: len(_locked(directory, service.workers)) == 2)
        (three,) = service.workers - {two}
        with only(service, three):
            assert issued(client) == 7
            issue(client, 2)
        with only(service, two):
            assert issued(client) == 9
        assert figures(client) == {"0", "1"}, "who is gone is not told of"
        assert len(list(directory.glob("counter_*.db"))) == 2, "who replaces a worker counts on in its files"

        before = service.workers
        service.send(signal.SIGHUP)
        until(lambda: not before & service.workers and len(service.workers) == 2)
        until(client.is_ready)
        issue(client, 1)
        assert issued(client) == 10
        secrets = (deployment.api_key, deployment.private_key, deployment.public_key, "127.0.0.1")
        text = client.request("GET", "/metrics").body.decode()
        assert not [secret for secret in secrets if secret in text]
        assert service.stop() == 0
    assert not directory.exists()

    with serving(deployment) as (service, client):
        assert issued(client) == 0, "a new start begins at nothing"
        assert service.stop() == 0


def test_the_outstanding_are_right_whoever_issued_and_spent_and_whatever_was_restarted(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """On the embedded store. Of those with two uses the first leaves one."""
    deployment = Deployment(tmp_path_factory.mktemp("o"))
    deployment.write("uses = 2\n[profiles.once]\ncallers = ['backend']\n")
    once = {"Authorization": f"Bearer {deployment.api_key}"}
    with serving(deployment) as (service, client):
        one, two = sorted(service.workers)
        with only(service, one):
            twice = [client.credential() for _ in range(4)]
            for _ in range(3):
                assert client.request("GET", "/auth/once", headers=once).status == 200
            assert outstanding(client) == 7
        with only(service, two):
            assert outstanding(client) == 7
            assert client.upload(twice[0]).status == 200
            assert outstanding(client) == 7
            assert client.upload(twice[0]).status == 200
            assert client.upload(twice[0]).status == 400
            assert outstanding(client) == 6
        for worker in service.workers:
            os.kill(worker, signal.SIGKILL)
        until(lambda: len(service.workers - {one, two}) == 2)
        until(client.is_ready)
        assert outstanding(client) == 6
        os.kill(service.valkey, signal.SIGKILL)
        until(client.is_ready)
        assert outstanding(client) == 6, "it comes back with its file"
        (deployment.folder / "token").write_text(twice[1]["token"])
        revoked = tokensvc("revoke", str(deployment.folder / "token"), **deployment.environment)
        assert revoked.returncode == 0, revoked.stderr
        assert outstanding(client) == 5
        assert service.stop() == 0

    with serving(deployment) as (service, client):
        assert outstanding(client) == 5
        assert service.stop() == 0


def _locked(directory: Path, workers: set[int]) -> set[Path]:
    """The files by which these workers hold their numbers."""
    found = set()
    for worker in workers:
        with suppress(OSError):  # it, or what it had open, is gone
            found |= {descriptor.readlink() for descriptor in Path(f"/proc/{worker}/fd").iterdir()}
    return {path for path in found if path.parent == directory and path.suffix == ".lock"}


@pytest.mark.parametrize("told", [False, True])
def test_gunicorn_without_the_launcher_counts_alone_unless_it_is_told_where(
    valkey: Valkey, tmp_path: Path, told: bool
) -> None:
    deployment = Deployment(tmp_path)
    deployment.write()
    common = tmp_path / "common"
    common.mkdir()
    settings = {"REDIS_URL": valkey.url, **({"PROMETHEUS_MULTIPROC_DIR": str(common)} if told else {})}
    client = Client(free_port(), deployment.api_key)
    gunicorn = str(Path(sys.executable).with_name("gunicorn"))
    options = ["-c", "deploy/gunicorn.conf.py", "--bind", f"127.0.0.1:{client.address}", "--workers", "2"]
    with running([gunicorn, *options, "wsgi:app"], deployment, client, **settings) as service:
        issue(client, 5)
        counts = {issued(client) for _ in range(10)}
        assert counts == {5} if told else counts and max(counts) <= 5
        assert bool(list(common.glob("counter_*.db"))) is told
        assert service.stop() == 0
