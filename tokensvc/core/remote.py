"""URLs from which a file may be fetched, and the addresses that may be asked for it.

A stranger says where to go, and the service stands where no stranger can: so there is a list of what is public, not of
what is private, and one spelling of a URL, so that a rule about it means what a server will make of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_network
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from .addresses import Address
from .errors import Code, Refusal
from .hosts import HostNames

MAX_URL_CHARACTERS: Final = 2048
HTTPS_PORT: Final = 443

Permit = Callable[[str], None]
"""Raises a refusal for a URL (in its one spelling) that may not be fetched."""

_CHARACTERS: Final = re.compile(r"[!-~]+")
_DOTS: Final = re.compile(r"(?:\.|%2e){1,2}", re.IGNORECASE)
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")

# RFC 6890 and its registries. What is not routed on the Internet, what stands for somebody else (relays, translators),
# and what goes to many.
_NOT_PUBLIC: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_UNICAST_V6: Final = IPv6Network("2000::/3")
"""All of IPv6 that is given out. Mapped, compatible and translated IPv4 (::ffff:0:0/96, 64:ff9b::/96) are outside."""


@dataclass(frozen=True, slots=True)
class RemoteUrl:
    """An https URL in its one spelling: lower-case scheme and host, no default port, no fragment, never no path."""

    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, text: str) -> RemoteUrl:
        """Read a URL, or raise a refusal; nothing about it is looked up."""
        if len(text) > MAX_URL_CHARACTERS:
            raise _refusal(
                f"has {len(text)} characters; at most {MAX_URL_CHARACTERS} are allowed", "Send a shorter URL."
            )
        if not _CHARACTERS.fullmatch(text) or "\\" in text:
            raise _refusal("holds characters that no URL may hold", "Percent-encode blanks and what is not ASCII.")
        try:
            parts = urlsplit(text)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise _refusal("is not well-formed") from None
        _require_https(parts)
        if not (_HOST.fullmatch(host) or _is_ipv6(host)):
            raise _refusal("has no host", "Write the host's name; an international one begins with xn--.")
        if any(_DOTS.fullmatch(segment) for segment in parts.path.split("/")):
            raise _refusal("has a . or .. in its path", "Write the path without them.")
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        return cls(host, HTTPS_PORT if port is None else port, target)

    def __str__(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{name}{'' if self.port == HTTPS_PORT else f':{self.port}'}{self.target}"

    def join(self, location: str) -> RemoteUrl:
        """Where a redirect from here leads, or a refusal."""
        try:
            return RemoteUrl.parse(urljoin(str(self), location))
        except ValueError:
            raise not_fetched("is redirected to what is no URL", "Send another URL.") from None


def require_listed(host: str, hosts: HostNames) -> None:
    """Raise a refusal for a host that is not listed, if any are."""
    if hosts and host not in hosts:
        raise Refusal(
            Code.PARAMETER_FORBIDDEN,
            "file is a URL of a host that this service does not fetch from.",
            "Send the file itself, or name the host in [upload.remote] hosts.",
            field="file",
        )


def is_public(address: Address) -> bool:
    """Whether the address is one host on the Internet."""
    if isinstance(address, IPv6Address) and address not in _UNICAST_V6:
        return False
    return not any(address in network for network in _NOT_PUBLIC if network.version == address.version)


def are_public(addresses: Iterable[Address]) -> bool:
    """Whether there are any, and all are public: of a mixed answer the wrong one could be picked the next time."""
    found = list(addresses)
    return bool(found) and all(is_public(address) for address in found)


def not_fetched(reason: str, remedy: str = "") -> Refusal:
    """The refusal of a file that could not be had; `reason` is read after "file", and tells nothing of our network."""
    return Refusal(Code.PARAMETER_INVALID, f"file {reason}.", remedy, field="file")


def _refusal(reason: str, remedy: str = "Send an https URL with a host.") -> Refusal:
    return not_fetched(f"is a URL that {reason}", remedy)


def _require_https(parts: SplitResult) -> None:
    if parts.scheme != "https":
        raise _refusal("does not begin with https://", "Send an https URL, or the file itself.")
    if "@" in parts.netloc:
        raise _refusal("names a user", "Leave out what stands before the @.")


def _is_ipv6(host: str) -> bool:
    try:
        return IPv6Address(host).scope_id is None
    except ValueError:
        return False
