"""A store full of what was issued and not yet used: what one costs, how long a restart takes, and that all are good."""

from __future__ import annotations

import collections
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.support.load import again
from tests.support.nonces import new_nonce, new_nonces, new_request, record_all, soon
from tests.support.processes import until
from tests.support.valkey import Valkey
from tokensvc.adapters.embedded.configuration import SETTINGS
from tokensvc.adapters.nonces import fence
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.core.grants import GrantNote
from tokensvc.core.nonces import NonceId
from tokensvc.core.profiles import Rate
from tokensvc.core.quotas import Quota
from tokensvc.ports import Outcome

THREADS = 16
BATCH = 100
OF_ONE_SUBJECT = 20
MOST_BYTES_EACH = 400
"""Far above what one takes; the figures are printed."""

GRANT = GrantNote("default", "default", "backend", "user-1234567890", int(time.time())).to_text()
"""As long as that of a v1 credential of an app with user names."""

OF_THE_EMBEDDED = ("appendonly", "appendfsync", "auto-aof-rewrite-min-size", "rdbcompression", "maxmemory-policy")

Tally = collections.Counter[Outcome]


def shared_out(nonces: Sequence[NonceId], do: Callable[[Sequence[NonceId]], Tally]) -> float:
    """Have all threads do a part, require that all were spent, and return how many there were a second."""
    parts = [nonces[place::THREADS] for place in range(THREADS)]
    began = time.monotonic()
    with ThreadPoolExecutor(THREADS) as threads:
        total = sum(threads.map(do, parts), Tally())
    seconds = time.monotonic() - began
    assert total == {Outcome.SPENT: len(nonces)}
    return len(nonces) / seconds


@pytest.fixture
def server() -> Iterator[Valkey]:
    """With the settings of the embedded store that a size or a speed depends on, but its limit of memory."""
    with Valkey(**{name.replace("-", "_"): SETTINGS[name] for name in OF_THE_EMBEDDED}) as server:
        yield server


def memory(server: Valkey) -> tuple[int, int]:
    """Bytes in use, and of the process."""
    told = server.command("INFO", "memory")
    return int(told["used_memory"]), int(told["used_memory_rss"])


def bytes_rewritten(server: Valkey) -> int:
    """Have the file rewritten, and return its length."""

    def told(name: str) -> int:
        return int(server.command("INFO", "persistence")[name])

    server.command("CONFIG", "SET", "auto-aof-rewrite-percentage", "0")  # none of its own comes between
    until(lambda: not told("aof_rewrite_in_progress"), "a rewrite of its own to end")
    server.command("BGREWRITEAOF")
    until(lambda: not told("aof_rewrite_in_progress"), "the file to be rewritten")
    return told("aof_base_size")


@pytest.mark.parametrize("count", [10_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_all_that_are_outstanding_outlive_a_restart_and_are_good_once(server: Valkey, count: int) -> None:
    said = [f"{count:,} outstanding nonces, each with a grant of {len(GRANT)} bytes:"]
    with contextlib.closing(server.client(connections=THREADS)) as client:
        store = RedisNonces(client, chance=os.urandom, on_fence="wait")
        fence.initialise(client, 0, "epoch-01")
        empty, before = memory(server)
        ends_at = soon() + 3600
        nonces = [new_nonce() for _ in range(count)]
        some = count // 50

        def record(part: Sequence[NonceId]) -> Tally:
            for nonce in part:
                again(partial(store.record, nonce, grant=GRANT, until=ends_at, request=new_request()))
            return Tally({Outcome.SPENT: len(part)})

        def record_batches(part: Sequence[NonceId]) -> Tally:
            for first in range(0, len(part), BATCH):
                batch = part[first : first + BATCH]
                again(partial(record_all, store, batch, grant=GRANT, untils=[ends_at] * len(batch)))
            return Tally({Outcome.SPENT: len(part)})

        def redeem(part: Sequence[NonceId]) -> Tally:
            outcomes = Tally()
            for nonce in part:
                outcomes[again(partial(store.redeem, nonce, request=new_request())).outcome] += 1
            return outcomes

        said.append(f"recorded {shared_out(nonces[:some], record):,.0f} a second one by one")
        said.append(f"{shared_out(nonces[some:], record_batches):,.0f} a second by {BATCH}, on disk each")
        used, resident = memory(server)[0] - empty, memory(server)[1] - before
        said.append(f"{used / count:.0f} bytes each in use, {resident / count:.0f} of the process")
        assert used / count < MOST_BYTES_EACH
        said.append(f"{bytes_rewritten(server) / count:.0f} in the file once it is rewritten")
        server.stop()
        began = time.monotonic()
        server.start()
        said.append(f"ready {time.monotonic() - began:.1f} s after a restart")
        fence.rebind(client, 0, "epoch-02")
        said.append(f"redeemed {shared_out(nonces[:some], redeem):,.0f} a second")
        server.command("CONFIG", "SET", "appendfsync", "no")  # that it is on disk each time has been measured
        said.append(
            f"and all the others, {shared_out(nonces[some:], redeem):,.0f} a second without waiting for the disk"
        )
        said.append(f"{(memory(server)[0] - empty) / count:.0f} bytes each in use then")
        late = Tally(store.redeem(one, request=new_request()).outcome for one in nonces[:: count // 1000])
        assert late == {Outcome.REPLAYED: 1000}
    sys.stdout.write(f"{said[0]} {', '.join(said[1:])}\n")


@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_what_a_count_of_the_outstanding_adds(server: Valkey, count: int) -> None:
    """Subjects that have 20 each, under the three limits that a profile can have."""
    quotas = [
        Quota(new_request(), rate=Rate(60, 60), per_day=1000, outstanding=50) for _ in range(count // OF_ONE_SUBJECT)
    ]
    with contextlib.closing(server.client(connections=1)) as client:
        store = RedisNonces(client, chance=os.urandom)
        store.ready()
        before, _ = memory(server)
        for quota in quotas:
            untils = [soon() + 3600] * OF_ONE_SUBJECT
            assert record_all(store, new_nonces(OF_ONE_SUBJECT), grant=GRANT, untils=untils, quota=quota).recorded
        each = (memory(server)[0] - before) / count
    assert each < 2 * MOST_BYTES_EACH
    sys.stdout.write(
        f"{count:,} outstanding nonces of {len(quotas):,} counted subjects: {each:.0f} bytes each in use\n"
    )
