"""Ready means: record and redeem would work now, by clocks that agree."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping

import pytest
import redis

from tests.support.valkey import Valkey
from tokensvc.adapters.nonces.readiness import MOST_SKEW_SECONDS, SKEW_TOLD_SECONDS
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.core.errors import Outage
from tokensvc.ports import Audit

ROOM_SECONDS = 1
"""For the second that may end between our look at a clock and the store's."""


class Noted(Audit):
    """An audit that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, str | int | None]]] = []

    def note(self, event: str, facts: Mapping[str, str | int | None]) -> None:
        self.events.append((event, facts))


class Clock:
    """The store's clock, and some seconds."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return int(time.time()) + self.ahead


@pytest.fixture
def client(valkey: Valkey) -> Iterator[redis.Redis]:
    with contextlib.closing(valkey.client()) as client:
        yield client


@pytest.mark.parametrize("sign", [1, -1])
def test_clocks_that_differ_by_more_than_half_a_minute_make_it_unready(client: redis.Redis, sign: int) -> None:
    clock = Clock()
    store = RedisNonces(client, chance=os.urandom, clock=clock)
    for ahead in (0, MOST_SKEW_SECONDS - ROOM_SECONDS):
        clock.ahead = sign * ahead
        assert store.ready() == ()
    clock.ahead = sign * (MOST_SKEW_SECONDS + 1 + ROOM_SECONDS)
    with pytest.raises(Outage, match=r"clock and ours differ by 3[1-3] s"):
        store.ready()
    clock.ahead = 0
    assert store.ready() == ()


def test_a_small_difference_is_told_once_each_time_that_it_begins(client: redis.Redis) -> None:
    clock, noted = Clock(), Noted()
    store = RedisNonces(client, chance=os.urandom, clock=clock, audit=noted)
    store.ready()
    assert "clock_skewed" not in [event for event, _ in noted.events]
    for _ in range(2):
        clock.ahead = SKEW_TOLD_SECONDS + 1 + ROOM_SECONDS
        for _ in range(3):
            store.ready()
        clock.ahead = SKEW_TOLD_SECONDS - ROOM_SECONDS
        store.ready()
    told = [facts for event, facts in noted.events if event == "clock_skewed"]
    assert len(told) == 2
    assert all(facts["seconds"] in {3, 4} and facts["server"] is None for facts in told)


def test_a_store_whose_clock_is_not_compared_is_ready(client: redis.Redis) -> None:
    assert RedisNonces(client, chance=os.urandom).ready() == ()
