"""Asks a server of the nonce store what it is, as far as our user's rights go. Nothing is written or changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import redis
from redis import exceptions as redis_errors

from tokensvc.core.doctor import ServerFacts

from .redis_client import Client, Cluster

Wall = Callable[[], float]
"""Unix seconds, with their parts."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A server that says nothing of itself. It `passes` if it is silent, and not if it does not let our user in."""

    place: str
    what: str
    passes: bool


def server_facts(client: Client, place: str, *, wall: Wall) -> Iterator[ServerFacts | Trouble]:
    """What each server that may be asked to redeem says; of a cluster all its primaries."""
    servers = [(place, client)] if not isinstance(client, Cluster) else []
    if isinstance(client, Cluster):
        try:
            servers = [(f"{place} {host}:{port}", client.node((host, port))) for host, port in client.primaries()]
        except redis_errors.RedisError as exc:
            yield _trouble(place, exc)
    for name, server in servers:
        try:
            yield _facts(server, name, wall, clustered=isinstance(client, Cluster))
        except redis_errors.RedisError as exc:
            yield _trouble(name, exc)


def _trouble(place: str, exc: redis_errors.RedisError) -> Trouble:
    if isinstance(exc, redis_errors.AuthenticationError | redis_errors.AuthorizationError):
        return Trouble(place, "does not accept our user and password", passes=False)
    if isinstance(exc, redis_errors.NoPermissionError):
        return Trouble(place, "does not let our user ask who has what", passes=False)
    return Trouble(place, "does not answer", passes=True)


def _facts(server: redis.Redis, place: str, wall: Wall, *, clustered: bool) -> ServerFacts:
    told = {
        name: value for section in ("server", "memory", "clients", "replication", "persistence")
        for name, value in _info(server, section).items()
    }  # fmt: skip
    is_valkey = "valkey_version" in told
    version = told.get("valkey_version") or told.get("redis_version")
    append_only, replicas, clients = told.get("aof_enabled"), told.get("connected_slaves"), told.get("maxclients")
    coverage = _setting(server, "cluster-require-full-coverage") if clustered else None
    return ServerFacts(
        place,
        product="Valkey" if is_valkey else "Redis",
        version=None if version is None else str(version),
        policy=told.get("maxmemory_policy"),
        append_only=None if append_only is None else bool(append_only),
        append_fsync=_setting(server, "appendfsync"),
        replicas=None if replicas is None else int(replicas),
        waits_for_replicas=None if replicas is None else "min_slaves_good_slaves" in told,
        most_clients=None if clients is None else int(clients),
        skew=_skew(server, wall),
        full_coverage=None if coverage is None else coverage == "yes",
    )


def _info(server: redis.Redis, section: str) -> dict[str, Any]:
    try:
        return server.info(section)
    except redis_errors.NoPermissionError:
        return {}


def _setting(server: redis.Redis, name: str) -> str | None:
    """What CONFIG GET says; few users may ask, and services that rent out servers rename it away."""
    try:
        told = cast("dict[Any, Any]", server.config_get(name))
    except redis_errors.ResponseError:
        return None
    text = next(iter(told.values()), None)
    return text.decode() if isinstance(text, bytes) else text


def _skew(server: redis.Redis, wall: Wall) -> float | None:
    """Our clock less its: the least that is certain, as the answer was on its way for some time."""
    before = wall()
    try:
        seconds, micros = server.time()
    except redis_errors.NoPermissionError:
        return None
    told, after = int(seconds) + int(micros) / 1_000_000, wall()
    if told < before:
        return before - told
    return after - told if told > after else 0.0
