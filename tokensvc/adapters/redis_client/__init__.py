"""The one place that makes a Redis client: of one server, of whatever server Sentinel calls the primary, or a cluster.

redis-py tries a command again by itself when it is built with its defaults (ten times in version 8), and a
repeated command whose first reply was lost answers as if somebody else had been there. Here nothing is
retried below us: every retry is that of `nonces.attempts`, with the same request id.
"""

from __future__ import annotations

from typing import TypeAlias

import redis

from . import pools, sentinel
from .address import Address, Topology
from .cluster import Cluster

Client: TypeAlias = redis.Redis | Cluster
"""What runs a script: `execute_command("EVALSHA", sha, 2, key, key, …)`."""

__all__ = ["Client", "Cluster", "connect", "connect_any"]


def connect(url: str, *, connections: int) -> redis.Redis:
    """Return a client of one server, or of Sentinel's primary. ValueError for a cluster; see `connect_any`."""
    client = connect_any(url, connections=connections)
    if isinstance(client, Cluster):
        raise ValueError("A cluster is more than one server.")
    return client


def connect_any(url: str, *, connections: int) -> Client:
    """Return a client of at most `connections` connections to each server; none is made before the first command.

    `url` has one of `address.SCHEMES`, with `user:password@` and a database if needed:
    `rediss://app:pw@host:6379/0`, `unix://app:pw@/dir/s.sock?db=0`,
    `redis+sentinel://app:pw@h1:26379,h2,h3/name?db=0&sentinel_password=pw`, `redis+cluster://app:pw@h1:6379,h2`.
    Raises ValueError if it is not, and never quotes it. A caller waits 0.2 s for a free connection, 0.25 s to connect
    and 0.25 s for each reply; where the primary or the map of the cluster is not known, also for those who know it.
    """
    if connections < 1:
        raise ValueError("A client needs at least one connection.")
    address = Address.parse(url)
    match address.topology:
        case Topology.SENTINEL:
            return sentinel.primary_client(address, connections)
        case Topology.CLUSTER:
            return Cluster(address, connections)
        case Topology.SERVER:
            return pools.server_client(address, address.hosts[0] if address.hosts else None, connections)
