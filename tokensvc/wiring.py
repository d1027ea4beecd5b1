"""Puts the pieces together: the only place that names concrete classes, the clock, randomness and the environment."""

from __future__ import annotations

import functools
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final, ParamSpec, TypeVar, cast

import gevent
from gevent import monkey
from pydantic import SecretStr

from tokensvc import config
from tokensvc.adapters import draining, embedded
from tokensvc.adapters.api_keys import ApiKeys, Holder
from tokensvc.adapters.callers.anonymous import Anonymous
from tokensvc.adapters.callers.bearer import Bearer
from tokensvc.adapters.callers.forwarded import Forwarded
from tokensvc.adapters.callers.jwks import Jwks
from tokensvc.adapters.callers.session import FlaskSession
from tokensvc.adapters.callers.ticket import Tickets
from tokensvc.adapters.callers.verifying_keys import KeySource, OneKey
from tokensvc.adapters.demo_sign_in import DemoSignIn
from tokensvc.adapters.disk_files import DiskFiles
from tokensvc.adapters.event_log import EventLog
from tokensvc.adapters.inspect import inspect
from tokensvc.adapters.metrics import Metered, Metrics
from tokensvc.adapters.metrics_files import VARIABLE
from tokensvc.adapters.nonces import RedisNonces
from tokensvc.adapters.redis_client import Cluster, connect_any
from tokensvc.adapters.remote_files import HttpsFiles
from tokensvc.adapters.throttle import RedisThrottle
from tokensvc.core.addresses import Peers
from tokensvc.core.hosts import HostNames
from tokensvc.core.keys import AcceptedKeys, KeyPair, KeyRing, Secret
from tokensvc.core.profiles import Profile
from tokensvc.ports import Audit, CallerSource, FileStore, NonceStore, Throttle
from tokensvc.service.accept import Accept
from tokensvc.service.explain import Explain
from tokensvc.service.fetching import Fetching
from tokensvc.service.issue import Issue
from tokensvc.service.operate import Introspect, Revoke
from tokensvc.service.redeem import Redeem
from tokensvc.service.rights import Rights

_P = ParamSpec("_P")
_T = TypeVar("_T")

THROTTLE_CONNECTIONS: Final = 4
STORE_CONNECTIONS: Final = 32
"""Connections to each server of the nonce store, at most, for each worker."""

CLUSTER_BUCKETS: Final = 64
"""As many parts that the nonces of a cluster are in, so at most as many nodes that share the work."""


def clock() -> int:
    """Unix seconds, now."""
    return int(time.time())


chance = secrets.token_bytes


@functools.cache
def metrics() -> Metrics:
    """What this process counts, together with the other workers if the launcher gave them a place to."""
    directory = environment().get(VARIABLE)
    return Metrics(Path(directory) if directory else None)


def stopping() -> bool:
    """Whether the launcher is about to end this service."""
    directory = environment().get(VARIABLE)
    return directory is not None and draining.announced(Path(directory))


def audit() -> Audit:
    """Where events go: counted, and to the log."""
    return Metered(EventLog(), metrics())


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
        audit=audit(),
        observe=metrics().store_answered,
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
        audit=audit(),
        failures=failures,
        anonymous=anonymous,
        on_open=metrics().unthrottled,
    )


def file_store(settings: config.Settings) -> DiskFiles:
    """Where uploaded files are kept."""
    return DiskFiles(settings.upload.store or settings.data_dir / "files", _aside)


def _aside(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call in another thread if this one is shared by many requests (a gevent worker), else here."""
    if monkey.is_module_patched("socket"):
        return cast("_T", gevent.get_hub().threadpool.apply(function, args, kwargs))
    return function(*args, **kwargs)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """A block that is ended by TimeoutError after so many seconds, where requests share a thread (a gevent worker)."""
    with gevent.Timeout(seconds, TimeoutError()) if monkey.is_module_patched("socket") else nullcontext():
        yield


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
    return {name: profile.build(name) for name, profile in settings.profiles.items()}


def caller_sources(settings: config.Settings) -> dict[str, CallerSource]:
    """The caller sources by name."""
    proxies = Peers.parse(settings.proxies)
    return {name: _caller_source(name, source, proxies) for name, source in settings.callers.items()}


def _caller_source(name: str, source: config.Source, proxies: Peers) -> CallerSource:
    match source:
        case config.DemoSource():
            return DemoSignIn(name, _secret(source.secret_key))
        case config.SessionSource():
            keys = [_secret(key) for key in (source.secret_key, *source.fallback_keys)]
            options = {"cookie": source.cookie, "subject": source.subject}
            return FlaskSession(name, keys, clock=clock, claims=source.claims, max_age=source.max_age, **options)
        case config.BearerSource():
            return _bearer(name, source)
        case config.TicketSource():
            keys = [_secret(key) for key in (source.secret_key, *source.fallback_keys)]
            return Tickets(name, keys, clock=clock, max_age=source.max_age)
        case config.ForwardedSource():
            return Forwarded(name, header=source.header, trusted=Peers.parse(source.trusted))
        case config.AnonymousSource():
            return Anonymous(name, proxies=proxies)
    return ApiKeys(name, {key.sha256: Holder(key.subject, frozenset(key.may)) for key in source.keys})


def _secret(text: SecretStr) -> Secret:
    return Secret(text.get_secret_value())


def _bearer(name: str, source: config.BearerSource) -> Bearer:
    if source.jwks_url is not None:
        keys: KeySource = Jwks(source.jwks_url, monotonic=time.monotonic, audit=audit())
    elif source.public_key is not None:
        keys = OneKey.from_pem(source.public_key)
    else:
        keys = OneKey.from_secret(_secret(source.secret_key or SecretStr("")))
    return Bearer(
        name,
        issuer=source.issuer,
        audience=source.audience,
        keys=keys,
        clock=clock,
        algorithms=source.algorithms,
        leeway=source.leeway,
        max_age=source.max_age,
        subject_claim=source.subject,
        required_claims=source.required_claims,
    )


def issue(
    settings: config.Settings, nonces: NonceStore, sources: Mapping[str, CallerSource], throttle: Throttle
) -> Issue:
    """The use case that hands out credentials."""
    anonymous = frozenset(name for name, source in sources.items() if isinstance(source, Anonymous))
    return Issue(profiles(settings), key_rings(settings), sources, nonces, clock, chance, audit(), throttle, anonymous)


def accept(settings: config.Settings, nonces: NonceStore, files: FileStore, throttle: Throttle) -> Accept:
    """The use case that takes uploads."""
    remote = settings.upload.remote
    fetched = HttpsFiles(hosts=HostNames.of(remote.hosts), seconds=remote.seconds, audit=audit())
    fetching = Fetching(fetched, profiles(settings), remote.enabled, clock)
    return Accept(
        accepted_keys(settings),
        _cross_off(settings),
        nonces,
        files,
        inspect,
        clock,
        chance,
        audit(),
        throttle,
        settings.upload.lease,
        fetching,
    )


def redeem(settings: config.Settings, nonces: NonceStore) -> Redeem:
    """The use case that spends for other people's uploaders."""
    return Redeem(accepted_keys(settings), _cross_off(settings), nonces, clock, chance, audit())


def introspect(settings: config.Settings, nonces: NonceStore) -> Introspect:
    """The use case that says whether a credential is good."""
    return Introspect(accepted_keys(settings), _cross_off(settings), nonces, clock)


def revoke(settings: config.Settings, nonces: NonceStore) -> Revoke:
    """The use case that makes credentials unspendable."""
    return Revoke(tuple(settings.accounts), tuple(settings.profiles), tuple(settings.callers), nonces, clock, audit())


def explain(settings: config.Settings, nonces: NonceStore) -> Explain:
    """The use case that says why a credential would be refused."""
    return Explain(accepted_keys(settings), _cross_off(settings), nonces, clock)


def rights(sources: Mapping[str, CallerSource], throttle: Throttle) -> Rights:
    """What api keys may do besides fetching credentials."""
    return Rights(tuple(source for source in sources.values() if isinstance(source, ApiKeys)), throttle)


def _cross_off(settings: config.Settings) -> frozenset[str]:
    return frozenset(profile.account for profile in profiles(settings).values() if profile.cross_off)
