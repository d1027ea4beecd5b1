"""Puts questions to the store: in turn, not while it is silent, again within a budget, and after healing the fence.

Each is safe to repeat: it holds the request id by which the store knows it again.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import Final, Literal

from tokensvc.adapters.redis_client import Client
from tokensvc.core.errors import Outage, Unanswered
from tokensvc.ports import Audit, Chance

from . import fence, scripts
from .attempts import Answer, Attempts, Fenced, failure_of
from .keys import epoch_key
from .lanes import Lane, Lanes
from .retries import RETRY_SHARE

TURN_SECONDS: Final = 10.0
"""The longest queue that a burst may make. A store that is silent empties it at once, by the breaker."""

Observe = Callable[[str, float, bool], None]
"""Told of each question: the script's name, the seconds it took with all its tries, and whether it was answered."""

_SILENT: Final = "The nonce store has not answered for a while."
_CROWDED: Final = "More requests wait for the nonce store than it answers."


class Questions:
    """What `RedisNonces` asks, whatever it asks. For the arguments see there."""

    def __init__(
        self,
        client: Client,
        *,
        chance: Chance,
        connections: int | None = None,
        on_fence: Literal["rotate", "wait"] = "rotate",
        retry_share: float = RETRY_SHARE,
        audit: Audit | None = None,
        observe: Observe | None = None,
        sleep: Callable[[float], None] | None = None,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self._client = client
        self._audit, self._observe = audit, observe
        self._chance = chance
        # Looked up here and not as defaults: gevent replaces them, after this module was imported.
        self._monotonic = monotonic or time.monotonic
        self._rotates = on_fence == "rotate"
        self._lanes = Lanes(client, connections, self._monotonic, chance=chance, retry_share=retry_share)
        self._attempts = Attempts(
            chance, patient=on_fence == "wait", sleep=sleep or time.sleep, monotonic=self._monotonic
        )

    def put(self, script: scripts.Script, bucket: int, keys: list[str], arguments: list[str]) -> list[str]:
        """Return the store's answer, or raise an outage; `Unanswered` if it gave none."""
        return self._in_turn(keys[0], script.name, self._question(script, bucket, keys, arguments))

    def renew(self, bucket: int, ended: str) -> fence.Binding:
        """End an epoch that is bound to the server, or raise an outage."""
        key, new_epoch = epoch_key(bucket), fence.choose_epoch(self._chance)
        return self._in_turn(key, scripts.HEAL.name, lambda: fence.renew(self._client, bucket, new_epoch, ended=ended))

    def server_of(self, bucket: int) -> str:
        """The node of a cluster that has the bucket, as far as is known now: `host:port`, or nothing."""
        return self._lanes.owner(epoch_key(bucket))

    def apart_from(self, bucket: int, buckets: int) -> frozenset[int]:
        """The buckets that are known to be on another server than this one is."""
        here = self.server_of(bucket)
        return frozenset(other for other in range(buckets) if self.server_of(other) not in {"", here})

    def outage(self, detail: str) -> Outage:
        """An outage that asks each caller to come back at another moment."""
        return self._attempts.outage(detail)

    def _in_turn(self, key: str, name: str, ask: Callable[[], Answer]) -> Answer:
        lane = self._lanes.to_owner_of(key)
        # No more at once than there are connections: who waits here for a turn has no time-out running yet.
        self._await_turn(lane)
        try:
            if not lane.breaker.lets_through():
                raise self._attempts.outage(_SILENT, Unanswered)
            return self._now(lane, name, ask)
        finally:
            lane.turns.put(None)

    def _await_turn(self, lane: Lane) -> None:
        try:
            lane.turns.get(timeout=TURN_SECONDS)
        except queue.Empty:
            try:  # in a loop that stood still, it may have come together with the end
                lane.turns.get_nowait()
            except queue.Empty:
                raise self._attempts.outage(_CROWDED) from None

    def _now(self, lane: Lane, name: str, ask: Callable[[], Answer]) -> Answer:
        started, answered = self._monotonic(), True
        lane.retries.asked()
        try:
            answer = self._attempts.make(ask, lane.retries.take)
        except Unanswered as exc:
            answered = False
            if lane.breaker.failed(failure_of(exc.__cause__)) and self._audit is not None:
                self._audit.note("breaker_opened", {})
            raise
        except Outage:  # it answered, if only that it is full: others may well be served
            lane.breaker.answered()
            raise
        finally:
            if self._observe is not None:
                self._observe(name, self._monotonic() - started, answered)
        lane.breaker.answered()
        return answer

    def _question(
        self, script: scripts.Script, bucket: int, keys: list[str], arguments: list[str]
    ) -> Callable[[], list[str]]:
        def ask() -> list[str]:
            answer = script.run(self._client, keys, arguments)
            if answer == ["fenced"] and self._rotates:
                binding = fence.rotate(self._client, bucket, fence.choose_epoch(self._chance))
                if binding.written and self._audit is not None:
                    self._audit.note("epoch_changed", {"epoch": binding.epoch})
                answer = script.run(self._client, keys, arguments)
            if answer == ["fenced"]:
                raise Fenced
            if answer == ["hidden"]:
                raise Outage(fence.HIDDEN)
            return answer

        return ask
