"""Watermarks in the store: in every bucket, until what they concern has ended, and in one step with the redemption."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.nonces import new_nonce, new_request, soon
from tests.support.processes import until
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import fence
from tokensvc.adapters.nonces.keys import bucket_of
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core.errors import Outage
from tokensvc.core.grants import GrantNote
from tokensvc.core.nonces import NonceId
from tokensvc.core.watermarks import Watermark
from tokensvc.core.window import LEEWAY_SECONDS, MAX_LIFETIME_SECONDS
from tokensvc.ports import Outcome

BUCKETS = 8


@pytest.fixture
def own() -> Iterator[Valkey]:
    with Valkey(appendonly="yes") as server:
        yield server


@pytest.fixture
def client(own: Valkey) -> Iterator[redis.Redis]:
    with contextlib.closing(own.client(connections=16)) as client:
        yield client


def issue(store: RedisNonces, subject: str, issued_at: int, nonce: NonceId | None = None) -> NonceId:
    """A credential of that subject on record."""
    nonce = nonce or new_nonce()
    grant = GrantNote("default", "default", "web", subject, issued_at).to_text()
    assert store.record(nonce, grant=grant, until=soon(), request=new_request()).recorded
    return nonce


def redeem(store: RedisNonces, nonce: NonceId) -> Outcome:
    return store.redeem(nonce, request=new_request()).outcome


def test_it_is_in_every_bucket_when_it_is_answered(client: redis.Redis) -> None:
    store, now = RedisNonces(client, chance=os.urandom, buckets=BUCKETS), int(time.time())
    issued: dict[int, NonceId] = {}
    while len(issued) < BUCKETS:
        nonce = new_nonce()
        if bucket_of(nonce, BUCKETS) not in issued:
            issued[bucket_of(nonce, BUCKETS)] = issue(store, "u1", now - 1, nonce)
    store.revoke_before(Watermark("subject", "u1", now))
    assert {redeem(store, nonce) for nonce in issued.values()} == {Outcome.REVOKED}


def test_it_ends_when_the_last_credential_that_it_concerns_has_ended(client: redis.Redis) -> None:
    """Not before: the second that it names, the longest life and the leeway have passed by then."""
    store, now = RedisNonces(client, chance=os.urandom), int(time.time())
    store.revoke_before(Watermark("subject", "u1", now))
    store.revoke_before(Watermark("subject", "u2", now - 100))
    ends = {key: client.expiretime(key) for key in client.scan_iter("ik{00}:w*")}
    last = now - 1 + MAX_LIFETIME_SECONDS + LEEWAY_SECONDS
    assert sorted(ends.values()) == [last - 94, last + 6, last + 6]
    assert ends[b"ik{00}:w"] == last + 6
    assert all(b"u1" not in key and b"u2" not in key for key in ends)


def test_one_that_is_so_old_that_all_has_ended_leaves_nothing(client: redis.Redis) -> None:
    store, now = RedisNonces(client, chance=os.urandom), int(time.time())
    store.revoke_before(Watermark("subject", "u1", now - MAX_LIFETIME_SECONDS - LEEWAY_SECONDS - 6))
    assert list(client.scan_iter("ik{00}:w*")) == []
    assert redeem(store, issue(store, "u1", now)) is Outcome.SPENT


def test_where_there_are_none_a_redemption_costs_one_look_more(own: Valkey, client: redis.Redis) -> None:
    """And one round trip, with marks or without."""
    store, now = RedisNonces(client, chance=os.urandom), int(time.time())

    def calls_of_a_redemption() -> tuple[int, int]:
        nonce = issue(store, "u1", now)
        redeem(store, issue(store, "u1", now))  # whatever is done once
        own.command("CONFIG", "RESETSTAT")
        assert redeem(store, nonce) is Outcome.SPENT
        calls = own.command("INFO", "commandstats")
        return calls["cmdstat_evalsha"]["calls"], calls["cmdstat_get"]["calls"]

    assert calls_of_a_redemption() == (1, 4)  # epoch record, record, marks, how many were spent
    store.revoke_before(Watermark("account", "another", now))
    assert calls_of_a_redemption() == (1, 4 + 4)


def test_a_lost_reply_is_no_false_answer(own: Valkey) -> None:
    now = int(time.time())
    with FaultProxy(own.socket) as proxy, contextlib.closing(connect(proxy.url, connections=1)) as client:
        store = RedisNonces(client, chance=os.urandom, buckets=BUCKETS, sleep=lambda _seconds: None)
        issued = [issue(store, "u1", now - 1) for _ in range(20)]
        proxy.inject(Fault.DROP_REPLY, matching=b"EVALSHA", when=lambda k: k % 2 == 1)
        store.revoke_before(Watermark("subject", "u1", now))
        assert proxy.injected >= BUCKETS
        proxy.heal()
        assert {redeem(store, nonce) for nonce in issued} == {Outcome.REVOKED}


def test_a_store_that_does_not_answer_is_an_outage_and_no_revocation(own: Valkey, client: redis.Redis) -> None:
    store = RedisNonces(client, chance=os.urandom, sleep=lambda _seconds: None)
    own.stop()
    with pytest.raises(Outage):
        store.revoke_before(Watermark("subject", "u1", int(time.time())))


def test_a_full_store_takes_it(own: Valkey, client: redis.Redis) -> None:
    store, now = RedisNonces(client, chance=os.urandom), int(time.time())
    nonce = issue(store, "u1", now - 1)
    own.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(Outage, match="full"):
        issue(store, "u1", now - 1)
    store.revoke_before(Watermark("subject", "u1", now))
    assert redeem(store, nonce) is Outcome.REVOKED


def test_it_outlasts_a_restart_that_lost_nothing(own: Valkey, client: redis.Redis) -> None:
    store, now = RedisNonces(client, chance=os.urandom), int(time.time())
    nonce = issue(store, "u1", now - 1)
    store.revoke_before(Watermark("subject", "u1", now))
    own.restart()
    fence.rebind(client, 0, "new-one-")
    assert redeem(store, nonce) is Outcome.REVOKED


def test_a_new_epoch_needs_it_no_more_and_it_harms_nobody_in_it(own: Valkey, client: redis.Redis) -> None:
    """What was outstanding is stale; what is issued now is later than the mark."""
    store, now = RedisNonces(client, chance=os.urandom), int(time.time())
    nonce = issue(store, "u1", now - 1)
    store.revoke_before(Watermark("subject", "u1", now))
    own.restart()
    assert redeem(store, nonce) is Outcome.STALE
    assert redeem(store, issue(store, "u1", now)) is Outcome.SPENT
    assert redeem(store, issue(store, "u1", now - 1)) is Outcome.REVOKED


def test_a_server_that_forgot_it_forgot_the_records_or_finds_them_stale(own: Valkey, client: redis.Redis) -> None:
    store, now = RedisNonces(client, chance=os.urandom), int(time.time())
    nonce = issue(store, "u1", now - 1)
    store.revoke_before(Watermark("subject", "u1", now))
    for key in list(client.scan_iter("ik{00}:w*")):  # as a replica that lagged
        client.delete(key)
    own.restart()
    assert redeem(store, nonce) is Outcome.STALE


def race(
    stores: Sequence[RedisNonces], issued: Sequence[NonceId], mark: Watermark
) -> tuple[list[Outcome], list[Outcome]]:
    """A mark among redemptions by all stores: what came of those that began before it was answered, and after."""
    answered, start = threading.Event(), threading.Barrier(len(stores) + 1)
    before: list[Outcome] = []
    after: list[Outcome] = []

    def spend(number: int) -> None:
        start.wait()
        for nonce in issued[number :: len(stores)]:
            kept = after if answered.is_set() else before
            kept.append(redeem(stores[number], nonce))

    with ThreadPoolExecutor(len(stores)) as pool:
        running = [pool.submit(spend, number) for number in range(len(stores))]
        start.wait()
        until(lambda: len(before) >= 4 * len(stores))
        stores[0].revoke_before(mark)
        answered.set()
        for one in running:
            one.result()
    return before, after


@pytest.mark.alone
@pytest.mark.parametrize("buckets", [1, BUCKETS])
def test_after_the_answer_nobody_redeems_what_was_issued_before(client: redis.Redis, buckets: int) -> None:
    """Many redeem all the while. A redemption that began after the answer is refused; before it, any order is good."""
    now, threads = int(time.time()), 8
    stores = [RedisNonces(client, chance=os.urandom, buckets=buckets) for _ in range(threads)]
    mixed = False
    for round_number in range(15):
        subject = f"u{round_number}"
        issued = [issue(stores[0], subject, now - 1) for _ in range(160)]
        before, after = race(stores, issued, Watermark("subject", subject, now))
        assert set(after) <= {Outcome.REVOKED}
        assert set(before) <= {Outcome.REVOKED, Outcome.SPENT}
        mixed |= bool(after) and Outcome.SPENT in before
    assert mixed, "the race was one"


@pytest.mark.alone
def test_what_is_spent_and_what_is_revoked_are_all_there_is(client: redis.Redis) -> None:
    """By a mark or one by one: a nonce comes to one end, and is told it by everybody."""
    store, now, ends = RedisNonces(client, chance=os.urandom), int(time.time()), set()
    with ThreadPoolExecutor(3) as threads:
        for number in range(150):
            nonce = issue(store, f"r{number}", now - 1)
            marked = threads.submit(store.revoke_before, Watermark("subject", f"r{number}", now))
            redeemed = threads.submit(redeem, store, nonce)
            revoked = threads.submit(store.revoke, nonce, actor="ops")
            marked.result()
            ends.add((redeemed.result(), revoked.result(), store.look(nonce).refused))
    assert ends <= {
        (Outcome.SPENT, Outcome.REPLAYED, Outcome.REPLAYED),
        (Outcome.REVOKED, Outcome.REVOKED, Outcome.REVOKED),
    }
