"""The one place that makes a Redis client.

redis-py tries a command again by itself when it is built with its defaults (ten times in version 8), and a
repeated command whose first reply was lost answers as if somebody else had been there. Here nothing is
retried below us: every retry is that of `nonces.attempts`, with the same request id. Options in the URL could
undo it, so only those named here are taken.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import BlockingConnectionPool, Connection, SSLConnection, UnixDomainSocketConnection
from redis.credentials import UsernamePasswordCredentialProvider
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

POOL_WAIT_SECONDS: Final = 0.2
SOCKET_TIMEOUT_SECONDS: Final = 0.25
CONNECT_TIMEOUT_SECONDS: Final = 0.25
HEALTH_CHECK_SECONDS: Final = 15
DEFAULT_PORT: Final = 6379


class _LooksOnceMore:
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


class _Tcp(_LooksOnceMore, Connection):
    pass


class _Tls(_LooksOnceMore, SSLConnection):
    pass


class _Unix(_LooksOnceMore, UnixDomainSocketConnection):
    pass


_CONNECTIONS: Final = {"redis": _Tcp, "rediss": _Tls, "unix": _Unix}
_TLS_OPTIONS: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"})
_YES_AND_NO: Final = {"true": True, "1": True, "false": False, "0": False}


def connect(url: str, *, connections: int) -> redis.Redis:
    """Return a client of at most `connections` connections; none is made before the first command.

    `url` is `redis://`, `rediss://` or `unix://`, with `user:password@` and a database if needed:
    `rediss://app:pw@host:6379/0`, `unix://app:pw@/dir/s.sock?db=0`. Raises ValueError if it is not, and never
    quotes it. A caller waits 0.2 s for a free connection, 0.25 s to connect, and 0.25 s for each reply.
    """
    if connections < 1:
        raise ValueError("A client needs at least one connection.")
    parts = urlsplit(url)
    if parts.scheme not in _CONNECTIONS:
        raise ValueError("The URL of the store must start with redis://, rediss:// or unix://.")
    pool = BlockingConnectionPool(  # type: ignore[no-untyped-call]
        connection_class=_CONNECTIONS[parts.scheme],
        max_connections=connections,
        timeout=POOL_WAIT_SECONDS,
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
        health_check_interval=HEALTH_CHECK_SECONDS,
        retry=Retry(NoBackoff(), 0),
        protocol=3,
        client_name="tokensvc",
        driver_info=None,  # two round trips a connection, for nothing that we use
        # A server's "maintenance" message would otherwise stretch the time-outs to ten seconds.
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        **_place(parts),
        **_options(parts),
        **_credentials(parts),
    )
    return redis.Redis.from_pool(pool)


def _place(parts: SplitResult) -> dict[str, Any]:
    if parts.scheme == "unix":
        if parts.netloc.rpartition("@")[2] or not parts.path.startswith("/"):
            raise ValueError(
                "A unix:// URL needs an absolute path: unix:///dir/s.sock or unix://user:password@/dir/s.sock."
            )
        return {"path": unquote(parts.path)}
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or not parts.hostname:
        # Python's own message would quote what stands there: with a raw "/" that is half of the password.
        raise ValueError(
            "The URL of the store has no host, or a port that is none; write / ? # @ in a password as %XX."
        )
    return {"host": unquote(parts.hostname), "port": port or DEFAULT_PORT}


def _options(parts: SplitResult) -> dict[str, Any]:
    options: dict[str, Any] = {}
    database = "" if parts.scheme == "unix" else parts.path.removeprefix("/")
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name == "db" and not database:
            database = value
        elif parts.scheme == "rediss" and name == "ssl_check_hostname" and value.lower() in _YES_AND_NO:
            options[name] = _YES_AND_NO[value.lower()]
        elif parts.scheme == "rediss" and name in _TLS_OPTIONS - {"ssl_check_hostname"} and value:
            options[name] = value
        else:
            allowed = ", ".join(sorted(_TLS_OPTIONS))
            raise ValueError(f"The URL of the store may have db, once, and with rediss:// also {allowed}.")
    if parts.fragment:
        raise ValueError("The URL of the store has a #; write it as %23.")
    if database and not (database.isascii() and database.isdigit()):
        raise ValueError("The database in the URL of the store is not a number.")
    return {**options, "db": int(database or 0)}


def _credentials(parts: SplitResult) -> dict[str, Any]:
    """As a provider object, because some versions of redis-py print a plain `password` in a pool's repr."""
    if not parts.password:
        if parts.username:
            raise ValueError("The URL of the store has a user but no password.")
        return {}
    provider = UsernamePasswordCredentialProvider(unquote(parts.username or ""), unquote(parts.password))
    return {"credential_provider": provider}
