"""A shard of the cluster is down: who has no reason to be there is issued a credential whose nonce is elsewhere."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.app import Service
from tests.support.nonces import new_request
from tests.support.topologies import SHARDS, ClusterTopology
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect_any
from tokensvc.core.errors import Unanswered
from tokensvc.core.nonces import nonce_id
from tokensvc.core.policy import AskV1, AskV2
from tokensvc.core.profiles import Limits
from tokensvc.wiring import CLUSTER_BUCKETS

from .conftest import bearer

if TYPE_CHECKING:
    from tokensvc.core.callers import Presented
    from tokensvc.service.issue import Issue

ISSUED = 24
"""That none of so many would have been of the dead third is one in 16,000."""

LONGEST_SECONDS = 5.0
"""One and a half is the design; machines of tests are slow."""


@pytest.fixture
def topology() -> Iterator[ClusterTopology]:
    with ClusterTopology() as topology:
        yield topology


@pytest.fixture
def issue(topology: ClusterTopology, service: Service) -> Iterator[Issue]:
    with contextlib.closing(connect_any(topology.url, connections=4)) as client:
        store = RedisNonces(client, chance=os.urandom, buckets=CLUSTER_BUCKETS)
        store.ready()
        yield replace(service.issue, nonces=store)


def kill(topology: ClusterTopology) -> None:
    topology.servers[0].kill()


def hang(topology: ClusterTopology) -> None:
    topology.servers[0].pause()


@pytest.mark.parametrize("go", [kill, hang])
def test_everybody_is_issued_a_credential(
    topology: ClusterTopology, service: Service, issue: Issue, go: Callable[[ClusterTopology], None]
) -> None:
    presented = bearer(service.api_key)
    topology.servers[SHARDS].kill()  # the replica, which would take over
    go(topology)
    for number in range(ISSUED):
        began = time.monotonic()
        issue.v1("default", presented, AskV1())
        issue.v2("default", presented, AskV2({"fileName": f"{number}.png"}))
        assert time.monotonic() - began < LONGEST_SECONDS


def refused(issue: Issue, presented: Presented, ask: Callable[[], AskV1]) -> int:
    count = 0
    for _ in range(ISSUED):
        try:
            issue.v1("default", presented, ask())
        except Unanswered:
            count += 1
    return count


def test_a_token_that_the_client_chose_is_where_it_is(
    topology: ClusterTopology, service: Service, issue: Issue
) -> None:
    topology.servers[SHARDS].kill()
    topology.servers[0].kill()
    assert 0 < refused(issue, bearer(service.api_key), lambda: AskV1(token=new_request())) < ISSUED


def test_who_is_counted_is_issued_nothing_beside_the_count(
    topology: ClusterTopology, service: Service, issue: Issue
) -> None:
    """Else the dead shard would be the way round the limit."""
    limited = {name: replace(each, limits=Limits(outstanding=5000)) for name, each in issue.profiles.items()}
    counted = replace(issue, profiles=limited)
    for shard in range(SHARDS):
        topology.servers[SHARDS + shard].kill()
    presented = bearer(service.api_key)
    counted.v1("default", presented, AskV1())
    holder = next(
        server
        for server in topology.servers[:SHARDS]
        if any(b":q:" in key for key in server.command("KEYS", "ik*:q:*"))
    )
    holder.kill()
    assert refused(counted, presented, AskV1) == ISSUED
    issue.v1("default", presented, AskV1())


def test_of_one_server_there_is_no_other(service: Service) -> None:
    """So an outage there is asked about once."""
    assert service.issue.nonces.elsewhere(nonce_id("default", "v1", b"any")) is None
