"""The service as it is run: many at once with one credential, and workers that are killed in the middle of an upload.

Workers get no chance to give anything back: what frees a credential then is the end of its lease.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.processes import PATIENCE_SECONDS, until
from tests.support.service import Answer, Client, Deployment, Running, serving
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import scripts

pytestmark = pytest.mark.alone

RACERS = 200
LEASE_SECONDS = 4


def deployed(folder: Path, more: str) -> Deployment:
    made = Deployment(folder)
    made.write(more)
    return made


def kept(deployment: Deployment) -> int:
    return sum(path.is_file() for path in (deployment.data / "files" / "objects").rglob("*"))


def said(answer: Answer) -> str:
    return "kept" if answer.status == 200 else answer.headers.get("x-tokensvc-code", str(answer.status))


def race(client: Client, credential: Mapping[str, str]) -> Counter[str]:
    start = threading.Barrier(RACERS)

    def one(_: int) -> str:
        start.wait()
        return said(client.upload(credential))

    with ThreadPoolExecutor(RACERS) as threads:
        return Counter(threads.map(one, range(RACERS)))


@pytest.mark.parametrize(
    ("profile", "count"), [("uses = 3", 3), ('spend = "on-success"', 1), ('uses = 3\nspend = "on-success"', 3)]
)
def test_of_two_hundred_at_once_as_many_are_kept_as_there_are_uses(
    tmp_path_factory: pytest.TempPathFactory, profile: str, count: int
) -> None:
    """Over two workers. Under on-success the others wait or are too late; none is ever one too many."""
    deployment = deployed(tmp_path_factory.mktemp("l"), f"{profile}\n")
    with serving(deployment) as (_, client):
        for number in range(1, 3):
            outcomes = race(client, client.credential())
            assert outcomes["kept"] == count, outcomes
            assert outcomes.keys() <= {"kept", "credential.replayed", "credential.held"}
            assert kept(deployment) == count * number


@pytest.fixture
def stalling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Client, Deployment, FaultProxy]]:
    more = f'spend = "on-success"\n[upload]\nlease = {LEASE_SECONDS}\n'
    deployment = deployed(tmp_path_factory.mktemp("l"), more)
    with (
        Valkey() as own,
        FaultProxy(own.socket) as proxy,
        serving(deployment, REDIS_URL=proxy.url) as (service, client),
    ):
        yield service, client, deployment, proxy


def kill_workers(service: Running) -> None:
    """All, and wait for others."""
    victims = service.workers
    for victim in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    until(lambda: len(service.workers - victims) == 2)


def test_what_a_killed_worker_had_claimed_is_free_when_the_lease_ends_and_not_before(
    stalling: tuple[Running, Client, Deployment, FaultProxy],
) -> None:
    """It is killed after its claim, and before the commit that the store never gets."""
    service, client, deployment, proxy = stalling
    credential = client.credential()
    proxy.inject(Fault.STALL, matching=scripts.COMMIT.sha.encode())
    began = time.monotonic()
    with ThreadPoolExecutor(1) as thread:
        upload = thread.submit(client.upload, credential)
        until(lambda: proxy.injected > 0)
        kill_workers(service)
        with pytest.raises((OSError, http.client.HTTPException)):
            upload.result()
    proxy.heal()
    answers: list[str] = []
    while "kept" not in answers:
        with contextlib.suppress(OSError, http.client.HTTPException):
            answers.append(said(client.upload(credential)))
        assert time.monotonic() - began < PATIENCE_SECONDS
    assert time.monotonic() - began >= LEASE_SECONDS
    assert set(answers[:-1]) <= {"credential.held", "store.unavailable"}
    assert kept(deployment) == 1
    assert said(client.upload(credential)) == "credential.replayed"
    assert kept(deployment) == 1


@pytest.mark.parametrize("profile", ["", 'spend = "on-success"\n'])
def test_uploads_with_a_key_survive_killed_workers_and_each_is_kept_once(
    tmp_path_factory: pytest.TempPathFactory, profile: str
) -> None:
    """A client that is answered nothing, or 503, sends the same again; whatever had become of it, there is one file."""
    uploads, kills = 60, 4
    deployment = deployed(tmp_path_factory.mktemp("l"), profile)
    with serving(deployment) as (service, client):
        credentials = [client.credential() for _ in range(uploads)]
        done = threading.Event()

        def send(credential: Mapping[str, str]) -> tuple[bytes, int]:
            key, tries = {"Idempotency-Key": secrets.token_hex(8)}, 0
            while True:
                tries += 1
                with contextlib.suppress(OSError, http.client.HTTPException):
                    answer = client.upload(credential, key)
                    if answer.status == 200:
                        assert client.upload(credential, key).body == answer.body
                        return answer.body, tries
                    assert said(answer) in {"store.unavailable", "credential.held"}, answer
                done.wait(random.random() / 10)

        def kill() -> None:
            for _ in range(kills):
                os.kill(random.choice(sorted(service.workers) or [service.master]), signal.SIGKILL)
                until(lambda: len(service.workers) == 2)
                done.wait(0.05)

        with ThreadPoolExecutor(9) as threads:
            killer = threads.submit(kill)
            answers = list(threads.map(send, credentials))
            killer.result()
        assert len({body for body, _ in answers}) == uploads
        index = deployment.data / "files" / "index"
        assert sum(path.is_file() for path in index.rglob("*")) == uploads
        assert {said(client.upload(credential)) for credential in credentials} == {"credential.replayed"}
