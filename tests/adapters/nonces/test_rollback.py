"""A store that goes back in time and stays itself: the fence cannot tell, and whoever saw more can."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

import pytest
import redis

from tests.support.nonces import new_nonce, new_request, soon
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import fence
from tokensvc.adapters.nonces.rollback import Count, Counts
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.core.nonces import NonceId
from tokensvc.ports import Audit, Outcome


class Noted(Audit):
    """An audit that keeps the events."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def note(self, event: str, facts: Mapping[str, str | int | None]) -> None:
        del facts
        self.events.append(event)


@pytest.fixture
def client(valkey: Valkey) -> Iterator[redis.Redis]:
    with contextlib.closing(valkey.client()) as client:
        valkey.command("FLUSHALL")
        fence.initialise(client, 0, "epoch-00")
        yield client


def issued(store: RedisNonces) -> NonceId:
    nonce = new_nonce()
    assert store.record(nonce, grant="g", until=soon(), request=new_request()).recorded
    return nonce


def snapshot(client: redis.Redis) -> dict[bytes, bytes]:
    """Every key, as it is now."""
    return {key: client.dump(key) for key in client.scan_iter()}  # type: ignore[misc] # redis-py types answers of both its clients as one


def go_back(client: redis.Redis, then: Mapping[bytes, bytes]) -> None:
    """As a machine that is put back to a snapshot: the process, its id and its connections are the same."""
    for key in list(client.scan_iter()):
        client.delete(key)
    for key, value in then.items():
        client.restore(key, 0 if key.endswith((b":e", b":s")) else 60_000, value)


def test_what_was_spent_before_a_rollback_is_not_spent_again(client: redis.Redis) -> None:
    """The first to notice ends the epoch, and what it was told is no yes; then all is as after a failover."""
    noted = Noted()
    store, other = (RedisNonces(client, chance=os.urandom, audit=noted) for _ in range(2))
    nonces = [issued(store) for _ in range(3)]
    first = issued(store)
    assert store.redeem(first, request=new_request()).outcome is Outcome.SPENT
    then = snapshot(client)
    for nonce in nonces:
        assert store.redeem(nonce, request=new_request()).outcome is Outcome.SPENT
    go_back(client, then)
    for nonce in nonces:
        assert store.redeem(nonce, request=new_request()).outcome is Outcome.STALE
    assert noted.events == ["rollback_found", "epoch_changed"]
    for nonce in (*nonces, first):
        assert other.redeem(nonce, request=new_request()).outcome is Outcome.STALE
    for either in (store, other):
        assert either.redeem(issued(either), request=new_request()).outcome is Outcome.SPENT
    assert noted.events == ["rollback_found", "epoch_changed"]


def test_only_the_epoch_that_went_back_is_ended(client: redis.Redis) -> None:
    """Of two who notice, the second finds another epoch, which is good."""
    binding = fence.renew(client, 0, "epoch-01", ended="epoch-00")
    assert (binding.epoch, binding.bound, binding.written) == ("epoch-01", True, True)
    again = fence.renew(client, 0, "epoch-02", ended="epoch-00")
    assert (again.epoch, again.bound, again.written) == ("epoch-01", True, False)
    assert RedisNonces(client, chance=os.urandom, on_fence="wait").ready() == ()


def test_a_new_epoch_counts_from_the_start_and_is_no_rollback(client: redis.Redis) -> None:
    noted = Noted()
    store = RedisNonces(client, chance=os.urandom, audit=noted)
    for _ in range(3):
        assert store.redeem(issued(store), request=new_request()).outcome is Outcome.SPENT
    client.delete("ik{00}:e")
    assert store.redeem(issued(store), request=new_request()).outcome is Outcome.SPENT
    assert noted.events == ["epoch_changed"]


def test_crossing_off_is_counted_too(client: redis.Redis) -> None:
    store = RedisNonces(client, chance=os.urandom)
    then = snapshot(client)
    nonce = new_nonce()
    assert store.redeem(nonce, request=new_request(), cross_off_until=soon()).outcome is Outcome.SPENT
    go_back(client, then)
    assert store.redeem(nonce, request=new_request(), cross_off_until=soon()).outcome is Outcome.STALE


def test_answers_that_overtake_each_other_are_no_rollback() -> None:
    """Both had been put before either was answered."""
    counts = Counts()
    first, second = counts.before(0), counts.before(0)
    assert counts.goes_on(0, first, Count("e", 2))
    assert counts.goes_on(0, second, Count("e", 1))
    assert counts.before(0) == Count("e", 2)


@pytest.mark.parametrize(("number", "goes_on"), [(6, False), (7, False), (8, True), (9, True)])
def test_a_count_has_to_be_higher_than_the_one_known_before(number: int, goes_on: bool) -> None:
    counts = Counts()
    counts.goes_on(3, None, Count("e", 7))
    assert counts.goes_on(3, counts.before(3), Count("e", number)) is goes_on
    assert counts.goes_on(4, counts.before(4), Count("e", 1)), "another bucket"
    assert counts.goes_on(3, counts.before(3), Count("f", 1)), "another epoch"
