"""Puts the pieces together: the only place that names concrete classes, the clock, randomness and the environment."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, ParamSpec, TypeVar, cast

import gevent
from gevent import monkey

from tokensvc import config
from tokensvc.adapters import embedded
from tokensvc.adapters.api_keys import ApiKeys, Holder
from tokensvc.adapters.demo_sign_in import DemoSignIn
from tokensvc.adapters.disk_files import DiskFiles
from tokensvc.adapters.event_log import EventLog
from tokensvc.adapters.inspect import inspect
from tokensvc.adapters.nonces import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core.keys import AcceptedKeys, KeyPair, KeyRing, Secret
from tokensvc.core.policy import Profile
from tokensvc.ports import CallerSource, FileStore, NonceStore
from tokensvc.service.accept import Accept
from tokensvc.service.issue import Issue

_P = ParamSpec("_P")
_T = TypeVar("_T")

STORE_CONNECTIONS: Final = 32
"""Connections to the nonce store, at most, for each worker."""


def clock() -> int:
    """Unix seconds, now."""
    return int(time.time())


chance = secrets.token_bytes


def environment() -> Mapping[str, str]:
    """The process's environment."""
    return os.environ


def load_settings(variables: Mapping[str, str] | None = None, *, demo: bool = False) -> config.Settings:
    """The configuration that the variables describe, or this process's; raises `config.ConfigurationError`.

    `demo` lets the demo sign-in in, which is for the development server.
    """
    variables = environment() if variables is None else variables
    settings = config.load(variables, demo=demo)
    if settings.redis_url is not None:
        try:
            connect(settings.redis_url.get_secret_value(), connections=1).close()  # it connects to nothing yet
        except ValueError as exc:
            name = "REDIS_URL" if variables.get("REDIS_URL") else "REDIS_URL_FILE"
            raise config.ConfigurationError([config.Fault(name, str(exc))]) from None
    return settings


def store_directory(settings: config.Settings) -> Path:
    """Where the embedded nonce store lives."""
    return settings.data_dir / "store"


def nonce_store(settings: config.Settings) -> NonceStore:
    """The nonce store: at REDIS_URL, or the embedded one, which the launcher or `tokensvc store` runs.

    Raises `config.ConfigurationError` if there is neither; an embedded one that is down now is an outage, later.
    """
    if settings.redis_url is not None:
        client = connect(settings.redis_url.get_secret_value(), connections=STORE_CONNECTIONS)
        return RedisNonces(client, chance=chance, on_fence="rotate")
    try:
        url = embedded.url(store_directory(settings))
    except FileNotFoundError:
        what = f"is not set, and no store of our own was ever started in {store_directory(settings)}"
        remedy = "set it, or run `tokensvc store` beside this, or start with `tokensvc serve`, which does"
        raise config.ConfigurationError([config.Fault("REDIS_URL", what, remedy)]) from None
    return RedisNonces(connect(url, connections=STORE_CONNECTIONS), chance=chance, on_fence="wait")


def file_store(settings: config.Settings) -> DiskFiles:
    """Where uploaded files are kept."""
    return DiskFiles(settings.upload.store or settings.data_dir / "files", _aside)


def _aside(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call in another thread if this one is shared by many requests (a gevent worker), else here."""
    if monkey.is_module_patched("socket"):
        return cast("_T", gevent.get_hub().threadpool.apply(function, args, kwargs))
    return function(*args, **kwargs)


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


def profiles(settings: config.Settings) -> dict[str, Profile]:
    """The profiles by name."""
    return {
        name: Profile(
            name,
            profile.account,
            tuple(profile.callers),
            frozenset(profile.versions),
            profile.lifetime,
            profile.unissued == "cross-off",
            frozenset(profile.allow),
        )
        for name, profile in settings.profiles.items()
    }


def caller_sources(settings: config.Settings) -> dict[str, CallerSource]:
    """The caller sources by name."""
    return {name: _caller_source(name, source) for name, source in settings.callers.items()}


def _caller_source(name: str, source: config.Source) -> CallerSource:
    if isinstance(source, config.DemoSource):
        return DemoSignIn(name, Secret(source.secret_key.get_secret_value()))
    return ApiKeys(name, {key.sha256: Holder(key.subject, frozenset(key.may)) for key in source.keys})


def issue(settings: config.Settings, nonces: NonceStore, sources: Mapping[str, CallerSource]) -> Issue:
    """The use case that hands out credentials."""
    return Issue(profiles(settings), key_rings(settings), sources, nonces, clock, chance, EventLog())


def accept(settings: config.Settings, nonces: NonceStore, files: FileStore) -> Accept:
    """The use case that takes uploads."""
    pairs = tuple(pair for ring in key_rings(settings).values() for pair in ring.pairs)
    cross_off = frozenset(profile.account for profile in profiles(settings).values() if profile.cross_off)
    return Accept(AcceptedKeys(pairs), cross_off, nonces, files, inspect, clock, chance, EventLog())
