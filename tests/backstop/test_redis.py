"""What we assume of redis-py and of the server: above all, which commands are quietly repeated.

`adapters.redis_client` is the one place that makes clients, because of the first tests here.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest
import redis
from redis import exceptions

from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.valkey import Valkey
from tokensvc.adapters.redis_client import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def proxy(valkey: Valkey) -> Iterator[FaultProxy]:
    with FaultProxy(valkey.socket) as between:
        yield between


@pytest.fixture
def key() -> str:
    return f"backstop:{os.urandom(8).hex()}"


def by_constructor(proxy: FaultProxy) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(proxy.socket))


def by_url(proxy: FaultProxy) -> redis.Redis:
    return redis.Redis.from_url(proxy.url)


def by_pool(proxy: FaultProxy) -> redis.Redis:
    return redis.Redis(connection_pool=redis.ConnectionPool.from_url(proxy.url))


def ours(proxy: FaultProxy) -> redis.Redis:
    return connect(proxy.url, connections=2)


def lose_reply(proxy: FaultProxy, make: Callable[[FaultProxy], redis.Redis], *command: str) -> Any:
    """Run a command whose first reply is lost, after it was executed."""
    with contextlib.closing(make(proxy)) as client:
        client.ping()
        proxy.inject(Fault.DROP_REPLY, matching=command[0].encode(), when=lambda k: k == 1)
        try:
            return client.execute_command(*command)
        finally:
            proxy.heal()


# Repeated commands


def test_a_client_of_the_constructor_repeats_a_command_whose_reply_is_lost(
    valkey: Valkey, proxy: FaultProxy, key: str
) -> None:
    assert lose_reply(proxy, by_constructor, "INCR", key) == 2
    assert valkey.command("GET", key) == b"2"


@pytest.mark.parametrize("make", [by_url, by_pool, ours])
def test_other_clients_do_not(
    valkey: Valkey, proxy: FaultProxy, key: str, make: Callable[[FaultProxy], redis.Redis]
) -> None:
    with pytest.raises(exceptions.ConnectionError):
        lose_reply(proxy, make, "INCR", key)
    assert valkey.command("GET", key) == b"1"


def test_a_repeated_command_answers_as_if_somebody_else_had_been_there(
    valkey: Valkey, proxy: FaultProxy, key: str
) -> None:
    """A nonce spent by GETDEL or SET NX would be refused to its owner. The guard: scripts with a request id."""
    assert lose_reply(proxy, by_constructor, "SET", key, "1", "NX") is None
    assert valkey.command("GET", key) == b"1"
    assert lose_reply(proxy, by_constructor, "GETDEL", key) is None


def test_our_clients_retry_nothing_and_wait_a_quarter_of_a_second(valkey: Valkey) -> None:
    with contextlib.closing(connect(valkey.url, connections=1)) as client:
        connection = client.connection_pool.get_connection()
        assert connection.retry.get_retries() == 0
        assert (connection.socket_timeout, connection.socket_connect_timeout) == (0.25, 0.25)
        client.connection_pool.release(connection)


def test_a_reply_that_never_comes_is_a_time_out_and_not_the_next_commands_reply(proxy: FaultProxy, key: str) -> None:
    with contextlib.closing(ours(proxy)) as client:
        client.set(key, "mine")
        proxy.inject(Fault.BLACK_HOLE, matching=b"GET", when=lambda k: k == 1)
        with pytest.raises(exceptions.TimeoutError):
            client.get(key)
        assert client.execute_command("ECHO", "other") == b"other"
        assert client.get(key) == b"mine"


def test_a_connection_that_went_stale_while_it_lay_in_the_pool_is_replaced_without_a_retry() -> None:
    with Valkey() as own, contextlib.closing(own.client()) as client:
        client.ping()
        own.restart()
        assert client.ping() is True


# The pool


def test_the_ordinary_pool_refuses_when_it_is_empty_and_ours_waits(valkey: Valkey) -> None:
    with contextlib.closing(redis.Redis.from_url(valkey.url, max_connections=1)) as client:
        taken = client.connection_pool.get_connection()
        with pytest.raises(exceptions.MaxConnectionsError):
            client.ping()
        client.connection_pool.release(taken)
    with contextlib.closing(connect(valkey.url, connections=1)) as client:
        taken = client.connection_pool.get_connection()
        with pytest.raises(exceptions.ConnectionError, match="No connection available"):
            client.ping()
        client.connection_pool.release(taken)
        assert client.ping() is True


# Errors


def test_which_error_is_a_kind_of_which() -> None:
    """The table in `attempts` is read from the top for this."""
    assert issubclass(exceptions.AuthenticationError, exceptions.ConnectionError)
    assert issubclass(exceptions.AuthorizationError, exceptions.ConnectionError)
    assert issubclass(exceptions.BusyLoadingError, exceptions.ConnectionError)
    assert issubclass(exceptions.MaxConnectionsError, exceptions.ConnectionError)
    assert not issubclass(exceptions.TimeoutError, exceptions.ConnectionError)
    assert not issubclass(exceptions.NoPermissionError, exceptions.ConnectionError)
    for kind in ("OutOfMemoryError", "ReadOnlyError", "NoScriptError", "ClusterDownError", "TimeoutError"):
        assert issubclass(getattr(exceptions, kind), exceptions.RedisError)


def test_an_unknown_script_is_an_error_of_its_own(valkey: Valkey) -> None:
    with pytest.raises(exceptions.NoScriptError):
        valkey.command("EVALSHA", "0" * 40, "0")


def test_a_full_store_is_an_error_of_its_own() -> None:
    with Valkey(maxmemory="1", maxmemory_policy="noeviction") as own, pytest.raises(exceptions.OutOfMemoryError):
        own.command("SET", "k", "x")


# The server


def test_a_time_of_expiry_of_many_digits_is_an_error_of_the_server(valkey: Valkey, key: str) -> None:
    """It would be a 500 for a stranger's wish; the guard: `window`, and `nonces.store._time`."""
    with pytest.raises(exceptions.ResponseError, match="not an integer"):
        valkey.command("SET", key, "1", "EXAT", "9" * 400)


def test_a_time_of_expiry_that_has_passed_is_taken_without_complaint(valkey: Valkey, key: str) -> None:
    """The guard: record.lua and redeem.lua read back what they wrote."""
    assert valkey.command("SET", key, "1", "EXAT", "1000") in (True, b"OK", "OK")
    assert valkey.command("GET", key) is None


def test_a_write_that_keeps_the_time_keeps_it_and_another_drops_it(valkey: Valkey, key: str) -> None:
    valkey.command("SET", key, "1", "EX", "1000")
    valkey.command("SET", key, "2", "KEEPTTL")
    assert valkey.command("TTL", key) > 900
    valkey.command("SET", key, "3")
    assert valkey.command("TTL", key) == -1


def test_the_replication_id_changes_with_a_restart() -> None:
    """What the epoch fence stands on: a server that was started anew is another one."""
    with Valkey(appendonly="yes") as own:

        def replid() -> str:
            info = own.command("INFO", "replication")
            return str(info["master_replid"])

        first = replid()
        assert replid() == first
        own.restart()
        assert replid() != first
