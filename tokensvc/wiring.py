"""Puts the pieces together: the only place that names concrete classes, the clock, randomness and the environment."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from tokensvc import callers, config, events
from tokensvc.adapters import draining, embedded
from tokensvc.adapters.api_keys import ApiKeys
from tokensvc.adapters.aside import Blocking, aside
from tokensvc.adapters.buckets import bucket_files
from tokensvc.adapters.callers.anonymous import Anonymous
from tokensvc.adapters.disk_files import DiskFiles
from tokensvc.adapters.inspect import inspect
from tokensvc.adapters.logs.about import concern
from tokensvc.adapters.metrics import Metrics
from tokensvc.adapters.metrics_files import VARIABLE
from tokensvc.adapters.nonces import RedisNonces
from tokensvc.adapters.redis_client import Cluster, connect_any
from tokensvc.adapters.remote_files import HttpsFiles
from tokensvc.adapters.throttle import RedisThrottle
from tokensvc.core.hosts import HostNames
from tokensvc.core.keys import AcceptedKeys, KeyPair, KeyRing, Secret
from tokensvc.core.metadata import MetadataField
from tokensvc.core.profiles import Profile
from tokensvc.ports import Audit, CallerSource, FileStore, NonceStore, Throttle
from tokensvc.service.accept import Accept
from tokensvc.service.explain import Explain
from tokensvc.service.fetching import Fetching
from tokensvc.service.issue import Issue
from tokensvc.service.operate import Introspect, Revoke
from tokensvc.service.redeem import Redeem
from tokensvc.service.rights import Rights

THROTTLE_CONNECTIONS: Final = 4
STORE_CONNECTIONS: Final = 32
"""Connections to each server of the nonce store, at most, for each worker."""

CLUSTER_BUCKETS: Final = 64
"""As many parts that the nonces of a cluster are in, so at most as many nodes that share the work."""


def clock() -> int:
    """Unix seconds, now."""
    return int(time.time())


wall = time.time
"""Unix seconds with their parts, for comparing clocks."""

chance = os.urandom


@functools.cache
def metrics() -> Metrics:
    """What this process counts, together with the other workers if the launcher gave them a place to."""
    directory = environment().get(VARIABLE)
    return Metrics(Path(directory) if directory else None)


def audit(settings: config.Settings | None = None) -> Audit:
    """Where events go: counted, to the log, and to the audit's file if one is configured."""
    return events.told(settings, metrics(), time.time, aside)


def require_audit(settings: config.Settings) -> None:
    """Raise an outage if nothing could be issued now because the audit's file cannot be written."""
    events.require_audit(settings, time.time, aside)


@functools.cache
def spans() -> events.Spans | None:
    """Where this process's spans go, if the environment says so."""
    return events.spans(environment(), time.time)


def stopping() -> bool:
    """Whether the launcher is about to end this service."""
    directory = environment().get(VARIABLE)
    return directory is not None and draining.announced(Path(directory))


def environment() -> Mapping[str, str]:
    """The process's environment."""
    return os.environ


def configuration_file() -> Path:
    """The configuration file of this process."""
    return config.configuration_file(environment())


def load_settings(variables: Mapping[str, str] | None = None, *, demo: bool = False) -> config.Settings:
    """The configuration that the variables describe, or this process's; raises `config.ConfigurationError`.

    `demo` lets the demo sign-in in, which is for the development server.
    """
    variables = environment() if variables is None else variables
    settings = config.load(variables, demo=demo)
    if settings.redis_url is not None:
        try:
            connect_any(settings.redis_url.get_secret_value(), connections=1).close()  # it connects to nothing yet
        except ValueError as exc:
            name = "REDIS_URL" if variables.get("REDIS_URL") else "REDIS_URL_FILE"
            raise config.ConfigurationError([config.Fault(name, str(exc))]) from None
    if settings.upload.enabled and isinstance(settings.upload.store, config.Bucket):
        _bucket(settings.upload.store, variables)
    return settings


def store_directory(settings: config.Settings) -> Path:
    """Where the embedded nonce store lives."""
    return settings.data_dir / "store"


def store_url(settings: config.Settings) -> str:
    """Where Redis is: REDIS_URL, or the embedded store, which the launcher or `tokensvc store` runs.

    Raises `config.ConfigurationError` if there is neither.
    """
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    try:
        return embedded.url(store_directory(settings))
    except FileNotFoundError:
        what = f"is not set, and no store of our own was ever started in {store_directory(settings)}"
        remedy = "set it, or run `tokensvc store` beside this, or start with `tokensvc serve`, which does"
        raise config.ConfigurationError([config.Fault("REDIS_URL", what, remedy)]) from None


def nonce_store(settings: config.Settings) -> NonceStore:
    """The nonce store. One that is down now is an outage, later."""
    client = connect_any(store_url(settings), connections=STORE_CONNECTIONS)
    return RedisNonces(
        client,
        chance=chance,
        connections=STORE_CONNECTIONS,
        buckets=CLUSTER_BUCKETS if isinstance(client, Cluster) else 1,
        on_fence="wait" if settings.redis_url is None else "rotate",
        clock=clock,
        audit=audit(settings),
        observe=events.observing(metrics().store_answered, spans()),
    )


def throttle(settings: config.Settings) -> RedisThrottle:
    """The courtesy that slows strangers down, for both use cases; on connections of its own, which may all be busy."""
    client = connect_any(store_url(settings), connections=THROTTLE_CONNECTIONS)
    failures, anonymous = (
        config.parse_rate(text) for text in (settings.throttle.failures, settings.throttle.anonymous)
    )
    return RedisThrottle(
        client,
        clock=clock,
        audit=audit(settings),
        failures=failures,
        anonymous=anonymous,
        on_open=metrics().unthrottled,
    )


def file_store(settings: config.Settings) -> FileStore:
    """Where uploaded files are kept; raises `config.ConfigurationError` if that cannot be so here."""
    place = settings.upload.store
    if isinstance(place, config.Bucket):
        return _bucket(place, environment())(settings.data_dir / "incoming", aside)
    return DiskFiles(place or settings.data_dir / "files", aside)


def _bucket(bucket: config.Bucket, variables: Mapping[str, str]) -> Callable[[Path, Blocking], FileStore]:
    try:
        return bucket_files(bucket.name, bucket.prefix, variables)
    except ValueError as exc:
        raise config.ConfigurationError([config.Fault("upload.store", str(exc))]) from None


def key_rings(settings: config.Settings) -> dict[str, KeyRing]:
    """Each account's key ring."""
    return {
        name: KeyRing(
            tuple(
                KeyPair(
                    name,
                    key.public_key,
                    Secret(key.private_key.get_secret_value()),
                    None if key.accept_until is None else int(key.accept_until.timestamp()),
                )
                for key in account.keys
            ),
            account.active,
        )
        for name, account in settings.accounts.items()
    }


def accepted_keys(settings: config.Settings) -> AcceptedKeys:
    """The key pairs of all accounts."""
    return AcceptedKeys(tuple(pair for ring in key_rings(settings).values() for pair in ring.pairs))


def profiles(settings: config.Settings) -> dict[str, Profile]:
    """The profiles by name."""
    fields = _metadata(settings)
    return {
        name: replace(profile.build(name), metadata=fields.get(profile.account))
        for name, profile in settings.profiles.items()
    }


def _metadata(settings: config.Settings) -> dict[str, dict[str, MetadataField]]:
    """The custom metadata fields of each account that declares some."""
    return {
        name: {field: each.build() for field, each in account.metadata_fields.items()}
        for name, account in settings.accounts.items()
        if account.metadata_fields
    }


def caller_sources(settings: config.Settings) -> dict[str, CallerSource]:
    """The caller sources by name."""
    return callers.sources_of(settings, clock, audit(settings))


def issue(
    settings: config.Settings, nonces: NonceStore, sources: Mapping[str, CallerSource], throttle: Throttle
) -> Issue:
    """The use case that hands out credentials."""
    anonymous = frozenset(name for name, source in sources.items() if isinstance(source, Anonymous))
    return Issue(
        profiles(settings),
        key_rings(settings),
        sources,
        nonces,
        clock,
        chance,
        audit(settings),
        throttle,
        anonymous,
        concern=concern,
    )


def accept(settings: config.Settings, nonces: NonceStore, files: FileStore, throttle: Throttle) -> Accept:
    """The use case that takes uploads."""
    remote = settings.upload.remote
    fetched = HttpsFiles(hosts=HostNames.of(remote.hosts), seconds=remote.seconds, audit=audit(settings))
    fetching = Fetching(fetched, profiles(settings), remote.enabled, clock)
    return Accept(
        accepted_keys(settings),
        _cross_off(settings),
        nonces,
        files,
        inspect,
        clock,
        chance,
        audit(settings),
        throttle,
        settings.upload.lease,
        fetching,
        _metadata(settings),
        concern,
    )


def redeem(settings: config.Settings, nonces: NonceStore) -> Redeem:
    """The use case that spends for other people's uploaders."""
    return Redeem(accepted_keys(settings), _cross_off(settings), nonces, clock, chance, audit(settings), concern)


def introspect(settings: config.Settings, nonces: NonceStore) -> Introspect:
    """The use case that says whether a credential is good."""
    return Introspect(accepted_keys(settings), _cross_off(settings), nonces, clock)


def revoke(settings: config.Settings, nonces: NonceStore) -> Revoke:
    """The use case that makes credentials unspendable."""
    names = (tuple(settings.accounts), tuple(settings.profiles), tuple(settings.callers))
    return Revoke(*names, nonces, clock, audit(settings))


def explain(settings: config.Settings, nonces: NonceStore) -> Explain:
    """The use case that says why a credential would be refused."""
    return Explain(accepted_keys(settings), _cross_off(settings), nonces, clock)


def rights(sources: Mapping[str, CallerSource], throttle: Throttle) -> Rights:
    """What api keys may do besides fetching credentials."""
    return Rights(tuple(source for source in sources.values() if isinstance(source, ApiKeys)), throttle, concern)


def _cross_off(settings: config.Settings) -> frozenset[str]:
    return frozenset(profile.account for profile in profiles(settings).values() if profile.cross_off)
