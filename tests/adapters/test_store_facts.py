"""What a real server says of itself to users with all, some and none of the rights."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace

import pytest

from tests.support.topologies import SHARDS, ClusterTopology
from tests.support.valkey import APP_RIGHTS, Valkey
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.nonces.trial import try_out
from tokensvc.adapters.redis_client import connect, connect_any
from tokensvc.adapters.store_facts import Trouble, server_facts
from tokensvc.core.doctor import Finding, Level, ServerFacts


def facts_of(url: str, *, ahead: float = 0.0) -> ServerFacts | Trouble:
    with contextlib.closing(connect(url, connections=1)) as client:
        (facts,) = server_facts(client, "store", wall=lambda: time.time() + ahead)
    return facts


def trial(url: str, *, ahead: int = 0, buckets: int = 1) -> list[Finding]:
    with contextlib.closing(connect_any(url, connections=2)) as client:
        nonces = RedisNonces(client, chance=os.urandom, buckets=buckets)
        return try_out(nonces, "store", chance=os.urandom, clock=lambda: int(time.time()) + ahead)


def test_everything_is_told_to_who_may_know_everything() -> None:
    with Valkey(appendonly="yes", appendfsync="everysec", maxclients="321", maxmemory_policy="allkeys-lfu") as own:
        told = facts_of(own.url)
    assert isinstance(told, ServerFacts)
    assert told.version is not None
    assert told == ServerFacts(
        "store",
        product="Valkey",
        version=told.version,
        policy="allkeys-lfu",
        append_only=True,
        append_fsync="everysec",
        replicas=0,
        waits_for_replicas=False,
        most_clients=321,
        skew=0.0,
    )


def test_our_own_rights_tell_all_but_what_config_says(valkey: Valkey) -> None:
    valkey.command("ACL", "SETUSER", "app", "reset", "on", ">app-password", *APP_RIGHTS.split())
    told = facts_of(valkey.url)
    assert isinstance(told, ServerFacts)
    assert facts_of(valkey.url_as("app", "app-password")) == replace(told, append_fsync=None)


def test_what_we_may_not_ask_is_not_known(valkey: Valkey) -> None:
    rights = APP_RIGHTS.replace("+info ", "").replace("+time ", "")
    valkey.command("ACL", "SETUSER", "blind", "reset", "on", ">blind-password", *rights.split())
    assert facts_of(valkey.url_as("blind", "blind-password")) == ServerFacts("store", product="Redis")


@pytest.mark.parametrize("ahead", [100.0, -100.0])
def test_a_clock_is_compared(valkey: Valkey, ahead: float) -> None:
    told = facts_of(valkey.url, ahead=ahead)
    assert isinstance(told, ServerFacts)
    assert told.skew == pytest.approx(ahead, abs=2)


def test_who_is_not_let_in_is_told_so_without_the_password(valkey: Valkey) -> None:
    valkey.command("ACL", "SETUSER", "app", "reset", "on", ">app-password", *APP_RIGHTS.split())
    told = facts_of(valkey.url_as("app", "wrong-CANARY"))
    assert told == Trouble("store", "does not accept our user and password", passes=False)


def test_a_server_that_is_gone_is_silent() -> None:
    with Valkey() as own:
        own.kill()
        assert facts_of(own.url) == Trouble("store", "does not answer", passes=True)
        assert [finding.level for finding in trial(own.url)] == [Level.OUTAGE]


def test_each_primary_of_a_cluster_is_asked_and_a_part_that_is_down_is_named() -> None:
    with ClusterTopology() as topology, contextlib.closing(connect_any(topology.url, connections=1)) as client:
        told = [facts for facts in server_facts(client, "store", wall=time.time) if isinstance(facts, ServerFacts)]
        assert {facts.place for facts in told} == {f"store 127.0.0.1:{port}" for port in topology.ports[:SHARDS]}
        assert {(facts.full_coverage, facts.replicas) for facts in told} == {(False, 1)}
        assert [finding.level for finding in trial(topology.url, buckets=64)] == [Level.FINE]
        topology.servers[SHARDS].kill()  # the replica of the first
        topology.servers[0].kill()
        told_now = list(server_facts(client, "store", wall=time.time))
        assert [facts for facts in told_now if isinstance(facts, Trouble)] == [
            Trouble(f"store 127.0.0.1:{topology.ports[0]}", "does not answer", passes=True)
        ]
        assert len(told_now) == SHARDS
        assert {finding.level for finding in trial(topology.url, buckets=64)} == {Level.OUTAGE}


@pytest.mark.parametrize("right", ["+evalsha", "+eval", "+set", "+get", "+info"])
def test_a_right_that_is_missing_is_found_by_using_it(valkey: Valkey, right: str) -> None:
    """Those for scripts and those that scripts use."""
    valkey.command("SCRIPT", "FLUSH")
    rights = " ".join(word for word in APP_RIGHTS.split() if word != right)
    valkey.command("ACL", "SETUSER", "limited", "reset", "on", ">limited-password", *rights.split())
    (finding,) = trial(valkey.url_as("limited", "limited-password"))
    assert finding.level is Level.FATAL


@pytest.mark.parametrize("right", ["+zadd", "+zcard", "+zrem", "+zcount"])
def test_so_is_one_for_counting(valkey: Valkey, right: str) -> None:
    rights = APP_RIGHTS.replace(f"{right} ", "")
    valkey.command("ACL", "SETUSER", "limited", "reset", "on", ">limited-password", *rights.split())
    levels = [finding.level for finding in trial(valkey.url_as("limited", "limited-password"))]
    # What cannot be taken off a count ends by itself: that is no reason to stop.
    assert levels == [Level.FINE if right == "+zrem" else Level.FATAL]


def test_a_full_store_may_get_room(valkey: Valkey) -> None:
    del valkey
    with Valkey(maxmemory="1mb", maxmemory_policy="noeviction") as full:
        assert [(finding.level, "full" in finding.what) for finding in trial(full.url)] == [(Level.OUTAGE, True)]


def test_what_the_trial_wrote_ends_within_a_minute() -> None:
    """And a second, for what is counted in a window."""
    with Valkey() as own:
        assert [finding.level for finding in trial(own.url)] == [Level.FINE]
        left = {key: own.command("TTL", key.decode()) for key in own.command("KEYS", "*")}
        assert {key for key, seconds in left.items() if seconds < 0} == {b"ik{00}:e", b"ik{00}:s"}
        assert all(seconds <= 61 for seconds in left.values())
