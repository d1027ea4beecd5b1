"""What is counted of a subject: exactly, once, and in the same step as the record."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.nonces import new_nonce, new_nonces, new_request, record_all, soon, value_at
from tests.support.processes import until
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import fence, scripts
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core.errors import Outage
from tokensvc.core.nonces import NonceId
from tokensvc.core.profiles import Rate
from tokensvc.core.quotas import DAY_SECONDS, Quota
from tokensvc.core.uses import SpendMode, Uses
from tokensvc.ports import Outcome, Recording, RecordOutcome

CLIENTS, THREADS = 4, 100


@pytest.fixture
def client(valkey: Valkey) -> Iterator[redis.Redis]:
    with contextlib.closing(valkey.client()) as client:
        yield client


@pytest.fixture
def store(client: redis.Redis) -> RedisNonces:
    return RedisNonces(client, chance=os.urandom)


def some_quota(*, rate: Rate | None = None, per_day: int | None = None, outstanding: int | None = None) -> Quota:
    """Of a subject that no other test has."""
    return Quota(new_request(), rate, per_day, outstanding)


def record(
    store: RedisNonces, quota: Quota | None, *, nonce: NonceId | None = None, until: int | None = None
) -> Recording:
    return store.record(nonce or new_nonce(), grant="g", until=until or soon(), request=new_request(), quota=quota)


def keys_of(client: redis.Redis, quota: Quota) -> set[str]:
    return {key.decode().partition(quota.subject_id)[2] for key in client.scan_iter(f"*{quota.subject_id}*")}


@pytest.mark.alone
@pytest.mark.parametrize("limits", [{"outstanding": 10}, {"per_day": 10}, {"rate": Rate(10, 3600)}])
def test_of_a_hundred_at_once_exactly_as_many_are_recorded_as_the_limit_says(
    valkey: Valkey, limits: dict[str, Any]
) -> None:
    quota, start = some_quota(**limits), threading.Barrier(THREADS)
    with contextlib.ExitStack() as clients, ThreadPoolExecutor(THREADS) as threads:
        stores = [
            RedisNonces(clients.enter_context(contextlib.closing(valkey.client(connections=8))), chance=os.urandom)
            for _ in range(CLIENTS)
        ]

        def race(thread: int) -> Recording:
            start.wait()
            return record(stores[thread % CLIENTS], quota)

        recordings = list(threads.map(race, range(THREADS)))
    assert sum(recording.recorded for recording in recordings) == 10
    assert {recording.limit for recording in recordings} == {*limits}
    assert {recording.remaining for recording in recordings if recording.recorded} == set(range(10))


def test_the_sixty_first_in_the_minute_is_refused_and_nothing_of_it_is_kept(
    client: redis.Redis, store: RedisNonces
) -> None:
    quota = some_quota(rate=Rate(60, 60))
    assert [record(store, quota).remaining for _ in range(60)] == list(range(59, -1, -1))
    nonce = new_nonce()
    refused = record(store, quota, nonce=nonce)
    assert (refused.outcome, refused.limit) == (RecordOutcome.RATE_LIMITED, "rate")
    assert 50 < refused.retry_after <= 60
    assert not client.exists(f"ik{{00}}:n:{nonce}")
    assert client.zcard(f"ik{{00}}:q:{quota.subject_id}:c") == 60


def test_a_request_writes_no_more_than_its_record_and_its_counts(client: redis.Redis, store: RedisNonces) -> None:
    """What a count's key lives until is written once a second, and what is written is synced to the disk."""
    quota, until = some_quota(rate=Rate(1000, 600), per_day=1000, outstanding=1000), soon()
    written = []
    for _ in range(20):
        before = client.info("persistence")["rdb_changes_since_last_save"]
        assert record(store, quota, until=until).recorded
        written.append(client.info("persistence")["rdb_changes_since_last_save"] - before)
    assert sorted(written)[10] == 4


def test_the_window_slides(store: RedisNonces) -> None:
    """One is let in when, and only when, the first of the last five is a second old."""
    quota = some_quota(rate=Rate(5, 1))
    times: list[tuple[float, float]] = []
    while len(times) < 12:
        before = time.monotonic()
        if (recording := record(store, quota)).recorded:
            times.append((before, time.monotonic()))
            time.sleep(0.03)
        else:
            assert recording.retry_after == 1
            time.sleep(0.01)
    for (first, _), (_, sixth) in zip(times, times[5:], strict=False):
        assert sixth - first > 1
    for (_, first), (sixth, _) in zip(times, times[5:], strict=False):
        assert sixth - first < 1.5


def test_a_rate_that_was_lowered_counts_what_was_recorded_before(store: RedisNonces) -> None:
    subject = new_request()
    assert all(record(store, Quota(subject, Rate(3, 1))).recorded for _ in range(3))
    assert record(store, Quota(subject, Rate(1, 1))).limit == "rate"
    until(lambda: record(store, Quota(subject, Rate(1, 1))).recorded, "the window to pass")


def test_the_wait_is_until_enough_have_ended_and_not_only_the_first(client: redis.Redis, store: RedisNonces) -> None:
    subject, now = new_request(), int(client.time()[0])
    for ends in (300, 100, 200):
        assert record(store, Quota(subject, outstanding=3), until=now + ends).recorded
    waits = {limit: record(store, Quota(subject, outstanding=limit)).retry_after for limit in (3, 2, 1)}
    assert {limit: round(wait, -2) for limit, wait in waits.items()} == {3: 100, 2: 200, 1: 300}


def test_a_day_begins_at_midnight_utc(client: redis.Redis, store: RedisNonces) -> None:
    quota = some_quota(per_day=2)
    now = int(client.time()[0])
    key, today = f"ik{{00}}:q:{quota.subject_id}:d", now // DAY_SECONDS
    assert [record(store, quota).remaining for _ in range(2)] == [1, 0]
    refused = record(store, quota)
    assert (refused.outcome, refused.limit) == (RecordOutcome.QUOTA_EXCEEDED, "per_day")
    assert refused.retry_after in range((today + 1) * DAY_SECONDS - now - 5, (today + 1) * DAY_SECONDS - now + 1)
    assert client.get(key) == f"{today}:2".encode()
    assert client.expiretime(key) == (today + 1) * DAY_SECONDS
    client.set(key, f"{today - 1}:2")
    assert record(store, quota).remaining == 1


@pytest.mark.parametrize("ending", ["redeemed", "revoked"])
def test_what_is_spent_or_revoked_is_not_outstanding(store: RedisNonces, ending: str) -> None:
    quota, nonces = some_quota(outstanding=2), [new_nonce(), new_nonce()]
    assert [record(store, quota, nonce=nonce).remaining for nonce in nonces] == [1, 0]
    assert record(store, quota).limit == "outstanding"
    if ending == "redeemed":
        assert store.redeem(nonces[0], request=new_request()).outcome is Outcome.SPENT
        assert store.redeem(nonces[0], request=new_request()).outcome is Outcome.REPLAYED
    else:
        assert [store.revoke(nonces[0], actor="ops") for _ in range(2)] == [Outcome.REVOKED] * 2
    assert [record(store, quota).recorded for _ in range(2)] == [True, False]


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("spend", ["on-attempt", "on-success"])
def test_one_with_uses_is_outstanding_until_its_last_use_is_spent(
    store: RedisNonces, spend: SpendMode, batch: bool
) -> None:
    quota, nonce, uses = some_quota(outstanding=1), new_nonce(), Uses(2, spend)
    if batch:
        assert record_all(store, [nonce], quota=quota, uses=uses).recorded
    else:
        assert store.record(nonce, grant="g", until=soon(), request=new_request(), quota=quota, uses=uses).recorded
    first, second = new_request(), new_request()
    for request in (first, second):
        assert record(store, quota).limit == "outstanding"
        store.redeem(nonce, request=request, lease=600)
        if spend == "on-success":
            assert record(store, quota).limit == "outstanding"
            store.commit(nonce, request=request)
        store.finish(nonce, request=request, result="file")
    assert record(store, quota).recorded


def test_one_with_uses_that_is_revoked_is_not_outstanding(store: RedisNonces) -> None:
    quota, nonce = some_quota(outstanding=1), new_nonce()
    store.record(nonce, grant="g", until=soon(), request=new_request(), quota=quota, uses=Uses(3))
    store.redeem(nonce, request=new_request())
    store.revoke(nonce, actor="ops")
    assert record(store, quota).recorded


def test_a_claim_that_is_given_back_is_still_outstanding(store: RedisNonces) -> None:
    quota, nonce, request = some_quota(outstanding=1), new_nonce(), new_request()
    store.record(nonce, grant="g", until=soon(), request=new_request(), quota=quota, uses=Uses(1, "on-success"))
    store.redeem(nonce, request=request, lease=600)
    store.release(nonce, request=request)
    assert record(store, quota).limit == "outstanding"
    store.redeem(nonce, request=request)
    assert record(store, quota).recorded


def test_the_grant_is_the_same_whether_it_counts_as_outstanding_or_not(store: RedisNonces) -> None:
    nonce, request = new_nonce(), new_request()
    store.record(nonce, grant="a:b", until=soon(), request=new_request(), quota=some_quota(outstanding=1))
    assert [store.redeem(nonce, request=request).grant for _ in range(2)] == ["a:b", "a:b"]


def test_what_expires_is_not_outstanding(client: redis.Redis, store: RedisNonces) -> None:
    """From the second in which its record ends, and not before; of more than one the next that ends is waited for."""
    quota, nonce, ends_at = some_quota(outstanding=2), new_nonce(), int(client.time()[0]) + 2
    assert record(store, quota, nonce=nonce, until=ends_at).recorded
    assert record(store, quota, until=ends_at + 600).recorded
    refused = record(store, quota)
    assert (refused.outcome, refused.limit) == (RecordOutcome.QUOTA_EXCEEDED, "outstanding")
    assert refused.retry_after in {1, 2}
    until(lambda: record(store, quota).recorded, "the first to expire")
    until(lambda: not client.exists(f"ik{{00}}:n:{nonce}"), "the end of that millisecond")
    assert int(client.time()[0]) >= ends_at
    assert record(store, quota).limit == "outstanding"


def test_what_lasts_longest_is_said_first(store: RedisNonces) -> None:
    subject = new_request()
    assert record(store, Quota(subject, Rate(1, 60), 1, 1)).remaining == 0
    assert record(store, Quota(subject, Rate(1, 60), 1, 1)).limit == "per_day"
    assert record(store, Quota(subject, Rate(1, 60), 2, 1)).limit == "outstanding"
    assert record(store, Quota(subject, Rate(1, 60), 2, 2)).limit == "rate"
    assert record(store, Quota(subject, Rate(2, 60), 2, 3)).remaining == 0


def test_the_limit_with_the_fewest_left_is_said_and_of_equals_the_one_that_refuses_longest(store: RedisNonces) -> None:
    for rate, per_day, outstanding, nearest in [
        (2, 3, 4, "rate"),
        (3, 2, 4, "per_day"),
        (4, 3, 2, "outstanding"),
        (2, 2, 2, "per_day"),
        (2, 3, 2, "outstanding"),
    ]:
        quota = some_quota(rate=Rate(rate, 60), per_day=per_day, outstanding=outstanding)
        recordings = [
            record(store, quota),
            record_all(store, new_nonces(1), quota=quota),
        ]
        assert [(one.limit, one.remaining) for one in recordings] == [(nearest, 1), (nearest, 0)]


def test_what_one_limit_refuses_no_other_counts(client: redis.Redis, store: RedisNonces) -> None:
    quota = some_quota(rate=Rate(1, 600), per_day=5, outstanding=5)
    assert record(store, quota).recorded
    assert {record(store, quota).limit for _ in range(9)} == {"rate"}
    assert value_at(client, f"ik{{00}}:q:{quota.subject_id}:d").endswith(":1")
    assert {client.zcard(key) for key in client.scan_iter(f"*{quota.subject_id}:[co]*")} == {1}


def test_the_same_request_counts_once_and_is_a_yes_when_the_quota_is_used_up(store: RedisNonces) -> None:
    quota, nonce, request = some_quota(rate=Rate(2, 600), per_day=2, outstanding=2), new_nonce(), new_request()
    repeated = [store.record(nonce, grant="g", until=soon(), request=request, quota=quota) for _ in range(5)]
    assert [recording.recorded for recording in repeated] == [True] * 5
    assert [recording.remaining for recording in repeated] == [1, None, None, None, None]
    assert record(store, quota).remaining == 0
    assert store.record(nonce, grant="g", until=soon(), request=request, quota=quota).recorded


def test_what_exists_counts_nothing_and_is_said_to_exist_when_the_quota_is_used_up(store: RedisNonces) -> None:
    quota, nonce = some_quota(rate=Rate(2, 600), per_day=2, outstanding=2), new_nonce()
    assert record(store, quota, nonce=nonce).recorded
    assert {record(store, quota, nonce=nonce).outcome for _ in range(5)} == {RecordOutcome.EXISTS}
    assert record(store, quota).remaining == 0
    assert record(store, quota, nonce=nonce).outcome is RecordOutcome.EXISTS


def test_a_nonce_that_is_recorded_again_after_its_end_counts_again(client: redis.Redis, store: RedisNonces) -> None:
    """A client may choose its v1 token, and the rate's window may be longer than a record's life."""
    quota, nonce = some_quota(rate=Rate(2, 600)), new_nonce()
    ends_at = int(client.time()[0]) + 1
    assert record(store, quota, nonce=nonce, until=ends_at).remaining == 1
    until(lambda: not client.exists(f"ik{{00}}:n:{nonce}"), "the record to end")
    assert record(store, quota, nonce=nonce).remaining == 0
    assert record(store, quota).limit == "rate"


def test_what_the_clocks_forbid_counts_nothing(store: RedisNonces) -> None:
    quota = some_quota(rate=Rate(1, 600), per_day=1, outstanding=1)
    with pytest.raises(Outage, match="compare the clocks"):
        record(store, quota, until=int(time.time()) - 1)
    assert record(store, quota).recorded


def test_lost_replies_count_once(valkey: Valkey) -> None:
    """A hundred are recorded where a hundred may be, though each was recorded by an attempt that nobody heard of."""
    for script in (scripts.RECORD, scripts.REDEEM):
        valkey.command("SCRIPT", "LOAD", script.text)
    quota, nonces = some_quota(rate=Rate(100, 600), per_day=100, outstanding=50), [new_nonce() for _ in range(50)]
    with FaultProxy(valkey.socket) as proxy, contextlib.closing(connect(proxy.url, connections=1)) as client:
        store = RedisNonces(client, chance=os.urandom, sleep=lambda _seconds: None, retry_share=3.0)
        store.ready()
        proxy.inject(Fault.DROP_REPLY, matching=b"EVALSHA", when=lambda k: k % 2 == 1)
        assert all(record(store, quota, nonce=nonce).recorded for nonce in nonces)
        assert record(store, quota).limit == "outstanding"
        assert {store.redeem(nonce, request=new_request()).outcome for nonce in nonces} == {Outcome.SPENT}
        assert all(record(store, quota).recorded for _ in range(50))
        assert record(store, quota).limit == "per_day"
        assert proxy.injected >= 150


def test_subjects_are_counted_apart(store: RedisNonces) -> None:
    assert all(record(store, some_quota(outstanding=1)).recorded for _ in range(5))


def test_without_a_quota_nothing_is_counted_and_the_store_does_no_more_than_it_must() -> None:
    """It asks who it is, reads the epoch and the time, and writes the record."""
    empty = some_quota()
    with Valkey() as own, contextlib.closing(own.client(connections=1)) as client:
        store = RedisNonces(client, chance=os.urandom)
        record(store, some_quota(outstanding=1))
        own.command("CONFIG", "RESETSTAT")
        assert record(store, None) == record(store, empty) == Recording(RecordOutcome.RECORDED)
        stats = client.info("commandstats")
        calls = {name: stats[f"cmdstat_{name}"]["calls"] / 2 for name in ("evalsha", "info", "get", "time", "set")}
        assert calls == {"evalsha": 1, "info": 1, "get": 1, "time": 1, "set": 1}
        assert not any(f"cmdstat_{name}" in stats for name in ("eval", "zadd", "zcard", "zremrangebyscore"))
        assert keys_of(client, empty) == set()


def test_a_quota_is_counted_in_one_round_trip() -> None:
    with Valkey() as own, contextlib.closing(own.client(connections=1)) as client:
        store = RedisNonces(client, chance=os.urandom)
        record(store, None)
        own.command("CONFIG", "RESETSTAT")
        assert record(store, some_quota(rate=Rate(5, 60), per_day=5, outstanding=5)).recorded
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 1


def test_every_count_ends_by_itself(client: redis.Redis, store: RedisNonces) -> None:
    quota, until = some_quota(rate=Rate(5, 30), per_day=5, outstanding=5), soon()
    for late in (0, 60, 30):
        record(store, quota, until=until + late)
    (outstanding,) = client.scan_iter(f"*{quota.subject_id}:o:*")
    assert client.expiretime(outstanding) == until + 60
    assert 28 <= client.ttl(f"ik{{00}}:q:{quota.subject_id}:c") <= 31
    assert client.ttl(f"ik{{00}}:q:{quota.subject_id}:d") > 0
    assert len(keys_of(client, quota)) == 3


def test_no_more_entries_are_kept_than_a_limit_counts(client: redis.Redis, store: RedisNonces) -> None:
    """That is the bound of what a subject takes of the store's memory, with the size of an entry."""
    quota = some_quota(rate=Rate(200, 600), outstanding=200)
    for _ in range(250):
        record(store, quota)
    sets = list(client.scan_iter(f"*{quota.subject_id}:[co]*"))
    assert [client.zcard(key) for key in sets] == [200, 200]
    assert all(0 < (client.memory_usage(key) or 0) < 200 * 150 for key in sets)


def test_counts_outlive_a_restart_that_lost_nothing() -> None:
    quota, nonce = some_quota(rate=Rate(9, 600), per_day=9, outstanding=2), new_nonce()
    with Valkey(appendonly="yes") as own, contextlib.closing(own.client()) as client:
        store = RedisNonces(client, chance=os.urandom)
        assert record(store, quota, nonce=nonce).recorded
        own.restart()
        fence.rebind(client, 0, "epoch-01")
        assert record(store, quota).remaining == 0
        assert record(store, quota).limit == "outstanding"
        assert store.redeem(nonce, request=new_request()).outcome is Outcome.SPENT
        assert record(store, quota).recorded


def test_what_became_stale_is_not_outstanding_and_still_counts_as_issued() -> None:
    """Clients have to fetch others, and may."""
    quota = some_quota(rate=Rate(9, 600), per_day=3, outstanding=2)
    with Valkey(appendonly="yes") as own, contextlib.closing(own.client()) as client:
        store = RedisNonces(client, chance=os.urandom)
        stale = [new_nonce(), new_nonce()]
        assert all(record(store, quota, nonce=nonce).recorded for nonce in stale)
        assert record(store, quota).limit == "outstanding"
        own.restart()
        assert record(store, quota).remaining == 0
        assert store.redeem(stale[0], request=new_request()).outcome is Outcome.STALE
        assert record(store, quota).limit == "per_day"
        assert len(list(client.scan_iter(f"*{quota.subject_id}:o:*"))) == 2
        assert all(client.ttl(key) > 0 for key in client.scan_iter(f"*{quota.subject_id}*"))


def test_a_full_store_counts_nothing_and_what_is_spent_still_stops_being_outstanding() -> None:
    quota, nonce = some_quota(rate=Rate(5, 600), per_day=5, outstanding=1), new_nonce()
    with Valkey(maxmemory="12mb", maxmemory_policy="noeviction") as own, contextlib.closing(own.client()) as client:
        store = RedisNonces(client, chance=os.urandom)
        assert record(store, quota, nonce=nonce).remaining == 0
        own.command("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(Outage, match="is full"):
            record(store, quota)
        assert store.redeem(nonce, request=new_request()).outcome is Outcome.SPENT
        own.command("CONFIG", "SET", "maxmemory", "0")
        assert value_at(client, f"ik{{00}}:q:{quota.subject_id}:d").endswith(":1")
        assert record(store, quota).recorded


@pytest.mark.parametrize("what", ["c", "d", "o"])
def test_a_count_that_cannot_be_read_is_an_outage_and_no_record(
    client: redis.Redis, store: RedisNonces, what: str
) -> None:
    store.ready()
    quota, nonce = some_quota(rate=Rate(5, 600), per_day=5, outstanding=5), new_nonce()
    epoch = value_at(client, "ik{00}:e").partition(":")[2]
    client.hset(f"ik{{00}}:q:{quota.subject_id}:{what}{':' + epoch if what == 'o' else ''}", "no", "count")
    with pytest.raises(Outage, match="answered with an error"):
        record(store, quota, nonce=nonce)
    assert not client.exists(f"ik{{00}}:n:{nonce}")


def test_a_count_that_cannot_be_changed_does_not_keep_anybody_from_spending(
    client: redis.Redis, store: RedisNonces
) -> None:
    quota, spent, revoked = some_quota(outstanding=5), new_nonce(), new_nonce()
    for nonce in (spent, revoked):
        assert record(store, quota, nonce=nonce).recorded
    (key,) = client.scan_iter(f"*{quota.subject_id}:o:*")
    client.set(key, "no set")
    assert store.redeem(spent, request=new_request()).outcome is Outcome.SPENT
    assert store.revoke(revoked, actor="ops") is Outcome.REVOKED


def test_a_record_of_a_version_that_counted_nothing_is_redeemed(client: redis.Redis, store: RedisNonces) -> None:
    """Two versions run at once while the service is deployed; the other one's records have no subject."""
    store.ready()
    nonce = new_nonce()
    epoch = value_at(client, "ik{00}:e").partition(":")[2]
    client.set(f"ik{{00}}:n:{nonce}", f"I:{epoch}:{new_request()}:a:b", ex=60)
    assert store.redeem(nonce, request=new_request()).grant == "a:b"
