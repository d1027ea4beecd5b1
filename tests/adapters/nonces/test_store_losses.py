"""A store that is full, evicts, hangs or loses the end of its file: some are refused, and none is spent twice."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import redis

from tests.support.load import LOAD_SECONDS, Load, again
from tests.support.nonces import new_nonce, new_request, soon
from tests.support.processes import until
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import fence
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.core.errors import Outage
from tokensvc.core.nonces import NonceId
from tokensvc.ports import Outcome

THREADS = 4
HANG_SECONDS = 5.0
LONGEST_CALL_SECONDS = 5.0
"""One and a half is the design; machines of tests are slow."""


@contextlib.contextmanager
def store_over(server: Valkey) -> Iterator[tuple[redis.Redis, RedisNonces]]:
    with contextlib.closing(server.client(connections=THREADS)) as client:
        store = RedisNonces(client, chance=os.urandom)
        store.ready()
        yield client, store


def redeem(store: RedisNonces, nonces: list[NonceId]) -> Counter[Outcome]:
    """What each comes to for a request of its own."""

    def one(nonce: NonceId) -> Outcome:
        request = new_request()
        return again(lambda: store.redeem(nonce, request=request)).outcome

    with ThreadPoolExecutor(THREADS) as threads:
        return Counter(threads.map(one, nonces))


@pytest.mark.parametrize("policy", ["volatile-ttl", "allkeys-random"])
def test_what_was_spent_and_evicted_is_refused(policy: str) -> None:
    """Readiness refuses such a store. If it is one all the same, there are wrong refusals and no second use."""
    with Valkey(maxmemory="4mb") as server, store_over(server) as (_, store):
        server.command("CONFIG", "SET", "maxmemory-policy", policy)
        spent = []
        while server.command("INFO", "stats")["evicted_keys"] < 500:
            for _ in range(200):
                nonce, request = new_nonce(), new_request()
                again(partial(store.record, nonce, grant="g" * 1000, until=soon(), request=request))
                if again(partial(store.redeem, nonce, request=request)).outcome is Outcome.SPENT:
                    spent.append(nonce)
        outcomes = redeem(store, spent)
    assert outcomes.keys() <= {Outcome.UNISSUED, Outcome.REPLAYED, Outcome.STALE}
    assert outcomes[Outcome.UNISSUED] + outcomes[Outcome.STALE] > 0, "some were evicted"


def test_a_full_disk_ends_the_server_and_costs_nothing_that_was_answered() -> None:
    """With `appendfsync always` it would rather stop than answer what it could not write down."""
    with Valkey(appendonly="yes") as server, store_over(server) as (client, store):
        issued: list[NonceId] = []
        spent: list[NonceId] = []
        refusals = 0
        server.fill_disk(200_000)
        while refusals < 3:
            with contextlib.suppress(Outage):
                for kept in (issued, spent):
                    nonce = new_nonce()
                    assert store.record(nonce, grant="g" * 100, until=soon(), request=new_request()).recorded
                    if kept is issued:
                        issued.append(nonce)
                    elif store.redeem(nonce, request=new_request()).outcome is Outcome.SPENT:
                        spent.append(nonce)
                continue
            refusals += 1
        assert server.wait() == 1
        with pytest.raises(Outage):
            store.ready()
        server.start()  # there is room again
        assert min(len(issued), len(spent)) > 100
        fence.rebind(client, 0, "new-one-")
        until(lambda: is_ready(store), "the breaker to close")
        assert redeem(store, spent) == {Outcome.REPLAYED: len(spent)}
        assert redeem(store, issued) == {Outcome.SPENT: len(issued)}


def is_ready(store: RedisNonces) -> bool:
    try:
        return store.ready() == ()
    except Outage:
        return False


@pytest.mark.parametrize(
    ("rebound", "asked_by", "outcome"),
    [
        (False, "old", Outcome.STALE),
        (False, "new", Outcome.STALE),
        (True, "old", Outcome.STALE),
        (True, "new", Outcome.SPENT),
    ],
)
def test_a_server_that_forgot_the_end_of_its_file_is_not_believed(
    rebound: bool, asked_by: str, outcome: Outcome
) -> None:
    """With `everysec` a power cut takes what was spent last: there it is issued again.

    Somebody who rebinds such a server, which we never do, is found out by workers that saw more; and new workers are
    the control that shows what the fence is for.
    """
    with Valkey(appendonly="yes", appendfsync="everysec") as server, store_over(server) as (client, store):
        nonces = [new_nonce() for _ in range(100)]
        for nonce in nonces:
            store.record(nonce, grant="g", until=soon(), request=new_request())
        (file,) = (server.folder / "appendonlydir").glob("*.incr.aof")
        on_disk = file.stat().st_size
        assert redeem(store, nonces) == {Outcome.SPENT: 100}
        server.kill()
        os.truncate(file, on_disk)
        server.start()
        if rebound:
            fence.rebind(client, 0, "new-one-")
        asked = store if asked_by == "old" else RedisNonces(client, chance=os.urandom)
        assert redeem(asked, nonces) == {outcome: 100}


def test_a_server_that_hangs_for_five_seconds_under_load() -> None:
    """Everybody is told so in time; when it goes on, so does all: it is the same server, and nothing is stale."""
    with Valkey(appendonly="yes") as server, store_over(server) as (_, store):
        with Load(store, threads=THREADS) as load:
            until(lambda: len(load.spent) >= 200, "some load", within_seconds=LOAD_SECONDS)
            server.pause()
            hung_at = time.monotonic()
            until(lambda: time.monotonic() - hung_at >= HANG_SECONDS)
            refused = load.outages.total()
            server.resume()
            until(lambda: len(load.since(hung_at + HANG_SECONDS)) >= 200, "it to go on", within_seconds=LOAD_SECONDS)
        assert refused > THREADS
        assert load.longest_call < LONGEST_CALL_SECONDS
        assert set(load.refused) == set()
        assert set(load.spent_again()) == {Outcome.REPLAYED}
    sys.stdout.write(f"SIGSTOP for {HANG_SECONDS:g} s: {load.figures()}")
