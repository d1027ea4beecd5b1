"""What is left of a quota: as record would count it, and without a trace of having been asked."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.nonces import new_nonce, new_request, soon
from tests.support.processes import until
from tests.support.valkey import APP_RIGHTS, Valkey
from tokensvc.adapters.nonces import fence
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core.errors import Outage
from tokensvc.core.profiles import Rate
from tokensvc.core.quotas import Quota, Remaining

NOBODY = Remaining()


@pytest.fixture
def client(valkey: Valkey) -> Iterator[redis.Redis]:
    with contextlib.closing(valkey.client()) as client:
        yield client


@pytest.fixture
def store(client: redis.Redis) -> RedisNonces:
    return RedisNonces(client, chance=os.urandom)


def record(store: RedisNonces, quota: Quota, until: int | None = None) -> str:
    nonce = new_nonce()
    assert store.record(nonce, grant="g", until=until or soon(), request=new_request(), quota=quota).recorded
    return nonce


def test_each_limit_says_what_is_left_of_it(store: RedisNonces) -> None:
    quota = Quota(new_request(), Rate(5, 60), 7, 3)
    assert store.remaining(quota) == Remaining(5, 7, 3)
    record(store, quota)
    assert store.remaining(quota) == Remaining(4, 6, 2)


@pytest.mark.parametrize(
    ("quota", "left"),
    [
        (Quota("s" * 22), NOBODY),
        (Quota("s" * 22, rate=Rate(5, 60)), Remaining(rate=5)),
        (Quota("s" * 22, per_day=5), Remaining(per_day=5)),
        (Quota("s" * 22, outstanding=5), Remaining(outstanding=5)),
    ],
)
def test_what_is_no_limit_is_none(store: RedisNonces, quota: Quota, left: Remaining) -> None:
    assert store.remaining(quota) == left


def test_a_limit_that_was_lowered_leaves_nothing_and_not_less(store: RedisNonces) -> None:
    subject = new_request()
    for _ in range(3):
        record(store, Quota(subject, Rate(9, 60), 9, 9))
    assert store.remaining(Quota(subject, Rate(2, 60), 2, 2)) == Remaining(0, 0, 0)


def test_to_ask_changes_nothing(client: redis.Redis, store: RedisNonces) -> None:
    quota = Quota(new_request(), Rate(5, 60), 7, 3)
    record(store, quota, until=int(client.time()[0]) + 30)
    keys = sorted(client.scan_iter(f"*{quota.subject_id}*"))
    assert len(keys) == 3
    before = [(client.dump(key), client.pexpiretime(key)) for key in keys]
    for _ in range(3):
        store.remaining(quota)
    assert sorted(client.scan_iter(f"*{quota.subject_id}*")) == keys
    assert [(client.dump(key), client.pexpiretime(key)) for key in keys] == before


def test_to_ask_for_somebody_new_leaves_nothing(client: redis.Redis, store: RedisNonces) -> None:
    quota = Quota(new_request(), Rate(5, 60), 7, 3)
    store.remaining(quota)
    assert not list(client.scan_iter(f"*{quota.subject_id}*"))


def test_what_has_ended_does_not_count(client: redis.Redis, store: RedisNonces) -> None:
    """One outstanding credential has ended and one has not; both are of the rate's window, until it passes."""
    quota, now = Quota(new_request(), Rate(5, 1), outstanding=5), int(client.time()[0])
    record(store, quota, until=now + 2)
    record(store, quota, until=now + 600)
    assert store.remaining(quota) == Remaining(3, None, 3)
    until(lambda: store.remaining(quota) == Remaining(5, None, 4), "a window and a credential to end")


def test_what_ends_this_second_has_ended(client: redis.Redis, store: RedisNonces) -> None:
    """As record counts; so it is looked at within that very second."""
    quota = Quota(new_request(), outstanding=5)
    record(store, quota)
    (key,) = client.scan_iter(f"*{quota.subject_id}*")

    def seen_within_the_second() -> bool:
        second = client.time()[0]
        client.zadd(key, {"x" * 22: second})
        left = store.remaining(quota)
        if client.time()[0] != second:
            return False
        assert left.outstanding == 4
        return True

    until(seen_within_the_second)


def test_the_count_of_yesterday_is_not_today_s(client: redis.Redis, store: RedisNonces) -> None:
    quota, today = Quota(new_request(), per_day=5), int(client.time()[0]) // 86_400
    key = f"ik{{00}}:q:{quota.subject_id}:d"
    client.set(key, f"{today - 1}:5", ex=60)
    assert store.remaining(quota) == Remaining(per_day=5)
    client.set(key, f"{today}:4", ex=60)
    assert store.remaining(quota) == Remaining(per_day=1)


def test_what_is_spent_is_not_outstanding(store: RedisNonces) -> None:
    quota = Quota(new_request(), outstanding=5)
    nonce = new_nonce()
    store.record(nonce, grant="g", until=soon(), request=new_request(), quota=quota)
    assert store.remaining(quota).outstanding == 4
    store.redeem(nonce, request=new_request())
    assert store.remaining(quota).outstanding == 5


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limits=st.tuples(*[st.one_of(st.none(), st.integers(1, 4))] * 3),
    asked=st.integers(0, 5),
)
def test_as_many_as_are_left_are_recorded_and_no_more(
    store: RedisNonces, limits: tuple[int | None, int | None, int | None], asked: int
) -> None:
    rate, per_day, outstanding = limits
    quota = Quota(new_request(), None if rate is None else Rate(rate, 3600), per_day, outstanding)

    def ask() -> bool:
        return store.record(new_nonce(), grant="g", until=soon(), request=new_request(), quota=quota).recorded

    for _ in range(asked):
        ask()
    counts = [count for count in _counts(store.remaining(quota)) if count is not None]
    if not counts:
        assert limits == (None, None, None)
        return
    assert [ask() for _ in range(min(counts) + 1)] == [True] * min(counts) + [False]


def _counts(left: Remaining) -> tuple[int | None, ...]:
    return (left.rate, left.per_day, left.outstanding)


def test_of_several_buckets_it_is_the_least(client: redis.Redis) -> None:
    store, quota = RedisNonces(client, chance=os.urandom, buckets=2), Quota(new_request(), per_day=5)
    record(store, quota)
    assert store.remaining(quota) == Remaining(per_day=4)


def test_whoever_may_only_do_what_the_service_needs_may_ask(valkey: Valkey, client: redis.Redis) -> None:
    valkey.command("ACL", "SETUSER", "asker", "reset", "on", ">asker-password", *APP_RIGHTS.split())
    fence.initialise(client, 0, "epoch-00")
    with contextlib.closing(connect(valkey.url_as("asker", "asker-password"), connections=1)) as few:
        store = RedisNonces(few, chance=os.urandom, on_fence="wait")
        assert store.remaining(Quota(new_request(), Rate(5, 60), 7, 3)) == Remaining(5, 7, 3)


def test_a_full_store_still_answers() -> None:
    with Valkey(maxmemory="3mb", maxmemory_policy="noeviction") as own, contextlib.closing(own.client()) as client:
        store, quota = RedisNonces(client, chance=os.urandom), Quota(new_request(), per_day=5)
        record(store, quota)
        client.config_set("maxmemory", "1")
        with pytest.raises(Outage):
            record(store, quota)
        assert store.remaining(quota) == Remaining(per_day=4)


def test_a_store_that_was_replaced_has_nothing_outstanding_and_the_rest_as_it_was() -> None:
    with Valkey() as own, contextlib.closing(own.client()) as client:
        store, quota = RedisNonces(client, chance=os.urandom), Quota(new_request(), Rate(5, 60), 5, 5)
        record(store, quota)
        client.set("ik{00}:e", f"{'0' * 40}:epoch-of-another")
        assert store.remaining(quota) == Remaining(4, 4, 5)
