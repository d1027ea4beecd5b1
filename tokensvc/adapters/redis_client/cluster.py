"""A client of a cluster: sends a script to the node that has its keys, and follows a redirection.

It asks for the map of the cluster when it has none, and after an error; the caller that had the error asks, and
nobody waits for it, so those whose keys are elsewhere notice nothing. An error is raised as it came: whoever tries
again finds the new map. A node that is gone costs a connection refused, one that hangs a time-out.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Final

import redis
from redis import exceptions as redis_errors
from redis.crc import key_slot

from . import pools
from .address import Address, Host

MOST_REDIRECTIONS: Final = 5
_KEYS_AT: Final = 3
"""In EVALSHA sha 2 key key …, the place of the first key."""

_MAP_MAY_BE_OLD: Final = (redis_errors.ConnectionError, redis_errors.TimeoutError, redis_errors.ClusterError)


class Cluster:
    """Runs `EVALSHA` and `EVAL`, whose keys have to be in one slot. Safe between threads."""

    def __init__(self, address: Address, connections: int) -> None:
        """Prepare; nothing is sent. `connections` is for each node."""
        self.connections = connections
        self._address = address
        self._clients: dict[Host, redis.Redis] = {}
        self._owners: dict[int, Host] = {}
        self._lock = threading.Lock()
        self._looking = threading.Lock()

    def owner(self, key: str) -> str:
        """The node that has the key, as far as is known: `host:port`, or nothing."""
        host = self._owners.get(key_slot(key.encode()))
        return "" if host is None else f"{host[0]}:{host[1]}"

    def primaries(self) -> tuple[Host, ...]:
        """The nodes that have slots. Raises redis-py's errors if none tells."""
        if not self._owners:
            self._look_first(0)
        return tuple(dict.fromkeys(self._owners.values()))

    def execute_command(self, *command: Any, may_join: bool = False) -> Any:  # noqa: ANN401 - as redis-py's
        """Run a script, as `Lined` does. Raises redis-py's errors; MovedError or AskError if redirected in a circle."""
        slot = key_slot(str(command[_KEYS_AT]).encode())
        if slot not in self._owners:
            self._look_first(slot)
        host = self._owners.get(slot)
        if host is None:
            raise redis_errors.ClusterDownError("No node has this slot.")
        try:
            return self._follow(slot, host, command, may_join)
        except _MAP_MAY_BE_OLD:
            self._look_again(avoid=host)
            raise

    def _follow(self, slot: int, host: Host, command: Sequence[Any], may_join: bool) -> Any:  # noqa: ANN401 - as above
        asking = False
        for left in reversed(range(MOST_REDIRECTIONS + 1)):
            client = self.node(host)
            try:
                return _ask(client, command) if asking else client.execute_command(*command, may_join=may_join)
            except redis_errors.AskError as exc:
                if left == 0:
                    raise
                # An empty host is the one that was asked.
                host = (exc.host or host[0], int(exc.port))
                asking = not isinstance(exc, redis_errors.MovedError)
                if not asking:
                    self._owners[slot] = host
        raise AssertionError("not reached")

    def node(self, host: Host) -> redis.Redis:
        """The client of one node."""
        with self._lock:
            if host not in self._clients:
                self._clients[host] = pools.server_client(self._address, host, self.connections)
            return self._clients[host]

    def _look_first(self, slot: int) -> None:
        """Without a map there is nothing to do but to wait for one; but not for longer than for a reply."""
        if not self._looking.acquire(timeout=pools.SOCKET_TIMEOUT_SECONDS):
            raise redis_errors.ConnectionError("The nodes of the cluster are slow to say who has what.")
        try:
            if slot not in self._owners:
                self._look(avoid=None)
        finally:
            self._looking.release()

    def _look_again(self, avoid: Host) -> None:
        if self._looking.acquire(blocking=False):  # else somebody does, and this caller is late enough
            try:
                self._look(avoid)
            except redis_errors.RedisError:
                pass  # the error that led here says more
            finally:
                self._looking.release()

    def _look(self, avoid: Host | None) -> None:
        """Get the map from the first node that answers; the one to avoid is asked last."""
        known = dict.fromkeys((*self._owners.values(), *self._address.hosts))
        trouble: redis_errors.RedisError = redis_errors.ConnectionError("No node of the cluster answers.")
        for host in sorted(known, key=lambda one: one == avoid):
            try:
                owners = _owners(self.node(host).execute_command("CLUSTER SLOTS"), host)
            except redis_errors.RedisError as exc:
                trouble = exc
                continue
            if owners:
                self._owners = owners
                in_use = {*owners.values(), *self._address.hosts}
                with self._lock:  # what is dropped is closed when the last command over it is done
                    self._clients = {host: client for host, client in self._clients.items() if host in in_use}
                return
        raise trouble

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients = {}


def _ask(client: redis.Redis, command: Sequence[Any]) -> Any:  # noqa: ANN401 - whatever the command answers
    """Run it where its slot is being moved to, which has to be told so just before, over the same connection."""
    with client.pipeline(transaction=False) as pipeline:
        pipeline.execute_command("ASKING")
        pipeline.execute_command(*command)
        _, answer = pipeline.execute(raise_on_error=False)
    if isinstance(answer, Exception):
        raise answer
    return answer


def _owners(answer: Sequence[Sequence[Any]], asked: Host) -> dict[int, Host]:
    """What CLUSTER SLOTS says: [first slot, last slot, [host, port, …], replicas …] for each range."""
    owners: dict[int, Host] = {}
    for first, last, (name, port, *_), *_ in answer:
        text = name.decode() if isinstance(name, bytes) else name
        # Nothing and "?" are what a node says that does not know its own name: it is where it was asked.
        host = (asked[0] if text in {None, "", "?"} else str(text), int(port))
        owners.update(dict.fromkeys(range(int(first), int(last) + 1), host))
    return owners
