"""Recording many at once: all or none, whatever happens to the reply, and with the least rights."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.nonces import new_nonce, new_request, soon, store_on
from tests.support.processes import until
from tests.support.valkey import APP_RIGHTS, Valkey, patient
from tokensvc.adapters.nonces import scripts
from tokensvc.adapters.nonces.arguments import batch_texts
from tokensvc.adapters.nonces.keys import nonce_key
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core.errors import Outage
from tokensvc.core.profiles import Rate
from tokensvc.core.quotas import Quota
from tokensvc.ports import Entry, Outcome, Recording, RecordOutcome


def test_each_record_ends_at_its_own_time(valkey: Valkey) -> None:
    with contextlib.closing(valkey.client()) as client:
        store, now = RedisNonces(client, chance=os.urandom), soon()
        for ends in ([now, now, now], [now, now + 1, now + 2]):
            batch = [Entry(new_nonce(), "g", end) for end in ends]
            assert store.record_batch(batch, request=new_request(), quota=quota(outstanding=9)).recorded
            assert [valkey.command("EXPIRETIME", nonce_key(each.nonce, 0)) for each in batch] == ends


@pytest.fixture(params=["rotate", "wait", "several buckets"])
def store(request: pytest.FixtureRequest, valkey: Valkey) -> Iterator[RedisNonces]:
    buckets = 4 if request.param == "several buckets" else 1
    with store_on(valkey, buckets=buckets, with_least_rights=request.param == "wait") as made:
        yield made


def entries(count: int, until: int | None = None) -> list[Entry]:
    return [Entry(new_nonce(), f"g{place}", until or soon()) for place in range(count)]


def quota(**limits: Any) -> Quota:
    return Quota(new_request(), **limits)


def test_each_is_redeemed_once_with_its_own_grant(store: RedisNonces) -> None:
    batch = entries(100)
    assert store.record_batch(batch, request=new_request()) == Recording(RecordOutcome.RECORDED)
    for place in (0, 41, 99):
        assert store.redeem(batch[place].nonce, request=new_request()).grant == f"g{place}"
        assert store.redeem(batch[place].nonce, request=new_request()).outcome is Outcome.REPLAYED


def test_what_several_have_in_common_is_sent_once_and_each_has_its_own(store: RedisNonces) -> None:
    now, request = soon(), new_request()
    kinds = [("g", now), ("h", now), ("g", now + 100), ("g", now), ("h", now)]
    batch = [Entry(new_nonce(), *kind) for kind in kinds]
    assert store.record_batch(batch, request=request).recorded
    assert batch_texts(batch) == ["3", "g", str(now), "h", str(now), "g", str(now + 100), "1", "2", "3", "1", "2"]
    assert batch_texts(batch[:1] + batch[3:4]) == ["1", "g", str(now)]
    assert [store.redeem(each.nonce, request=request).grant for each in batch] == ["g", "h", "g", "g", "h"]


def test_those_that_exist_are_named(store: RedisNonces) -> None:
    batch = entries(20)
    for place in (3, 17):
        store.record(batch[place].nonce, grant="first", until=soon(), request=new_request())
    recording = store.record_batch(batch, request=new_request())
    assert recording.outcome is RecordOutcome.EXISTS
    assert set(recording.known) <= {3, 17}
    assert recording.known


def test_one_that_has_ended_is_new_again(valkey: Valkey) -> None:
    with contextlib.closing(valkey.client()) as client:
        store, batch = RedisNonces(client, chance=os.urandom), entries(3)
        valkey.command("SET", nonce_key(batch[1].nonce, 0), "I:e:r:g", "PX", "1")
        until(lambda: not client.get(nonce_key(batch[1].nonce, 0)), "the record to end")
        assert store.record_batch(batch, request=new_request()).recorded


def test_a_key_of_another_kind_is_an_outage_and_stays(valkey: Valkey) -> None:
    with contextlib.closing(valkey.client()) as client:
        store, batch = RedisNonces(client, chance=os.urandom), entries(3)
        key = nonce_key(batch[2].nonce, 0)
        valkey.command("RPUSH", key, "kept")
        with pytest.raises(Outage, match="answered with an error"):
            store.record_batch(batch, request=new_request())
        assert valkey.command("LRANGE", key, "0", "-1") == [b"kept"]
        assert store.redeem(batch[0].nonce, request=new_request()).outcome is Outcome.UNISSUED


@pytest.mark.parametrize("place", [0, 999, 1000, 2000])
def test_one_that_exists_is_found_wherever_it_is_in_a_long_batch(valkey: Valkey, place: int) -> None:
    """More than a script can hand to one command."""
    with contextlib.closing(valkey.client()) as client:
        store, until = RedisNonces(client, chance=os.urandom), soon()
        batch = [Entry(new_nonce(), "g", until) for _ in range(2001)]
        store.record(batch[place].nonce, grant="first", until=until, request=new_request())
        assert store.record_batch(batch, request=new_request()).known == (place,)


def test_nine_thousand_are_recorded_at_once(valkey: Valkey) -> None:
    with contextlib.closing(patient(valkey.client())) as client:
        store, until = RedisNonces(client, chance=os.urandom), soon()
        batch = [Entry(new_nonce(), "g", until) for _ in range(9000)]
        assert store.record_batch(batch, request=new_request()).recorded
        assert store.redeem(batch[-1].nonce, request=new_request()).outcome is Outcome.SPENT


def test_without_the_right_to_look_at_all_at_once_each_is_looked_at(valkey: Valkey) -> None:
    """A user of an operator's own store may have been given its rights before a batch looked so."""
    rights = APP_RIGHTS.replace("+exists ", "")
    assert rights != APP_RIGHTS
    valkey.command("ACL", "SETUSER", "older", "reset", "on", ">app-password", *rights.split())
    with contextlib.closing(connect(valkey.url_as("older", "app-password"), connections=1)) as client:
        store, batch = RedisNonces(client, chance=os.urandom), entries(3)
        counted = quota(per_day=9, outstanding=9, rate=Rate(9, 60))
        store.record(batch[1].nonce, grant="first", until=soon(), request=new_request())
        assert store.record_batch(batch, request=new_request(), quota=counted).known == (1,)
        assert store.record_batch(entries(3), request=new_request(), quota=counted).remaining == 6


def test_none_is_recorded_if_one_exists(valkey: Valkey) -> None:
    with contextlib.closing(valkey.client()) as client:
        store, batch = RedisNonces(client, chance=os.urandom), entries(3)
        store.record(batch[1].nonce, grant="first", until=soon(), request=new_request())
        counted = quota(per_day=3)
        recording = store.record_batch(batch, request=new_request(), quota=counted)
        assert recording == Recording(RecordOutcome.EXISTS, known=(1,))
        assert store.redeem(batch[0].nonce, request=new_request()).outcome is Outcome.UNISSUED
        assert store.record_batch(entries(3), request=new_request(), quota=counted).remaining == 0


def test_to_ask_again_with_the_same_request_counts_nothing_twice(valkey: Valkey) -> None:
    with contextlib.closing(valkey.client()) as client:
        store, batch, request = RedisNonces(client, chance=os.urandom), entries(3), new_request()
        counted = quota(per_day=5, outstanding=5, rate=Rate(5, 60))
        assert store.record_batch(batch, request=request, quota=counted).remaining == 2
        assert store.record_batch(batch, request=request, quota=counted) == Recording(RecordOutcome.RECORDED)
        assert store.record_batch([*batch, *entries(1)], request=request, quota=counted).remaining == 1
        assert store.record_batch(entries(2), request=new_request(), quota=counted).limit is not None
        assert store.record_batch(entries(1), request=new_request(), quota=counted).remaining == 0


def test_lost_replies_are_no_false_answer_and_are_counted_once(valkey: Valkey) -> None:
    valkey.command("SCRIPT", "LOAD", scripts.RECORD_BATCH.text)
    with FaultProxy(valkey.socket) as proxy, contextlib.closing(connect(proxy.url, connections=2)) as client:
        store = RedisNonces(client, chance=os.urandom, sleep=lambda _seconds: None, retry_share=3.0)
        store.ready()
        counted = quota(outstanding=200)
        proxy.inject(Fault.DROP_REPLY, matching=b"EVALSHA", when=lambda k: k % 2 == 1)
        for _ in range(20):
            assert store.record_batch(entries(10), request=new_request(), quota=counted).recorded
        assert proxy.injected == 20
        proxy.heal()
        assert store.record_batch(entries(1), request=new_request(), quota=counted).limit == "outstanding"


def test_a_time_that_has_passed_is_an_outage_and_records_nothing(store: RedisNonces) -> None:
    now = int(time.time())
    with pytest.raises(Outage, match="clock"):
        store.record_batch(entries(2, until=now - 1), request=new_request())


def test_one_of_an_earlier_epoch_is_never_lifted_into_this_one() -> None:
    with Valkey(appendonly="yes") as own:
        batch, request = entries(2), new_request()
        with contextlib.closing(own.client()) as client:
            store = RedisNonces(client, chance=os.urandom)
            assert store.record_batch(batch, request=request).recorded
            own.restart()
            with pytest.raises(Outage, match="restarted"):
                store.record_batch(batch, request=request)


def test_the_time_to_wait_is_until_all_would_fit(valkey: Valkey) -> None:
    with contextlib.closing(valkey.client()) as client:
        store, now = RedisNonces(client, chance=os.urandom), int(time.time())
        counted = quota(outstanding=3)
        for ahead in (100, 200, 300):
            store.record_batch(entries(1, until=now + ahead), request=new_request(), quota=counted)
        for count, wait in [(1, 100), (2, 200), (3, 300), (9, 300)]:
            told = store.record_batch(entries(count), request=new_request(), quota=counted)
            assert told.outcome is RecordOutcome.QUOTA_EXCEEDED
            assert wait - 3 <= told.retry_after <= wait
