"""What this process is given: its clock, randomness, environment and configuration, and what that says in plain values.

Only here are these taken from the system. It is loaded wherever a process starts, so it loads nothing that only a
worker needs: that is put together in `use_cases`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from tokensvc import config
from tokensvc.adapters import draining, embedded
from tokensvc.adapters.aside import Blocking, aside
from tokensvc.adapters.buckets import bucket_files
from tokensvc.adapters.disk_files import DiskFiles
from tokensvc.adapters.metrics_files import VARIABLE
from tokensvc.core.keys import AcceptedKeys, KeyPair, KeyRing, Secret
from tokensvc.core.metadata import MetadataField
from tokensvc.core.profiles import Profile
from tokensvc.ports import FileStore

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


def require_audit(settings: config.Settings) -> None:
    """Raise an outage if nothing could be issued now because the audit's file cannot be written."""
    if settings.audit.file is not None:
        from tokensvc import events  # noqa: PLC0415 - slow to load, and not needed without

        events.require_audit(settings, wall, aside)


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
        from tokensvc.adapters.redis_client import connect_any  # noqa: PLC0415 - slow to load, and not needed without

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
    fields = metadata(settings)
    return {
        name: replace(profile.build(name), metadata=fields.get(profile.account))
        for name, profile in settings.profiles.items()
    }


def metadata(settings: config.Settings) -> dict[str, dict[str, MetadataField]]:
    """The custom metadata fields of each account that declares some."""
    return {
        name: {field: each.build() for field, each in account.metadata_fields.items()}
        for name, account in settings.accounts.items()
        if account.metadata_fields
    }
