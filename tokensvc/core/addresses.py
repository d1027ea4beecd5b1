"""Addresses of clients: which peers are trusted, who is behind a proxy, and under which name an address is counted.

Loopback and unix sockets are never trusted by a network that merely happens to contain them: on a sidecar's host
everybody is on loopback.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

UNIX: Final = "unix"
"""How a peer on a unix socket is called; it has no address."""

IPV6_SUBJECT_PREFIX: Final = 64
"""Bits of an IPv6 address that name a client: within its /64 it takes a new address whenever it likes (RFC 8981)."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def parse_address(text: str) -> Address:
    """Read an address; ValueError if it is none. An IPv4 one that is mapped into IPv6 is itself; a zone is dropped."""
    address = ip_address(text.partition("%")[0] if ":" in text else text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_hop(text: str) -> Address:
    """Read an entry of X-Forwarded-For; ValueError if it is no address. Some proxies add a port, and then brackets."""
    text = text.strip()
    if text.startswith("["):
        inner, bracket, rest = text[1:].partition("]")
        if not bracket or not isinstance(ip_address(inner.partition("%")[0]), IPv6Address):
            raise ValueError("brackets are around an IPv6 address")
    elif text.count(":") == 1:
        inner, rest = text.split(":")[0], text[text.index(":") :]
    else:
        inner, rest = text, ""
    if rest and not (rest[0] == ":" and rest[1:].isascii() and rest[1:].isdigit()):
        raise ValueError("what follows the address is no port")
    return parse_address(inner)


@dataclass(frozen=True, slots=True)
class Peers:
    """Trusted peers: networks, and unix sockets if `unix`. Without any, nobody is trusted."""

    networks: tuple[Network, ...] = ()
    unix: bool = False

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Peers:
        """Read a configured list of addresses, networks (`10.0.0.0/8`) and "unix"; ValueError says which is wrong."""
        names = tuple(texts)
        return cls(tuple(_network(name) for name in names if name != UNIX), UNIX in names)

    def __contains__(self, peer: object) -> bool:
        """Whether a peer (its address as text, or "unix") is trusted."""
        if peer == UNIX:
            return self.unix
        try:
            address = parse_address(str(peer))
        except ValueError:
            return False
        return any(
            address in network and (network.is_loopback or not address.is_loopback)
            for network in self.networks
            if network.version == address.version
        )


NOBODY: Final = Peers()
"""No peer is trusted."""


def _network(text: str) -> Network:
    try:
        network = ip_network(text)
    except ValueError:
        raise ValueError(f'{text[:64]!r} is no address, no network such as "10.0.0.0/8", and not "unix"') from None
    if network.prefixlen == 0:
        raise ValueError(f"{text} is everybody, and nobody is trusted who is everybody")
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueError(f"{text} is an IPv4 network written as IPv6: write it as IPv4")
    return network


def client_address(peer: str, forwarded_for: str, proxies: Peers) -> Address | None:
    """The address of the client: `peer`, or behind a trusted proxy the last one in X-Forwarded-For that is no proxy.

    What stands further left is the client's own text. If all are proxies, it is the first. None if no address is to be
    known: a unix socket that is not trusted, or whose proxy names nobody. ValueError if one names what is no address.
    """
    here = None if peer == UNIX else parse_address(peer)
    if peer not in proxies:
        return here
    for hop in reversed(forwarded_for.split(",") if forwarded_for.strip() else []):
        here = parse_hop(hop)
        if str(here) not in proxies:
            break
    return here


_WITHIN: Final = tuple(
    ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10")
)


def address_to_slow_down(peer: str, forwarded_for: str, proxies: Peers) -> str:
    """The client's address as far as it is certain enough to refuse it something; otherwise "unix", which is nobody.

    A peer in a private network that is not configured as a proxy may well be one, with everybody's requests.
    """
    is_short = len(forwarded_for) <= _LONGEST_REMEMBERED
    return (_address_to_slow_down if is_short else _address_to_slow_down.__wrapped__)(peer, forwarded_for, proxies)


_LONGEST_REMEMBERED: Final = 256
"""Characters of an X-Forwarded-For that is kept in memory: it is a stranger's text."""


@lru_cache(maxsize=2048)
def _address_to_slow_down(peer: str, forwarded_for: str, proxies: Peers) -> str:
    try:
        address = client_address(peer, forwarded_for, proxies)
    except ValueError:
        return UNIX
    if address is None or (peer not in proxies and any(address in network for network in _WITHIN)):
        return UNIX
    return str(address)


def subject_of(address: Address) -> str:
    """The name under which an address is counted: itself, or its /64."""
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address, IPV6_SUBJECT_PREFIX), strict=False))
