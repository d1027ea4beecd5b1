"""The promise itself: whatever is killed, nothing is spent twice, and what was issued stays good if no file is torn."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.embedded import Service, pid_of, ready_again
from tests.support.processes import until
from tokensvc.adapters.embedded import start
from tokensvc.adapters.embedded.home import Home
from tokensvc.adapters.embedded.supervisor import SOUND_RUN_SECONDS
from tokensvc.core.errors import Outage
from tokensvc.core.nonces import NonceId
from tokensvc.ports import Outcome

pytestmark = pytest.mark.alone

WORKERS = 4
PAUSE_SECONDS = 0.004
"""Between two rounds of a worker, so that the check afterwards is not longer than the load."""


class Worker:
    """Issues, and spends every second one, until told to stop. Keeps what it was answered."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.good: list[NonceId] = []
        self.spent: list[NonceId] = []
        self.unknown: list[NonceId] = []
        self.wrongly_refused: list[Outcome] = []
        self.outages = 0

    def work(self, stop: threading.Event) -> None:
        """Until `stop`."""
        while not stop.wait(PAUSE_SECONDS):
            with contextlib.suppress(Outage):
                self.good.append(self._service.issue())
                nonce = self._service.issue()
                self._redeem(nonce)
                continue
            self.outages += 1

    def _redeem(self, nonce: NonceId) -> None:
        try:
            outcome = self._service.redeem(nonce)
        except Outage:
            self.unknown.append(nonce)
            raise
        if outcome is Outcome.SPENT:
            self.spent.append(nonce)
        else:
            self.wrongly_refused.append(outcome)


def _worked_a_while(workers: list[Worker]) -> Callable[[], bool]:
    began = time.monotonic()
    before = [len(worker.spent) for worker in workers]

    def worked() -> bool:
        all_did = all(len(worker.spent) > spent for worker, spent in zip(workers, before, strict=True))
        return all_did and time.monotonic() - began > SOUND_RUN_SECONDS

    return worked


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.soak)])
def test_kills_under_load(home: Home, kills: int) -> None:
    store = start(home.path)
    service = Service(home.path, connections=WORKERS + 2)
    workers = [Worker(service) for _ in range(WORKERS)]
    stop = threading.Event()
    gaps = []
    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            load = [pool.submit(worker.work, stop) for worker in workers]
            try:
                for _ in range(kills):
                    until(_worked_a_while(workers))
                    server = pid_of(home.pid_file)
                    os.kill(server, signal.SIGKILL)
                    gaps.append(ready_again(home, after=server))
            finally:
                stop.set()
            for worked in load:
                worked.result()

            spent = [nonce for worker in workers for nonce in worker.spent]
            good = [nonce for worker in workers for nonce in worker.good]
            unknown = [nonce for worker in workers for nonce in worker.unknown]
            print(  # noqa: T201 - the figures of the run, for `-s` and for a failure
                f"{kills} kills, {len(spent)} spent, {len(good)} unspent, {len(unknown)} unknown, "
                f"{sum(worker.outages for worker in workers)} outages, "
                f"away {sorted(gaps)[len(gaps) // 2]:.3f} s (median), {max(gaps):.3f} s (most)"
            )
            assert len(spent) > 10 * kills, "too little load to mean anything"
            # A kill in the middle of a write tears the file's end, which is a doubt: then all that was out is refused.
            doubted = {Outcome.STALE} if "Truncating the AOF" in home.log.read_text() else set[Outcome]()
            assert {refused for worker in workers for refused in worker.wrongly_refused} <= doubted
            assert set(pool.map(service.redeem, spent)) <= {Outcome.REPLAYED} | doubted
            assert set(pool.map(service.redeem, good)) <= {Outcome.SPENT} | doubted
            assert set(pool.map(service.redeem, unknown)) <= {Outcome.SPENT, Outcome.REPLAYED} | doubted
            assert set(pool.map(service.redeem, unknown)) <= {Outcome.REPLAYED} | doubted
    finally:
        service.close()
        store.stop()
