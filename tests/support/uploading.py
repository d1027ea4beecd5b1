"""Clients that fetch a credential and upload with it, again and again, and never try anything twice."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from tests.support.service import Answer, Client

_PACE_SECONDS: Final = 0.05


@dataclass
class Uploading:
    """As a context manager it runs until it is left.

    `pause` is how many seconds each client waits between a credential and its upload, and after it; `may_ask` is asked
    before each request, as a balancer asks /readyz.
    """

    client: Client
    clients: int = 10
    pause: float = _PACE_SECONDS
    may_ask: Callable[[], bool] = lambda: True
    uploaded: list[Mapping[str, str]] = field(default_factory=list)
    refused: list[Answer] = field(default_factory=list)
    broken: list[Exception] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _running: list[threading.Thread] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """How many were made, nearly."""
        return 2 * len(self.uploaded) + len(self.refused) + len(self.broken)

    def _run(self) -> None:
        while not self._stop.is_set():
            if self.may_ask():
                try:
                    self._one()
                except (OSError, http.client.HTTPException) as exc:
                    self.broken.append(exc)
            self._stop.wait(self.pause)

    def _one(self) -> None:
        issued = self.client.issue()
        if issued.status != 200:
            self.refused.append(issued)
            return
        credential = {name: str(value) for name, value in issued.json.items()}
        self._stop.wait(self.pause)
        if not self.may_ask():
            return
        answer = self.client.upload(credential)
        if answer.status == 200:
            self.uploaded.append(credential)
        else:
            self.refused.append(answer)

    def wait_for(self, more: int, within_seconds: float = 60.0) -> None:
        """Go on until so many more uploads are done."""
        wanted, until = len(self.uploaded) + more, time.monotonic() + within_seconds
        while len(self.uploaded) < wanted:
            assert time.monotonic() < until, f"{wanted - len(self.uploaded)} are missing; {self.refused[-3:]}"
            time.sleep(0.01)

    def __enter__(self) -> Self:
        self._running = [threading.Thread(target=self._run) for _ in range(self.clients)]
        for thread in self._running:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._running:
            thread.join()
