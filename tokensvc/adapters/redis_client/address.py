"""What the URL of the store says. Nothing in it reaches redis-py by its own name.

Options of a URL could bring back time-outs and retries that we rule out, so only those named here are taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.credentials import UsernamePasswordCredentialProvider

DEFAULT_PORT: Final = 6379
DEFAULT_SENTINEL_PORT: Final = 26379
_HIGHEST_PORT: Final = 65_535
_PLACE: Final = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:/\s]+))(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_TLS_OPTIONS: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"})
_SENTINEL_OPTIONS: Final = frozenset({"sentinel_user", "sentinel_password"})
_YES_AND_NO: Final = {"true": True, "1": True, "false": False, "0": False}

Host = tuple[str, int]
"""A host name or IP address, and a port."""


class Topology(Enum):
    """How many servers there are, and who says which of them to ask."""

    SERVER = "server"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


SCHEMES: Final = {"redis": Topology.SERVER, "rediss": Topology.SERVER, "unix": Topology.SERVER} | {
    f"{scheme}+{topology.value}": topology
    for scheme in ("redis", "rediss")
    for topology in (Topology.SENTINEL, Topology.CLUSTER)
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the store is, and as whom to go there. `hosts` are the sentinels, or some nodes, or the server.

    Passwords are in provider objects, because some versions of redis-py print a plain one in a pool's repr.
    """

    topology: Topology
    hosts: tuple[Host, ...]
    path: str | None
    """Of the unix socket; then there are no hosts."""

    primary: str
    """Sentinel's name for the primary, or nothing."""

    database: int
    tls: Mapping[str, Any] | None
    """redis-py's options for TLS, or None if it is not used."""

    credentials: UsernamePasswordCredentialProvider | None = field(repr=False)
    sentinel_credentials: UsernamePasswordCredentialProvider | None = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL. ValueError if it is none; it is never quoted, as there is a password in it."""
        scheme, _, _ = url.partition("://")
        topology = SCHEMES.get(scheme)
        if topology is None:
            raise ValueError(
                "The URL of the store must start with redis://, rediss:// or unix://, or for more than one server with"
                " redis+sentinel://, rediss+sentinel://, redis+cluster:// or rediss+cluster://."
            )
        parts = urlsplit(url)
        login, _, places = parts.netloc.rpartition("@")
        if parts.fragment:
            raise ValueError("The URL of the store has a #; write it as %23.")
        path = _socket_path(parts, places) if scheme == "unix" else None
        hosts = () if path is not None else _hosts(places, topology)
        options = _options(parts.query, tls=scheme.startswith("rediss"), topology=topology)
        database = options.pop("db", "")
        primary = ""
        below = parts.path.removeprefix("/")
        if topology is Topology.SENTINEL:
            primary = unquote(below)
            if not primary or "/" in below:
                raise ValueError(
                    "The URL of the sentinels must end with the primary's name: redis+sentinel://h1,h2/name."
                )
        elif below and path is None:
            if database:
                raise ValueError(_UNKNOWN_OPTION)
            database = below
        if database and not (database.isascii() and database.isdigit()):
            raise ValueError("The database in the URL of the store is not a number.")
        if topology is Topology.CLUSTER and database:
            raise ValueError("A cluster has no databases: the URL ends after the hosts.")
        sentinel_user, sentinel_password = (options.pop(f"sentinel_{what}", "") for what in ("user", "password"))
        return cls(
            topology=topology,
            hosts=hosts,
            path=path,
            primary=primary,
            database=int(database or 0),
            tls=options if scheme.startswith("rediss") else None,
            credentials=_credentials(*(unquote(part) for part in login.partition(":")[::2])),
            sentinel_credentials=_credentials(sentinel_user, sentinel_password),
        )


def _socket_path(parts: SplitResult, places: str) -> str:
    if places or not parts.path.startswith("/"):
        raise ValueError(
            "A unix:// URL needs an absolute path: unix:///dir/s.sock or unix://user:password@/dir/s.sock."
        )
    return unquote(parts.path)


def _hosts(places: str, topology: Topology) -> tuple[Host, ...]:
    default = DEFAULT_SENTINEL_PORT if topology is Topology.SENTINEL else DEFAULT_PORT
    hosts = []
    for place in places.split(",") if topology is not Topology.SERVER else [places]:
        match = _PLACE.fullmatch(place)
        port = int(match["port"] or default) if match else 0
        if match is None or not 0 < port <= _HIGHEST_PORT or "," in place:
            # Not quoted: with a raw "/" in it, what stands there is half of the password.
            raise ValueError(
                "The URL of the store has no host, or a port that is none; write / ? # @ in a password as %XX."
            )
        hosts.append((match["v6"] or unquote(match["name"]), port))
    return tuple(hosts)


_UNKNOWN_OPTION: Final = (
    f"The URL of the store may have db, once, with rediss also {', '.join(sorted(_TLS_OPTIONS))}, "
    f"and with sentinels {' and '.join(sorted(_SENTINEL_OPTIONS))}."
)


def _options(query: str, *, tls: bool, topology: Topology) -> dict[str, Any]:
    allowed = {"db"} | (_TLS_OPTIONS if tls else set())
    if topology is Topology.SENTINEL:
        allowed |= _SENTINEL_OPTIONS
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        known = name in allowed and name not in options and (value or name == "db")
        if not known or (name == "ssl_check_hostname" and value.lower() not in _YES_AND_NO):
            raise ValueError(_UNKNOWN_OPTION)
        options[name] = _YES_AND_NO[value.lower()] if name == "ssl_check_hostname" else value
    return options


def _credentials(user: str, password: str) -> UsernamePasswordCredentialProvider | None:
    if password:
        return UsernamePasswordCredentialProvider(user, password)
    if user:
        raise ValueError("The URL of the store has a user but no password.")
    return None
