"""Connections, and pools of them, with our time-outs and without retries: of every server of every topology.

A client for one server is all that is used of redis-py; its own client for clusters sleeps, retries and asks around
by itself, for longer than a request may take.
"""

from __future__ import annotations

from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.connection import BlockingConnectionPool, Connection, SSLConnection, UnixDomainSocketConnection
from redis.credentials import UsernamePasswordCredentialProvider
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from .address import Address, Host
from .line import Line, Lined

POOL_WAIT_SECONDS: Final = 0.2
SOCKET_TIMEOUT_SECONDS: Final = 0.25
CONNECT_TIMEOUT_SECONDS: Final = 0.25
HEALTH_CHECK_SECONDS: Final = 15
SENTINEL_CONNECTIONS: Final = 4


class LooksOnceMore:
    """A connection that looks for the reply once more before it gives up on it.

    Where many requests share one loop (gevent), a burst of them keeps it from turning for longer than a time-out
    lasts. Then the reply has been there for long, and the timer is only what is looked at first.
    """

    def read_response(self, *args: Any, disconnect_on_error: bool = True, **options: Any) -> Any:  # noqa: ANN401 - its own
        """As the connection's own."""
        connection: Any = super()
        try:
            return connection.read_response(*args, disconnect_on_error=False, **options)
        except redis.TimeoutError:
            if connection.can_read(timeout=0):
                return connection.read_response(*args, disconnect_on_error=disconnect_on_error, **options)
            if disconnect_on_error:
                connection.disconnect()
            raise
        except redis.ResponseError:
            raise
        except BaseException:  # the rest of the reply would be taken for the next one's
            if disconnect_on_error:
                connection.disconnect()
            raise


class _Tcp(LooksOnceMore, Connection):
    pass


class _Tls(LooksOnceMore, SSLConnection):
    pass


class _Unix(LooksOnceMore, UnixDomainSocketConnection):
    pass


def options(connections: int, credentials: UsernamePasswordCredentialProvider | None) -> dict[str, Any]:
    """What every pool is made with, whatever its connections lead to."""
    return {
        "max_connections": connections,
        "timeout": POOL_WAIT_SECONDS,
        "socket_timeout": SOCKET_TIMEOUT_SECONDS,
        "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "health_check_interval": HEALTH_CHECK_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 3,
        "client_name": "tokensvc",
        "driver_info": None,  # two round trips a connection, for nothing that we use
        # A server's "maintenance" message would otherwise stretch the time-outs to ten seconds.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        **({} if credentials is None else {"credential_provider": credentials}),
    }


def server_client(address: Address, host: Host | None, connections: int) -> redis.Redis:
    """Return a client of the server at `host`, or at the address's unix socket, with what else the address says."""
    place: dict[str, Any] = {"connection_class": _Unix, "path": address.path}
    if host is not None:
        place = {"connection_class": _Tcp if address.tls is None else _Tls, "host": host[0], "port": host[1]}
    everywhere = options(connections, address.credentials)
    return from_pool(BlockingConnectionPool(**place, **everywhere, **(address.tls or {}), db=address.database))


def sentinel_client(address: Address, host: Host) -> redis.Redis:
    """Return a client of the sentinel at `host`, who may have users and passwords of its own."""
    connection_class = _Tcp if address.tls is None else _Tls
    everywhere = options(SENTINEL_CONNECTIONS, address.sentinel_credentials)
    return from_pool(
        BlockingConnectionPool(
            connection_class=connection_class, host=host[0], port=host[1], **everywhere, **(address.tls or {})
        )
    )


def from_pool(pool: BlockingConnectionPool) -> redis.Redis:
    """A client that owns the pool, and asks scripts over one of its connections."""
    client = Lined(connection_pool=pool)
    client.auto_close_connection_pool = True
    client.line = Line(pool, POOL_WAIT_SECONDS + SOCKET_TIMEOUT_SECONDS)
    return client
