"""A primary of a cluster dies under load: its part is healed by its replica, and the other parts notice nothing."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator

import pytest
from redis import exceptions as redis_errors
from redis.crc import key_slot

from tests.support.load import LOAD_SECONDS, Load, again
from tests.support.nonces import new_nonce, new_request, record_all, soon
from tests.support.processes import until
from tests.support.topologies import ALL_SLOTS, SHARDS, ClusterTopology
from tokensvc.adapters.nonces import scripts
from tokensvc.adapters.nonces.keys import bucket_of, epoch_key, nonce_key
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import Cluster, connect_any
from tokensvc.core.errors import Outage
from tokensvc.core.grants import GrantNote
from tokensvc.core.nonces import NonceId
from tokensvc.core.quotas import Quota
from tokensvc.core.watermarks import Watermark
from tokensvc.ports import Outcome, Receipt, RecordOutcome
from tokensvc.wiring import CLUSTER_BUCKETS

pytestmark = pytest.mark.alone

LONGEST_OUTAGE_SECONDS = 15.0
"""Three seconds is the design: one until the node counts as failed, and an election. Machines of tests are slow."""

REDEEMED_BY_EACH = 3000
"""By the shard that dies, and by the others, before the kill; and by the shard again after it."""

LONGEST_CALL_SECONDS = 3.0
"""A second and a half is the promise; machines of tests are slow."""


@pytest.fixture
def topology() -> Iterator[ClusterTopology]:
    with ClusterTopology() as topology:
        yield topology


@pytest.fixture
def client(topology: ClusterTopology) -> Iterator[Cluster]:
    client = connect_any(topology.url, connections=8)
    assert isinstance(client, Cluster)
    with contextlib.closing(client):
        yield client


@pytest.fixture
def store(client: Cluster) -> RedisNonces:
    return RedisNonces(client, chance=os.urandom, connections=8, buckets=CLUSTER_BUCKETS)


def buckets_of_shard(shard: int) -> frozenset[int]:
    """The buckets whose keys the shard has."""
    bounds = [ALL_SLOTS * one // SHARDS for one in range(SHARDS + 1)]
    return frozenset(
        bucket
        for bucket in range(CLUSTER_BUCKETS)
        if bounds[shard] <= key_slot(epoch_key(bucket).encode()) < bounds[shard + 1]
    )


def nonce_in(buckets: frozenset[int]) -> NonceId:
    """A new nonce in one of the buckets."""
    while bucket_of(nonce := new_nonce(), CLUSTER_BUCKETS) not in buckets:
        pass
    return nonce


def test_every_shard_has_a_fair_share_of_the_buckets() -> None:
    assert all(15 <= len(buckets_of_shard(shard)) <= 30 for shard in range(SHARDS))


def test_the_outstanding_of_all_shards_are_told_without_what_a_failover_made_stale(
    topology: ClusterTopology, store: RedisNonces
) -> None:
    """While a shard is down there is no figure."""
    nonces = [nonce_in(frozenset({bucket})) for bucket in range(CLUSTER_BUCKETS) for _ in range(3)]
    for nonce in nonces:
        assert store.record(nonce, grant="g", until=soon(), request=new_request()).recorded
    for nonce in nonces[::3]:
        assert store.redeem(nonce, request=new_request()).outcome is Outcome.SPENT
    assert store.outstanding() == 2 * CLUSTER_BUCKETS
    topology.servers[0].kill()
    told: list[int] = []
    until(lambda: _figure(store, told), "the shard to heal", within_seconds=LOAD_SECONDS)
    assert told == [2 * (CLUSTER_BUCKETS - len(buckets_of_shard(0)))]
    topology.servers[1].kill()
    with pytest.raises(Outage):
        store.outstanding()


def _figure(store: RedisNonces, told: list[int]) -> bool:
    with contextlib.suppress(Outage):
        told.append(store.outstanding())
    return bool(told)


@contextlib.contextmanager
def under_load(store: RedisNonces, *, at_least: int) -> Iterator[tuple[Load, Load]]:
    """Load for the first shard, and for the others; in the end everything that was spent is asked for once more."""
    hit = buckets_of_shard(0)
    others = frozenset(range(CLUSTER_BUCKETS)) - hit
    with (
        Load(store, threads=4, make=lambda: nonce_in(hit)) as struck,
        Load(store, threads=4, make=lambda: nonce_in(others)) as spared,
    ):
        yield struck, spared
    for load in (struck, spared):
        outcomes = load.spent_again()
        assert outcomes[Outcome.SPENT] == outcomes[Outcome.FINISHED] == 0
        assert outcomes.total() == len(load.spent) >= at_least
        assert outcomes[Outcome.REPLAYED] > 0
        assert load.longest_call < LONGEST_CALL_SECONDS
    assert outcomes[Outcome.STALE] == 0, "the others lost nothing"
    assert not spared.outages
    assert not spared.refused
    assert struck.outages
    assert spared.longest_gap() < struck.longest_gap() < LONGEST_OUTAGE_SECONDS
    sys.stdout.write(f"Cluster: outage {struck.longest_gap():.2f} s, {struck.figures()}")
    sys.stdout.write(f"Cluster: the others {spared.longest_gap():.2f} s, {spared.figures()}")


def test_a_primary_that_is_killed_under_load(topology: ClusterTopology, store: RedisNonces) -> None:
    """0 double redemptions; the same client carries on; and all the while the other shards are served."""
    with under_load(store, at_least=5000) as (struck, spared):
        loads = (struck, spared)
        until(lambda: min(len(load.spent) for load in loads) >= REDEEMED_BY_EACH, "load", within_seconds=LOAD_SECONDS)
        topology.servers[0].kill()
        killed_at = time.monotonic()
        until(
            lambda: min(len(load.since(killed_at + 0.5)) for load in loads) >= REDEEMED_BY_EACH,
            "the shard to heal",
            within_seconds=LOAD_SECONDS,
        )
    again(store.ready)


def test_a_primary_that_hangs_under_load(topology: ClusterTopology, store: RedisNonces) -> None:
    """Each who asks it waits for a time-out; who asks another does not wait for those."""
    with under_load(store, at_least=400) as (struck, spared):
        until(lambda: min(len(struck.spent), len(spared.spent)) >= 200, "some load")
        topology.servers[0].pause()
        hung_at = time.monotonic()
        until(lambda: len(struck.since(hung_at + 0.5)) >= 200, "the shard to heal")
        topology.servers[0].resume()  # it believes for a moment that it is the primary
        resumed_at = time.monotonic()
        until(lambda: len(struck.since(resumed_at)) >= 500, "some more load")


def test_while_a_shard_is_down_each_of_the_others_serves_every_request(
    topology: ClusterTopology, store: RedisNonces
) -> None:
    """Neither a breaker nor a queue is shared. The shard has no replica here, so it stays down."""
    topology.servers[SHARDS].kill()
    topology.servers[0].kill()
    hit = buckets_of_shard(0)
    for _ in range(10):
        with pytest.raises(Outage):
            store.redeem(nonce_in(hit), request=new_request(), cross_off_until=soon())
        for shard in (1, 2):
            nonce = nonce_in(buckets_of_shard(shard))
            assert store.record(nonce, grant="g", until=soon(), request=new_request()).recorded
            assert store.redeem(nonce, request=new_request()).outcome is Outcome.SPENT
    assert store.ready() == (f"127.0.0.1:{topology.ports[0]}",), "and says which is down"
    for server in topology.servers:
        server.kill()
    with pytest.raises(Outage):
        store.ready()


def test_a_shard_that_hangs_keeps_nobody_from_being_ready(topology: ClusterTopology, store: RedisNonces) -> None:
    """It is asked once, not once for each of its buckets."""
    store.ready()
    topology.servers[SHARDS].kill()  # its replica, which would take over
    topology.servers[0].pause()
    began = time.monotonic()
    assert store.ready() == (f"127.0.0.1:{topology.ports[0]}",)
    assert time.monotonic() - began < LONGEST_CALL_SECONDS


def test_a_slot_that_is_moved_is_found_and_what_was_outstanding_is_refused(
    topology: ClusterTopology, client: Cluster, store: RedisNonces
) -> None:
    """While it is on its way (ASK), and afterwards (MOVED); and the node it was moved to is another server."""
    hit = buckets_of_shard(0)
    issued = nonce_in(hit)
    bucket = bucket_of(issued, CLUSTER_BUCKETS)
    store.record(issued, grant="g", until=soon(), request=new_request())
    source, target = topology.servers[:2]
    names = [server.command("CLUSTER", "MYID").decode() for server in (source, target)]
    slot = str(key_slot(epoch_key(bucket).encode()))
    target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[0])
    source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[1])

    for key in (epoch_key(bucket), nonce_key(issued, bucket)):
        source.command("MIGRATE", "127.0.0.1", str(topology.ports[1]), key, "0", "5000")
    assert store.redeem(issued, request=new_request()).outcome is Outcome.STALE  # by ASK
    assert client.owner(epoch_key(bucket)).endswith(f":{topology.ports[0]}")

    for server in (target, source):
        server.command("CLUSTER", "SETSLOT", slot, "NODE", names[1])
    assert store.redeem(issued, request=new_request()).outcome is Outcome.STALE  # by MOVED
    assert client.owner(epoch_key(bucket)).endswith(f":{topology.ports[1]}")


def test_a_watermark_is_on_every_shard_when_it_is_answered(store: RedisNonces) -> None:
    now = int(time.time())
    issued = [nonce_in(buckets_of_shard(shard)) for shard in range(SHARDS) for _ in range(10)]
    for nonce in issued:
        grant = GrantNote("default", "default", "web", "u1", now - 1).to_text()
        store.record(nonce, grant=grant, until=soon(), request=new_request())
    store.revoke_before(Watermark("subject", "u1", now))
    assert {store.redeem(nonce, request=new_request()).outcome for nonce in issued} == {Outcome.REVOKED}


def test_a_subject_is_counted_over_all_shards(store: RedisNonces) -> None:
    """Wherever its nonces are; and in one place, if they are chosen so."""
    quota = Quota(new_request(), per_day=9, outstanding=9)
    for shard in range(SHARDS):
        for _ in range(2):
            nonce = nonce_in(buckets_of_shard(shard))
            assert store.record(nonce, grant="g", until=soon(), request=new_request(), quota=quota).recorded
    beside = [nonce_in(frozenset({bucket_of(NonceId(quota.subject_id), CLUSTER_BUCKETS)})) for _ in range(4)]
    assert record_all(store, beside, quota=quota).limit == "per_day"
    receipt = Receipt(new_request(), "text", soon())
    for outcome in (RecordOutcome.RECORDED, RecordOutcome.AGAIN):
        recording = record_all(store, beside[:3], quota=quota, receipt=receipt)
        assert recording.outcome is outcome
    refused = store.record(nonce_in(buckets_of_shard(0)), grant="g", until=soon(), request=new_request(), quota=quota)
    assert refused.limit == "per_day"


def test_a_node_that_lacks_a_script_is_sent_it(topology: ClusterTopology, store: RedisNonces) -> None:
    store.ready()
    for server in topology.servers[:SHARDS]:
        server.command("SCRIPT", "FLUSH")
    for shard in range(SHARDS):
        nonce = nonce_in(buckets_of_shard(shard))
        assert store.record(nonce, grant="g", until=soon(), request=new_request()).recorded
    assert [server.command("SCRIPT", "EXISTS", scripts.RECORD.sha) for server in topology.servers[:SHARDS]] == [
        [True]
    ] * SHARDS


def test_a_cluster_of_which_no_node_answers_is_an_outage() -> None:
    with contextlib.closing(connect_any("redis+cluster://127.0.0.1:1", connections=1)) as client:
        store = RedisNonces(client, chance=os.urandom, buckets=CLUSTER_BUCKETS)
        with pytest.raises(Outage, match="cannot be reached"):
            store.redeem(new_nonce(), request=new_request(), cross_off_until=soon())


def test_nodes_that_send_a_command_in_a_circle_are_an_outage(topology: ClusterTopology, client: Cluster) -> None:
    """Here the node that a slot is moved to has not been told, and sends everybody back."""
    nonce = nonce_in(buckets_of_shard(0))
    bucket = bucket_of(nonce, CLUSTER_BUCKETS)
    slot = key_slot(epoch_key(bucket).encode())
    name = topology.servers[1].command("CLUSTER", "MYID").decode()
    topology.servers[0].command("CLUSTER", "SETSLOT", str(slot), "NODE", name)
    with pytest.raises(redis_errors.MovedError):
        scripts.READY.run(client, [epoch_key(bucket)], [])
