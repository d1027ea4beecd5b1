"""Guests: named by their address, behind configured proxies only; and only where a profile lets them in."""

from __future__ import annotations

import pytest

from tests.support.callers import refusal_of, request_with
from tokensvc.adapters.callers.anonymous import Anonymous
from tokensvc.core.addresses import Peers
from tokensvc.core.callers import Caller

from .conftest import SeatSources

PROXY = "10.0.0.1"
UNKNOWN = "The client's address is not known."


def source_of(*proxies: str) -> Anonymous:
    return Anonymous("guests", proxies=Peers.parse(proxies))


@pytest.mark.parametrize(
    ("peer", "subject"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::/64"),
    ],
)
def test_a_guest_is_its_address(peer: str, subject: str) -> None:
    assert source_of().identify(request_with(peer=peer)) == Caller("guests", subject)


@pytest.mark.parametrize("peer", ["192.0.2.7", "127.0.0.1"])
def test_what_a_guest_says_of_its_address_is_passed_over(peer: str) -> None:
    said = [(name, "198.51.100.1") for name in ("X-Forwarded-For", "X-Real-IP", "X-Client-IP", "CF-Connecting-IP")]
    shown = request_with(*said, ("Forwarded", "for=198.51.100.1"), peer=peer)
    assert source_of().identify(shown) == Caller("guests", peer)
    assert source_of(PROXY, "unix").identify(shown) == Caller("guests", peer)


@pytest.mark.parametrize("peer", [PROXY, "unix"])
@pytest.mark.parametrize(
    "headers",
    [
        ["192.0.2.7"],
        ["198.51.100.1, 192.0.2.7"],
        ["198.51.100.1", "192.0.2.7"],
        ["not an address, 192.0.2.7"],
        ["192.0.2.7, 10.0.0.1"],
        ["192.0.2.7:4711"],
    ],
)
def test_behind_a_proxy_it_is_the_address_that_the_proxy_saw(peer: str, headers: list[str]) -> None:
    shown = request_with(*(("X-Forwarded-For", text) for text in headers), peer=peer)
    assert source_of(PROXY, "unix").identify(shown) == Caller("guests", "192.0.2.7")


def test_a_proxy_that_names_nobody_is_a_guest_itself() -> None:
    assert source_of(PROXY).identify(request_with(peer=PROXY)) == Caller("guests", PROXY)


def test_a_unix_socket_has_no_address_of_its_own() -> None:
    said = request_with(("X-Forwarded-For", "192.0.2.7"), peer="unix")
    assert refusal_of(source_of(), said) == UNKNOWN
    assert refusal_of(source_of(PROXY), said) == UNKNOWN
    assert refusal_of(source_of("unix"), request_with(peer="unix")) == UNKNOWN


@pytest.mark.parametrize("text", ["unknown", "192.0.2.7,", "192.0.2.7, 10.0.0.300"])
def test_what_the_proxy_names_must_be_an_address(text: str) -> None:
    shown = request_with(("X-Forwarded-For", text), peer=PROXY)
    assert refusal_of(source_of(PROXY), shown) == "X-Forwarded-For names what is no address."


def test_guests_are_let_in_by_a_profile_that_names_them_and_by_no_other(seated: SeatSources) -> None:
    service = seated({"guests": source_of()}, profiles={"members": ["backend"]})
    assert service.send("GET", "/auth").status_code == 200
    answer = service.send("GET", "/auth/members")
    assert (answer.status_code, answer.get_json()["code"]) == (401, "caller.missing")
