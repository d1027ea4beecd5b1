"""Puts the use cases together, from the settings: the only place that names their concrete classes.

Apart from `wiring`, because this loads all that a worker is made of, and `tokensvc serve` starts without it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from tokensvc import callers, config, events, wiring
from tokensvc.adapters.api_keys import ApiKeys
from tokensvc.adapters.aside import aside
from tokensvc.adapters.callers.anonymous import Anonymous
from tokensvc.adapters.inspect import inspect
from tokensvc.adapters.logs.about import concern
from tokensvc.adapters.metrics import Metrics
from tokensvc.adapters.metrics_files import VARIABLE
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import Cluster, connect_any
from tokensvc.adapters.remote_files import HttpsFiles
from tokensvc.adapters.throttle import RedisThrottle
from tokensvc.core.hosts import HostNames
from tokensvc.ports import Audit, CallerSource, FileStore, NonceStore, Throttle
from tokensvc.service.accept import Accept
from tokensvc.service.explain import Explain
from tokensvc.service.fetching import Fetching
from tokensvc.service.issue import Issue
from tokensvc.service.operate import Introspect, Revoke
from tokensvc.service.redeem import Redeem
from tokensvc.service.rights import Rights


@functools.cache
def metrics() -> Metrics:
    """What this process counts, together with the other workers if the launcher gave them a place to."""
    directory = wiring.environment().get(VARIABLE)
    return Metrics(Path(directory) if directory else None)


def audit(settings: config.Settings | None = None) -> Audit:
    """Where events go: counted, to the log, and to the audit's file if one is configured."""
    return events.told(settings, metrics(), wiring.wall, aside)


@functools.cache
def spans() -> events.Spans | None:
    """Where this process's spans go, if the environment says so."""
    return events.spans(wiring.environment(), wiring.wall)


def nonce_store(settings: config.Settings) -> NonceStore:
    """The nonce store. One that is down now is an outage, later."""
    client = connect_any(wiring.store_url(settings), connections=wiring.STORE_CONNECTIONS)
    return RedisNonces(
        client,
        chance=wiring.chance,
        connections=wiring.STORE_CONNECTIONS,
        buckets=wiring.CLUSTER_BUCKETS if isinstance(client, Cluster) else 1,
        on_fence="wait" if settings.redis_url is None else "rotate",
        clock=wiring.clock,
        audit=audit(settings),
        observe=events.observing(metrics().store_answered, spans()),
    )


def throttle(settings: config.Settings) -> RedisThrottle:
    """The courtesy that slows strangers down, for both use cases; on connections of its own, which may all be busy."""
    client = connect_any(wiring.store_url(settings), connections=wiring.THROTTLE_CONNECTIONS)
    failures, anonymous = (
        config.parse_rate(text) for text in (settings.throttle.failures, settings.throttle.anonymous)
    )
    return RedisThrottle(
        client,
        clock=wiring.clock,
        audit=audit(settings),
        failures=failures,
        anonymous=anonymous,
        on_open=metrics().unthrottled,
    )


def caller_sources(settings: config.Settings) -> dict[str, CallerSource]:
    """The caller sources by name."""
    return callers.sources_of(settings, wiring.clock, audit(settings))


def issue(
    settings: config.Settings, nonces: NonceStore, sources: Mapping[str, CallerSource], throttle: Throttle
) -> Issue:
    """The use case that hands out credentials."""
    anonymous = frozenset(name for name, source in sources.items() if isinstance(source, Anonymous))
    return Issue(
        wiring.profiles(settings),
        wiring.key_rings(settings),
        sources,
        nonces,
        wiring.clock,
        wiring.chance,
        audit(settings),
        throttle,
        anonymous,
        concern=concern,
    )


def accept(settings: config.Settings, nonces: NonceStore, files: FileStore, throttle: Throttle) -> Accept:
    """The use case that takes uploads."""
    remote = settings.upload.remote
    fetched = HttpsFiles(hosts=HostNames.of(remote.hosts), seconds=remote.seconds, audit=audit(settings))
    fetching = Fetching(fetched, wiring.profiles(settings), remote.enabled, wiring.clock)
    return Accept(
        wiring.accepted_keys(settings),
        _cross_off(settings),
        nonces,
        files,
        inspect,
        wiring.clock,
        wiring.chance,
        audit(settings),
        throttle,
        settings.upload.lease,
        fetching,
        wiring.metadata(settings),
        concern,
    )


def redeem(settings: config.Settings, nonces: NonceStore) -> Redeem:
    """The use case that spends for other people's uploaders."""
    return Redeem(
        wiring.accepted_keys(settings),
        _cross_off(settings),
        nonces,
        wiring.clock,
        wiring.chance,
        audit(settings),
        concern,
    )


def introspect(settings: config.Settings, nonces: NonceStore) -> Introspect:
    """The use case that says whether a credential is good."""
    return Introspect(wiring.accepted_keys(settings), _cross_off(settings), nonces, wiring.clock)


def revoke(settings: config.Settings, nonces: NonceStore) -> Revoke:
    """The use case that makes credentials unspendable."""
    names = (tuple(settings.accounts), tuple(settings.profiles), tuple(settings.callers))
    return Revoke(*names, nonces, wiring.clock, audit(settings))


def explain(settings: config.Settings, nonces: NonceStore) -> Explain:
    """The use case that says why a credential would be refused."""
    return Explain(wiring.accepted_keys(settings), _cross_off(settings), nonces, wiring.clock)


def rights(sources: Mapping[str, CallerSource], throttle: Throttle) -> Rights:
    """What api keys may do besides fetching credentials."""
    return Rights(tuple(source for source in sources.values() if isinstance(source, ApiKeys)), throttle, concern)


def _cross_off(settings: config.Settings) -> frozenset[str]:
    return frozenset(profile.account for profile in wiring.profiles(settings).values() if profile.cross_off)
