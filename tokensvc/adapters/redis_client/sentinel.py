"""A client of whatever server the sentinels call the primary now: each new connection asks them first.

They may be wrong for a while, or not agree; then a server that is no primary any more is asked. That is what the
fence is for: nothing here decides what may be spent.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.connection import BlockingConnectionPool
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from . import pools
from .address import Address


class _Tcp(pools.LooksOnceMore, SentinelManagedConnection):  # type: ignore[misc] # redis-py's bases differ in types
    pass


class _Tls(pools.LooksOnceMore, SentinelManagedSSLConnection):  # type: ignore[misc] # as above
    pass


class _Pool(SentinelConnectionPool, BlockingConnectionPool):
    """redis-py's, which fails at once when all connections are busy; and here a caller waits for a free one."""

    def close(self) -> None:
        """Close the connections to the sentinels too: nobody else has them."""
        super().close()
        self.sentinel_manager.close()


def primary_client(address: Address, connections: int) -> redis.Redis:
    """Return a client of the primary; none of the sentinels is asked before the first command."""
    sentinels = Sentinel([])
    # Not made by redis-py: it would give each of them its ten retries.
    sentinels.sentinels = [pools.sentinel_client(address, host) for host in address.hosts]
    place: dict[str, Any] = {
        "connection_class": _Tcp if address.tls is None else _Tls,
        "db": address.database,
        **(address.tls or {}),
    }
    more = pools.options(connections, address.credentials)
    pool = _Pool(address.primary, sentinels, **place, **more)  # type: ignore[no-untyped-call] # redis-py's has no types
    return pools.from_pool(pool)
