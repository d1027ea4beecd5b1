"""One queue and one breaker for each server, so that a shard that is down holds up nobody whose nonces are elsewhere.

A server alone, or behind sentinels, is one lane: who follows the primary comes out of the same queue.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tokensvc.adapters.redis_client import Client, Cluster
from tokensvc.ports import Chance

from .breaker import Breaker
from .retries import RetryBudget


@dataclass(frozen=True, slots=True)
class Lane:
    """As many turns as there are connections, whether to ask at all, and how often again.

    A queue costs a twentieth of what a semaphore of Python's does.
    """

    turns: queue.SimpleQueue[None]
    breaker: Breaker
    retries: RetryBudget


class Lanes:
    """The lanes of a client. `monotonic` is in seconds. Safe between threads."""

    def __init__(
        self,
        client: Client,
        connections: int | None,
        monotonic: Callable[[], float],
        *,
        chance: Chance,
        retry_share: float,
    ) -> None:
        """`connections` to one server; unless given, what the client has. `retry_share` is that of `RetryBudget`."""
        self._cluster = client if isinstance(client, Cluster) else None
        if connections is None:
            own = client.connections if isinstance(client, Cluster) else client.connection_pool.max_connections
            connections = int(own)
        self._connections = connections
        self._monotonic = monotonic
        self._chance = chance
        self._retry_share = retry_share
        self._lanes: dict[str, Lane] = {}
        self._lock = threading.Lock()

    def owner(self, key: str) -> str:
        """The node of a cluster that has the key, as far as is known now: `host:port`, or nothing."""
        return "" if self._cluster is None else self._cluster.owner(key)

    def to_owner_of(self, key: str) -> Lane:
        """The lane to the server that has the key, as far as is known now."""
        owner = self.owner(key)
        lane = self._lanes.get(owner)
        if lane is not None:
            return lane
        with self._lock:
            breaker = Breaker(self._monotonic, self._chance)
            turns: queue.SimpleQueue[None] = queue.SimpleQueue()
            for _ in range(self._connections):
                turns.put(None)
            return self._lanes.setdefault(owner, Lane(turns, breaker, RetryBudget(self._retry_share)))
