"""Addresses: who is a trusted peer, who is behind a proxy, and under which name an address is counted."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tokensvc.core.addresses import Peers, client_address, parse_address, parse_hop, subject_of

NOBODY = Peers()
PROXIES = Peers.parse(["10.0.0.0/8", "2001:db8:ffff::/48", "unix"])

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
outside = addresses.filter(lambda address: str(address) not in PROXIES)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
        ("2001:DB8::A", "2001:db8::a"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:7f00:1", "127.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_address_is_read_in_every_spelling(text: str, address: str) -> None:
    assert parse_address(text) == ip_address(address)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (" 192.0.2.1\t", "192.0.2.1"),
        ("192.0.2.1:8080", "192.0.2.1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[::ffff:192.0.2.1]:1", "192.0.2.1"),
    ],
)
def test_a_hop_may_have_a_port(text: str, address: str) -> None:
    assert parse_hop(text) == ip_address(address)


@pytest.mark.parametrize(
    "text",
    [
        *("", "unknown", "_hidden", "unix", "unix:", "localhost", "192.0.2.1.", "192.0.2", "192.0.2.256"),
        *("0192.0.2.1", "0x7f.0.0.1", "2130706433", "192.0.2.1/32", "192.0.2.1:", "192.0.2.1:x", "192.0.2.1:８"),
        *("192.0.2.1 192.0.2.2", "[192.0.2.1]", "[::1", "::1]", "[::1]x", "[::1]:", "[]", ":::", "1:2", "１.1.1.1"),
        *('"192.0.2.1"', "for=192.0.2.1", "192.0.2.1\0", "%", "%eth0", "192.0.2.1%eth0"),
    ],
)
def test_a_hop_that_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which sentence of the library's, nobody reads
        parse_hop(text)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_an_error(text: str) -> None:
    for parse in (parse_address, parse_hop):
        try:
            address = parse(text)
        except ValueError:
            continue
        assert isinstance(address, IPv4Address | IPv6Address)
        assert getattr(address, "ipv4_mapped", None) is None
        assert parse(str(address)) == address


@given(addresses, st.integers(0, 65535))
def test_a_hop_with_and_without_a_port_is_one_address(address: IPv4Address | IPv6Address, port: int) -> None:
    wrapped = f"[{address}]" if address.version == 6 else str(address)
    assert parse_hop(f"{wrapped}:{port}") == parse_hop(str(address)) == parse_address(str(address))


@pytest.mark.parametrize(
    ("trusted", "peer"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.0/24", "192.0.2.255"),
        ("192.0.2.0/24", "::ffff:192.0.2.9"),
        ("2001:db8::/32", "2001:db8:ffff::1"),
        ("fe80::/10", "fe80::1%eth0"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.0/8", "127.1.2.3"),
        ("::1", "::1"),
        ("unix", "unix"),
        ("0.0.0.0/1", "10.0.0.1"),
    ],
)
def test_a_named_peer_is_trusted(trusted: str, peer: str) -> None:
    assert peer in Peers.parse(["198.51.100.7", trusted])


@pytest.mark.parametrize(
    ("trusted", "peer"),
    [
        ("192.0.2.1", "192.0.2.2"),
        ("192.0.2.0/24", "192.0.3.0"),
        ("192.0.2.0/24", "192.0.1.255"),
        ("2001:db8::/32", "2001:db9::"),
        ("192.0.2.0/24", "unix"),
        ("192.0.2.0/24", ""),
        ("192.0.2.0/24", "192.0.2.x"),
        ("unix", "127.0.0.1"),
        ("unix", ""),
        ("127.0.0.1", "::1"),
        ("127.0.0.1", "unix"),
        # Networks that contain loopback without naming it.
        ("126.0.0.0/7", "127.0.0.1"),
        ("0.0.0.0/1", "127.0.0.1"),
        ("::/1", "::1"),
        ("::/127", "::1"),
        ("0.0.0.0/1", "::ffff:127.0.0.1"),
    ],
)
def test_nobody_else_is(trusted: str, peer: str) -> None:
    assert peer not in Peers.parse([trusted])


@given(st.one_of(addresses.map(str), st.just("unix"), st.text(max_size=20)))
def test_without_a_list_nobody_is_trusted(peer: str) -> None:
    assert peer not in NOBODY
    assert peer not in Peers.parse([])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0.0.0.0/0", "everybody"),
        ("::/0", "everybody"),
        ("192.0.2.1/24", "no network"),
        ("192.0.2.0/33", "no network"),
        ("*", "no network"),
        ("", "no network"),
        ("localhost", "no network"),
        ("UNIX", "no network"),
        ("::ffff:10.0.0.0/104", "write it as IPv4"),
    ],
)
def test_what_is_no_network_or_everybody_is_a_fault(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Peers.parse(["192.0.2.1", text])


@given(outside, st.text(max_size=60))
def test_without_a_proxy_the_client_is_the_peer_whatever_it_says(address: IPv4Address | IPv6Address, said: str) -> None:
    for proxies in (NOBODY, PROXIES):
        assert client_address(str(address), said, proxies) == parse_address(str(address))


@given(outside, st.lists(st.one_of(addresses.map(str), st.text(alphabet="a1.:, ", max_size=8)), max_size=4))
def test_behind_a_proxy_the_client_is_whom_it_saw(address: IPv4Address | IPv6Address, said: list[str]) -> None:
    """What the client itself has put into the header stands further left and changes nothing."""
    for peer, passed_on in (("10.1.1.1", ""), ("unix", ""), ("2001:db8:ffff::9", ", 10.9.9.9, 10.8.8.8:80")):
        header = ",".join([*said, f" {address}"]) + passed_on
        assert client_address(peer, header, PROXIES) == parse_address(str(address))


@given(outside, outside)
def test_the_header_of_a_stranger_never_names_the_client(
    peer: IPv4Address | IPv6Address, other: IPv4Address | IPv6Address
) -> None:
    assume(parse_address(str(peer)) != parse_address(str(other)))
    assert client_address(str(peer), str(other), PROXIES) != parse_address(str(other))


@pytest.mark.parametrize("header", ["", " "])
def test_a_proxy_that_names_nobody_is_the_client_itself(header: str) -> None:
    assert client_address("10.1.1.1", header, PROXIES) == ip_address("10.1.1.1")
    assert client_address("unix", header, PROXIES) is None


def test_a_unix_socket_without_a_trusted_proxy_has_no_address() -> None:
    assert client_address("unix", "192.0.2.1", NOBODY) is None
    assert client_address("unix", "192.0.2.1", Peers.parse(["10.0.0.0/8"])) is None


def test_of_proxies_only_it_is_the_first() -> None:
    assert client_address("10.1.1.1", "10.0.0.3, 10.0.0.2", PROXIES) == ip_address("10.0.0.3")


@pytest.mark.parametrize("header", ["unknown", "192.0.2.1, ", ",", "192.0.2.1, x, 10.0.0.1"])
def test_what_a_proxy_names_must_be_an_address(header: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - as above
        client_address("10.1.1.1", header, PROXIES)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_counted_as_itself(address: IPv4Address) -> None:
    assert subject_of(address) == str(address)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_an_ipv6_address_is_counted_with_its_64_and_with_no_other(network: int, host: int, other: int) -> None:
    name = subject_of(IPv6Address(network << 64 | host))
    assert name == subject_of(IPv6Address(network << 64 | other))
    assert name.endswith("/64")
    assert name != subject_of(IPv6Address((network ^ 1) << 64 | host))
