"""Many at once: one wins."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.nonces import new_nonce, new_request, soon
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.core.nonces import NonceId
from tokensvc.core.uses import SpendMode, Uses
from tokensvc.ports import Outcome

pytestmark = pytest.mark.alone
CLIENTS, THREADS = 4, 40


@pytest.fixture
def stores(valkey: Valkey) -> Iterator[list[RedisNonces]]:
    with contextlib.ExitStack() as clients:
        yield [
            RedisNonces(
                clients.enter_context(contextlib.closing(valkey.client(connections=THREADS // CLIENTS))),
                chance=os.urandom,
            )
            for _ in range(CLIENTS)
        ]


@pytest.mark.parametrize("recorded", [True, False])
def test_of_a_thousand_redemptions_of_one_nonce_one_succeeds(stores: list[RedisNonces], recorded: bool) -> None:
    """Also if it was never recorded, and is crossed off."""
    for _ in range(5):
        nonce, start = new_nonce(), threading.Barrier(THREADS)
        if recorded:
            stores[0].record(nonce, grant="g", until=soon(), request=new_request())

        def race(thread: int, nonce: NonceId = nonce, start: threading.Barrier = start) -> list[Outcome]:
            store = stores[thread % CLIENTS]
            start.wait()
            until = None if recorded else soon()
            return [store.redeem(nonce, request=new_request(), cross_off_until=until).outcome for _ in range(25)]

        with ThreadPoolExecutor(THREADS) as threads:
            outcomes = [outcome for part in threads.map(race, range(THREADS)) for outcome in part]
        assert sorted(outcomes) == [Outcome.REPLAYED] * 999 + [Outcome.SPENT]


def test_of_ten_thousand_redemptions_of_one_nonce_one_succeeds(stores: list[RedisNonces]) -> None:
    nonce, start = new_nonce(), threading.Barrier(THREADS)
    stores[0].record(nonce, grant="g", until=soon(), request=new_request())

    def race(thread: int) -> list[Outcome]:
        start.wait()
        return [stores[thread % CLIENTS].redeem(nonce, request=new_request()).outcome for _ in range(10_000 // THREADS)]

    with ThreadPoolExecutor(THREADS) as threads:
        outcomes = Counter(outcome for part in threads.map(race, range(THREADS)) for outcome in part)
    assert outcomes == {Outcome.SPENT: 1, Outcome.REPLAYED: 9999}


@pytest.mark.parametrize("spend", ["on-attempt", "on-success"])
def test_of_two_hundred_that_race_for_three_uses_three_have_one(stores: list[RedisNonces], spend: SpendMode) -> None:
    for _ in range(5):
        nonce, start = new_nonce(), threading.Barrier(THREADS)
        stores[0].record(nonce, grant="g", until=soon(), request=new_request(), uses=Uses(3, spend))

        def race(thread: int, nonce: NonceId = nonce, start: threading.Barrier = start) -> list[Outcome]:
            store = stores[thread % CLIENTS]
            start.wait()
            return [store.redeem(nonce, request=new_request()).outcome for _ in range(5)]

        with ThreadPoolExecutor(THREADS) as threads:
            outcomes = Counter(outcome for part in threads.map(race, range(THREADS)) for outcome in part)
        assert outcomes == {Outcome.SPENT: 3, Outcome.REPLAYED: 197}


@pytest.mark.parametrize("count", [1, 3])
def test_however_often_claims_are_given_back_or_overtaken_no_more_are_committed_than_there_are(
    stores: list[RedisNonces], count: int
) -> None:
    """Leases of no length, so that others overtake in the middle of everything. Who commits is told so by the store."""
    for _ in range(5):
        nonce, start = new_nonce(), threading.Barrier(THREADS)
        stores[0].record(nonce, grant="g", until=soon(), request=new_request(), uses=Uses(count, "on-success"))

        def race(thread: int, nonce: NonceId = nonce, start: threading.Barrier = start) -> int:
            store, dice, committed = stores[thread % CLIENTS], random.Random(thread), 0
            start.wait()
            for _ in range(10):
                request = new_request()
                if store.redeem(nonce, request=request, lease=dice.choice([0, 600])).outcome is Outcome.CLAIMED:
                    if dice.random() < 0.9:
                        store.release(nonce, request=request)
                    if store.commit(nonce, request=request) is Outcome.SPENT:
                        committed += 1
                        store.release(nonce, request=request)
            return committed

        with ThreadPoolExecutor(THREADS) as threads:
            assert sum(threads.map(race, range(THREADS))) <= count
        for _ in range(count):
            request = new_request()
            stores[0].redeem(nonce, request=request, lease=600)
            stores[0].commit(nonce, request=request)
        assert stores[0].look(nonce).refused is Outcome.REPLAYED


def test_a_claim_is_revoked_or_committed_and_never_both(stores: list[RedisNonces]) -> None:
    ends = set()
    with ThreadPoolExecutor(2) as threads:
        for _ in range(200):
            nonce, request = new_nonce(), new_request()
            stores[0].record(nonce, grant="g", until=soon(), request=new_request(), uses=Uses(1, "on-success"))
            assert stores[0].redeem(nonce, request=request, lease=600).outcome is Outcome.CLAIMED
            committed = threads.submit(stores[1].commit, nonce, request=request)
            revoked = threads.submit(stores[2].revoke, nonce, actor="ops")
            ends.add((committed.result(), revoked.result()))
    assert ends <= {(Outcome.SPENT, Outcome.REPLAYED), (Outcome.REVOKED, Outcome.REVOKED)}


def test_of_many_that_record_one_nonce_one_does(stores: list[RedisNonces]) -> None:
    for _ in range(10):
        nonce = new_nonce()

        def race(thread: int, nonce: NonceId = nonce) -> bool:
            store = stores[thread % CLIENTS]
            return store.record(nonce, grant=str(thread), until=soon(), request=new_request()).recorded

        with ThreadPoolExecutor(THREADS) as threads:
            recorded = list(threads.map(race, range(THREADS)))
        assert sum(recorded) == 1
        assert stores[0].redeem(nonce, request=new_request()).grant == str(recorded.index(True))


def test_a_nonce_is_revoked_or_redeemed_and_never_both(stores: list[RedisNonces]) -> None:
    ends = set()
    with ThreadPoolExecutor(2) as threads:
        for _ in range(300):
            nonce = new_nonce()
            stores[0].record(nonce, grant="g", until=soon(), request=new_request())
            redeemed = threads.submit(stores[1].redeem, nonce, request=new_request())
            revoked = threads.submit(stores[2].revoke, nonce, actor="ops")
            ends.add((redeemed.result().outcome, revoked.result()))
    assert ends <= {(Outcome.SPENT, Outcome.REPLAYED), (Outcome.REVOKED, Outcome.REVOKED)}


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import collections, os, sys, time
import gevent.pool
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tests.support.nonces import new_nonce, new_request, soon

client = connect(sys.argv[1], connections=20)
store = RedisNonces(client, chance=os.urandom)
nonce = new_nonce()
store.record(nonce, grant="g", until=soon(), request=new_request())
redeem = lambda _: str(store.redeem(nonce, request=new_request()).outcome)
outcomes = gevent.pool.Pool(20).map(redeem, range(500))
client.close()
print(sorted(collections.Counter(outcomes).items()))
"""


def test_greenlets_race_as_threads_do(valkey: Valkey) -> None:
    """In a process of its own, because gevent replaces the sockets of the whole one."""
    ran = subprocess.run(
        [sys.executable, "-c", GREENLETS, valkey.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.stderr, ran.stdout) == ("", "[('replayed', 499), ('spent', 1)]\n")
