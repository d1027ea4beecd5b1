"""Many threads that record and redeem all the time, and remember every yes and when it came."""

from __future__ import annotations

import collections
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from tests.support.nonces import new_nonce, new_request, soon
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.core.errors import Outage
from tokensvc.core.nonces import NonceId
from tokensvc.ports import Outcome

LOAD_SECONDS = 120.0
"""For thousands of redemptions on a machine that does other things too."""

MOST_OUTAGES = 200
Answer = TypeVar("Answer")


def again(ask: Callable[[], Answer]) -> Answer:
    """As a client does, who is told to come back; the disk may make a machine of tests wait for long."""
    for _ in range(MOST_OUTAGES):
        try:
            return ask()
        except Outage:
            time.sleep(0.05)
    return ask()


@dataclass(frozen=True, slots=True)
class Spent:
    """A nonce that somebody was told is spent now, and when, in seconds of the monotonic clock."""

    nonce: NonceId
    at: float


@dataclass
class Load:
    """As a context manager it runs until it is left. Errors other than outages end a thread and are kept."""

    store: RedisNonces
    threads: int = 8
    make: Callable[[], NonceId] = new_nonce
    spent: list[Spent] = field(default_factory=list)
    outages: collections.Counter[str] = field(default_factory=collections.Counter)
    refused: collections.Counter[Outcome] = field(default_factory=collections.Counter)
    errors: list[BaseException] = field(default_factory=list)
    longest_call: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _running: list[threading.Thread] = field(default_factory=list)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._one()
        except BaseException as exc:  # noqa: BLE001 - handed on by __exit__
            self.errors.append(exc)

    def _one(self) -> None:
        nonce = self.make()
        began = time.monotonic()
        try:
            self.store.record(nonce, grant="g", until=soon(), request=new_request())
            recorded = time.monotonic()
            self.longest_call = max(self.longest_call, recorded - began)
            began = recorded
            outcome = self.store.redeem(nonce, request=new_request()).outcome
        except Outage as exc:
            self.longest_call = max(self.longest_call, time.monotonic() - began)
            self.outages[str(exc)] += 1
            self._stop.wait(0.02)
            return
        now = time.monotonic()
        self.longest_call = max(self.longest_call, now - began)
        if outcome is Outcome.SPENT:
            self.spent.append(Spent(nonce, now))
        else:
            self.refused[outcome] += 1

    def since(self, moment: float) -> list[Spent]:
        """What was spent after that moment."""
        return [one for one in list(self.spent) if one.at > moment]

    def longest_gap(self) -> float:
        """The longest time in seconds without a yes."""
        times = sorted(one.at for one in self.spent)
        return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)

    def spent_again(self) -> collections.Counter[Outcome]:
        """Ask for every spent nonce once more, each with a request of its own. There has to be no SPENT among it."""

        def ask(one: Spent) -> Outcome:
            return again(partial(self.store.redeem, one.nonce, request=new_request())).outcome

        with ThreadPoolExecutor(self.threads) as threads:
            return collections.Counter(threads.map(ask, self.spent))

    def figures(self) -> str:
        """What to print of it."""
        return (
            f"{len(self.spent)} redeemed, slowest call {self.longest_call:.2f} s, "
            f"{sum(self.outages.values())} outages {dict(self.outages)}, refused {dict(self.refused)}\n"
        )

    def __enter__(self) -> Self:
        self._running = [threading.Thread(target=self._run, daemon=True) for _ in range(self.threads)]
        for thread in self._running:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._running:
            thread.join()
        if self.errors and error is None:
            raise self.errors[0]
