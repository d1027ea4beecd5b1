"""A key is rotated under 200 requests a second: a stream that waits for nobody, so it is the same load throughout."""

from __future__ import annotations

import collections
import contextlib
import http.client
import itertools
import queue
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import pytest

from tests.test_restarts import (
    NEW,
    OLD,
    keys,
    replace_workers,
    rotating,
    serving_from_the_file,
    told,
)

if TYPE_CHECKING:
    from types import TracebackType

    from tests.support.service import Client, Deployment

__all__ = ["rotating"]  # a fixture

A_SECOND: Final = 200
AT_ONCE: Final = 48
PHASE_SECONDS: Final = 5


@dataclass
class Steady:
    """Credentials and uploads by turns, each at its time, as long as the block lasts. A late one is not left out."""

    client: Client
    uploaded: collections.Counter[str] = field(default_factory=collections.Counter)
    failed: list[object] = field(default_factory=list)
    sent: int = 0
    _fresh: queue.SimpleQueue[dict[str, str]] = field(default_factory=queue.SimpleQueue)
    _turns: itertools.count[int] = field(default_factory=itertools.count)
    began: float = field(default_factory=time.monotonic)
    _stop: threading.Event = field(default_factory=threading.Event)
    _running: list[threading.Thread] = field(default_factory=list)

    def _run(self) -> None:
        while not self._stop.is_set():
            turn = next(self._turns)
            self._stop.wait(max(0.0, self.began + turn / A_SECOND - time.monotonic()))
            try:
                self._one(turn)
            except (OSError, http.client.HTTPException) as exc:
                self.failed.append(exc)
            self.sent += 1

    def _one(self, turn: int) -> None:
        credential = None
        if turn % 2:
            with contextlib.suppress(queue.Empty):
                credential = self._fresh.get_nowait()
        answer = self.client.issue() if credential is None else self.client.upload(credential)
        if answer.status != 200:
            self.failed.append(answer)
        elif credential is None:
            self._fresh.put({name: str(value) for name, value in answer.json.items()})
        else:
            self.uploaded[credential["publicKey"]] += 1

    def go_on(self) -> float:
        """Let it run for a while; requests a second in that time."""
        before, began = self.sent, time.monotonic()
        time.sleep(PHASE_SECONDS)
        return (self.sent - before) / (time.monotonic() - began)

    def __enter__(self) -> Self:
        self._running = [threading.Thread(target=self._run) for _ in range(AT_ONCE)]
        for thread in self._running:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._running:
            thread.join()


@pytest.mark.soak
def test_a_rotation_at_two_hundred_requests_a_second_refuses_nothing(request: pytest.FixtureRequest) -> None:
    """This one is about a rate, so it fails on a machine that is too busy to have it."""
    rotated: Deployment = request.getfixturevalue("rotating")
    with serving_from_the_file(rotated) as (service, client):
        of_the_old = [client.credential() for _ in range(2 * A_SECOND)]
        with Steady(client) as load:
            rates = [load.go_on()]
            assert set(load.uploaded) == {OLD}
            told(keys(rotated, "add", "--public-key", NEW, "--private-key-file", "key-new"))
            replace_workers(service)
            rates.append(load.go_on())
            told(keys(rotated, "activate", NEW))
            replace_workers(service)
            for credential in of_the_old[:A_SECOND]:
                assert client.upload(credential).status == 200
            load.uploaded.clear()
            rates.append(load.go_on())
            assert set(load.uploaded) == {NEW}
            told(keys(rotated, "remove", OLD, "--now"))
            replace_workers(service)
            rates.append(load.go_on())
        assert load.failed == []
        refused = collections.Counter(
            client.upload(credential).headers["x-tokensvc-code"] for credential in of_the_old[A_SECOND:]
        )
        assert refused == {"credential.invalid": A_SECOND}
    overall = load.sent / (time.monotonic() - load.began)
    sys.stdout.write(
        f"{load.sent:,} requests, {overall:.0f} a second over all and {', '.join(f'{rate:.0f}' for rate in rates)} "
        f"between three reloads: 0 failed; {A_SECOND} of the old key's after its removal: all refused\n"
    )
    assert min(rates) >= 0.95 * A_SECOND
