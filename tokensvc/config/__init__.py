"""Settings: one field per setting, from the environment and `tokensvc.toml`, with every fault told at once.

Unknown members are faults: a limit that is silently not there is worse than a service that does not start.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from .cautions import cautions
from .faults import ConfigurationError, Fault, faults_of
from .meaning import faults_in_meaning
from .places import Bucket
from .reading import configuration_file, read
from .secrets import secrets_in
from .settings import Settings
from .sources import (
    AnonymousSource,
    ApiKey,
    ApiKeySource,
    BearerSource,
    DemoSource,
    ForwardedSource,
    SessionSource,
    Source,
    TicketSource,
)
from .spellings import parse_rate

__all__ = [
    "AnonymousSource",
    "ApiKey",
    "ApiKeySource",
    "BearerSource",
    "Bucket",
    "ConfigurationError",
    "DemoSource",
    "Fault",
    "ForwardedSource",
    "SessionSource",
    "Settings",
    "Source",
    "TicketSource",
    "cautions",
    "configuration_file",
    "load",
    "parse_rate",
    "secrets_in",
]


def load(environment: Mapping[str, str], *, demo: bool = False) -> Settings:
    """Read the environment and the file that it names; raise `ConfigurationError` with every fault found.

    `demo` lets caller sources of kind "demo" in. Behind a proxy on the same machine every request comes from a loopback
    address, and such a source would let anybody in: it is for the development server alone.
    """
    written = read(environment)
    faults = [*written.faults, *faults_in_meaning(written, demo=demo)]
    before = {fault.place for fault in faults}
    told = set(before)
    try:
        settings = Settings.model_validate(written.tables)
    except ValidationError as exc:
        # One fault a place: that what could not be read is not there, for one, is no further fault.
        # Nor is it one that a table with a fault in it does not hold together.
        found = faults_of(exc, written.places)
        told |= {fault.place for fault in found}
        faults += [fault for fault in found if fault.place not in before and not _told_within(fault.place, told)]
    if faults:
        raise ConfigurationError(faults)
    return settings


def _told_within(place: str, told: set[str]) -> bool:
    return any(other.startswith(f"{place}.") for other in told)
