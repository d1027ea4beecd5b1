"""Recording many at once: all or none, whatever happens to the reply, and with the least rights."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.nonces import new_nonces, new_request, record_all, soon, store_on
from tests.support.processes import until
from tests.support.valkey import APP_RIGHTS, Valkey, patient
from tokensvc.adapters.nonces import scripts
from tokensvc.adapters.nonces.arguments import batch_texts
from tokensvc.adapters.nonces.keys import bucket_of, nonce_key
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core.errors import Outage
from tokensvc.core.nonces import NonceId
from tokensvc.core.profiles import Rate
from tokensvc.core.quotas import Quota
from tokensvc.ports import Outcome, Recording, RecordOutcome


@pytest.mark.parametrize("buckets", [1, 4])
def test_each_record_ends_at_its_own_time(valkey: Valkey, buckets: int) -> None:
    with store_on(valkey, buckets=buckets) as store:
        for ends in ([soon()] * 20, [soon() + place % 7 for place in range(20)]):
            batch, counted = new_nonces(20), quota(outstanding=99) if buckets == 1 else None
            assert record_all(store, batch, untils=ends, quota=counted).recorded
            keys = [nonce_key(nonce, bucket_of(nonce, buckets)) for nonce in batch]
            assert [valkey.command("EXPIRETIME", key) for key in keys] == ends


@pytest.mark.parametrize("buckets", [1, 4])
@pytest.mark.parametrize("odd", ["", "a" * 21, "a" * 23, "a" * 21 + "}", "a" * 22 + "\n", f"{'a' * 22},{'a' * 22}"])
def test_what_is_no_nonce_id_is_a_mistake_wherever_it_is(valkey: Valkey, buckets: int, odd: str) -> None:
    with store_on(valkey, buckets=buckets) as store:
        for place in range(3):
            batch = new_nonces(2)
            batch.insert(place, NonceId(odd))
            with pytest.raises(ValueError, match="22 URL-safe characters"):
                record_all(store, batch)


@pytest.fixture(params=["rotate", "wait", "several buckets"])
def store(request: pytest.FixtureRequest, valkey: Valkey) -> Iterator[RedisNonces]:
    buckets = 4 if request.param == "several buckets" else 1
    with store_on(valkey, buckets=buckets, with_least_rights=request.param == "wait") as made:
        yield made


def quota(**limits: Any) -> Quota:
    return Quota(new_request(), **limits)


def test_each_is_redeemed_once_with_the_grant_of_all(store: RedisNonces) -> None:
    batch = new_nonces(100)
    assert record_all(store, batch, grant="that of all") == Recording(RecordOutcome.RECORDED)
    for place in (0, 41, 99):
        assert store.redeem(batch[place], request=new_request()).grant == "that of all"
        assert store.redeem(batch[place], request=new_request()).outcome is Outcome.REPLAYED


def test_what_several_have_in_common_is_sent_once() -> None:
    assert batch_texts("g", [7, 7]) == ["1", "g", "7"]
    assert batch_texts("g", [7, 9, 7, 8, 9]) == ["3", "g", "7", "g", "9", "g", "8", "1", "2", "1", "3", "2"]


def test_those_that_exist_are_named(store: RedisNonces) -> None:
    batch = new_nonces(20)
    for place in (3, 17):
        store.record(batch[place], grant="first", until=soon(), request=new_request())
    recording = record_all(store, batch)
    assert recording.outcome is RecordOutcome.EXISTS
    assert set(recording.known) <= {3, 17}
    assert recording.known


def test_one_that_has_ended_is_new_again(valkey: Valkey) -> None:
    with contextlib.closing(valkey.client()) as client:
        store, batch = RedisNonces(client, chance=os.urandom), new_nonces(3)
        valkey.command("SET", nonce_key(batch[1], 0), "I:e:r:g", "PX", "1")
        until(lambda: not client.get(nonce_key(batch[1], 0)), "the record to end")
        assert record_all(store, batch).recorded


def test_a_key_of_another_kind_is_an_outage_and_stays(valkey: Valkey) -> None:
    with contextlib.closing(valkey.client()) as client:
        store, batch = RedisNonces(client, chance=os.urandom), new_nonces(3)
        key = nonce_key(batch[2], 0)
        valkey.command("RPUSH", key, "kept")
        with pytest.raises(Outage, match="answered with an error"):
            record_all(store, batch)
        assert valkey.command("LRANGE", key, "0", "-1") == [b"kept"]
        assert store.redeem(batch[0], request=new_request()).outcome is Outcome.UNISSUED


@pytest.mark.parametrize("place", [0, 999, 1000, 2000])
def test_one_that_exists_is_found_wherever_it_is_in_a_long_batch(valkey: Valkey, place: int) -> None:
    """More than a script can hand to one command."""
    with contextlib.closing(valkey.client()) as client:
        store, batch = RedisNonces(client, chance=os.urandom), new_nonces(2001)
        store.record(batch[place], grant="first", until=soon(), request=new_request())
        assert record_all(store, batch).known == (place,)


def test_nine_thousand_are_recorded_at_once(valkey: Valkey) -> None:
    with contextlib.closing(patient(valkey.client())) as client:
        store, batch = RedisNonces(client, chance=os.urandom), new_nonces(9000)
        assert record_all(store, batch).recorded
        assert store.redeem(batch[-1], request=new_request()).outcome is Outcome.SPENT


def test_without_the_right_to_look_at_all_at_once_each_is_looked_at(valkey: Valkey) -> None:
    """A user of an operator's own store may have been given its rights before a batch looked so."""
    rights = APP_RIGHTS.replace("+exists ", "")
    assert rights != APP_RIGHTS
    valkey.command("ACL", "SETUSER", "older", "reset", "on", ">app-password", *rights.split())
    with contextlib.closing(connect(valkey.url_as("older", "app-password"), connections=1)) as client:
        store, batch = RedisNonces(client, chance=os.urandom), new_nonces(3)
        counted = quota(per_day=9, outstanding=9, rate=Rate(9, 60))
        store.record(batch[1], grant="first", until=soon(), request=new_request())
        assert record_all(store, batch, quota=counted).known == (1,)
        assert record_all(store, new_nonces(3), quota=counted).remaining == 6


def test_none_is_recorded_if_one_exists(valkey: Valkey) -> None:
    with contextlib.closing(valkey.client()) as client:
        store, batch = RedisNonces(client, chance=os.urandom), new_nonces(3)
        store.record(batch[1], grant="first", until=soon(), request=new_request())
        counted = quota(per_day=3)
        recording = record_all(store, batch, quota=counted)
        assert recording == Recording(RecordOutcome.EXISTS, known=(1,))
        assert store.redeem(batch[0], request=new_request()).outcome is Outcome.UNISSUED
        assert record_all(store, new_nonces(3), quota=counted).remaining == 0


def test_to_ask_again_with_the_same_request_counts_nothing_twice(valkey: Valkey) -> None:
    with contextlib.closing(valkey.client()) as client:
        store, batch, request = RedisNonces(client, chance=os.urandom), new_nonces(3), new_request()
        counted = quota(per_day=5, outstanding=5, rate=Rate(5, 60))
        assert record_all(store, batch, request=request, quota=counted).remaining == 2
        assert record_all(store, batch, request=request, quota=counted) == Recording(RecordOutcome.RECORDED)
        assert record_all(store, [*batch, *new_nonces(1)], request=request, quota=counted).remaining == 1
        assert record_all(store, new_nonces(2), quota=counted).limit is not None
        assert record_all(store, new_nonces(1), quota=counted).remaining == 0


def test_lost_replies_are_no_false_answer_and_are_counted_once(valkey: Valkey) -> None:
    valkey.command("SCRIPT", "LOAD", scripts.RECORD_BATCH.text)
    with FaultProxy(valkey.socket) as proxy, contextlib.closing(connect(proxy.url, connections=2)) as client:
        store = RedisNonces(client, chance=os.urandom, sleep=lambda _seconds: None, retry_share=3.0)
        store.ready()
        counted = quota(outstanding=200)
        proxy.inject(Fault.DROP_REPLY, matching=b"EVALSHA", when=lambda k: k % 2 == 1)
        for _ in range(20):
            assert record_all(store, new_nonces(10), quota=counted).recorded
        assert proxy.injected == 20
        proxy.heal()
        assert record_all(store, new_nonces(1), quota=counted).limit == "outstanding"


def test_a_time_that_has_passed_is_an_outage_and_records_nothing(store: RedisNonces) -> None:
    now = int(time.time())
    with pytest.raises(Outage, match="clock"):
        record_all(store, new_nonces(2), untils=[now - 1] * 2)


def test_one_of_an_earlier_epoch_is_never_lifted_into_this_one() -> None:
    with Valkey(appendonly="yes") as own:
        batch, request = new_nonces(2), new_request()
        with contextlib.closing(own.client()) as client:
            store = RedisNonces(client, chance=os.urandom)
            assert record_all(store, batch, request=request).recorded
            own.restart()
            with pytest.raises(Outage, match="restarted"):
                record_all(store, batch, request=request)


def test_the_time_to_wait_is_until_all_would_fit(valkey: Valkey) -> None:
    with contextlib.closing(valkey.client()) as client:
        store, now = RedisNonces(client, chance=os.urandom), int(time.time())
        counted = quota(outstanding=3)
        for ahead in (100, 200, 300):
            record_all(store, new_nonces(1), untils=[now + ahead], quota=counted)
        for count, wait in [(1, 100), (2, 200), (3, 300), (9, 300)]:
            told = record_all(store, new_nonces(count), quota=counted)
            assert told.outcome is RecordOutcome.QUOTA_EXCEEDED
            assert wait - 3 <= told.retry_after <= wait
