"""One spelling of a URL, and what is public: by the list, and held against the standard library's own."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokensvc.core.addresses import parse_address
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.hosts import HostNames
from tokensvc.core.remote import MAX_URL_CHARACTERS, RemoteUrl, are_public, is_public, require_listed


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("https://a.example", "https://a.example/"),
        ("HTTPS://A.Example:443/B?c=D#e", "https://a.example/B?c=D"),
        ("https://a.example?c", "https://a.example/?c"),
        ("https://a.example:8443/", "https://a.example:8443/"),
        ("https://a.example:/", "https://a.example/"),
        ("https://a/%2F..a/...", "https://a/%2F..a/..."),
        ("https://[2606:4700::1111]/x", "https://[2606:4700::1111]/x"),
        ("https://1.2.3.4/x", "https://1.2.3.4/x"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://a/" + "b" * (MAX_URL_CHARACTERS - 10), "https://a/" + "b" * (MAX_URL_CHARACTERS - 10)),
    ],
)
def test_a_url_has_one_spelling(text: str, spelling: str) -> None:
    assert str(RemoteUrl.parse(text)) == str(RemoteUrl.parse(spelling)) == spelling


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://a.example/", "does not begin with https://"),
        ("file:///etc/passwd", "does not begin with https://"),
        ("gopher://a.example/_x", "does not begin with https://"),
        ("//a.example/", "does not begin with https://"),
        ("https:a.example", "has no host"),
        ("https:///a", "has no host"),
        ("https://a..example/", "has no host"),
        ("https://-a.example/", "has no host"),
        ("https://a_b.example/", "has no host"),
        ("https://a.example./", "has no host"),
        ("https://" + "a" * 64 + "/", "has no host"),
        ("https://" + ".".join(["a" * 63] * 4) + "/", "has no host"),
        ("https://[fe80::1%25eth0]/", "has no host"),
        ("https://[::1/", "is not well-formed"),
        ("https://a.example:0x50/", "is not well-formed"),
        ("https://a.example:65536/", "is not well-formed"),
        ("https://user@a.example/", "names a user"),
        ("https://:pass@a.example/", "names a user"),
        ("https://@a.example/", "names a user"),
        ("https://a.example\\@b.example/", "holds characters"),
        ("https://a.example/ä", "holds characters"),
        ("https://ä.example/", "holds characters"),
        ("https://a.example/b c", "holds characters"),
        ("https://a.example/b\nc", "holds characters"),
        ("https://a.example/b/../c", "has a . or .. in its path"),
        ("https://a.example/b/.", "has a . or .. in its path"),
        ("https://a.example/%2e%2E/c", "has a . or .. in its path"),
        ("https://a.example/.%2e", "has a . or .. in its path"),
        (
            "https://a/" + "b" * (MAX_URL_CHARACTERS - 9),
            f"has {MAX_URL_CHARACTERS + 1} characters; at most {MAX_URL_CHARACTERS}",
        ),
    ],
)
def test_what_is_no_url_to_fetch_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(Refusal, match=f"^parameter.invalid: file is a URL that {words}") as caught:
        RemoteUrl.parse(text)
    assert caught.value.field == "file"


@given(st.text(max_size=40))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://a.example/{text}"):
        try:
            parsed = RemoteUrl.parse(url)
        except Refusal as refusal:
            assert refusal.code is Code.PARAMETER_INVALID
        else:
            assert RemoteUrl.parse(str(parsed)) == parsed


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/b", "https://a.example/b"),
        ("b?c", "https://a.example/x/b?c"),
        ("../b", "https://a.example/b"),
        ("//c.example/d", "https://c.example/d"),
        ("https://c.example", "https://c.example/"),
    ],
)
def test_a_redirect_leads_on_from_where_it_was(location: str, target: str) -> None:
    assert str(RemoteUrl.parse("https://a.example/x/y").join(location)) == target


EDGES = [
    *("1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0"),
    *("169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.255.255"),
    *("192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0"),
    *("223.255.255.255", "2000::", "2001:200::", "2001:db7:ffff::", "2001:db9::", "2003::", "2606:4700::1111"),
    "3ffe:ffff::",
]
NOT_PUBLIC = [
    *("0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1"),
    *("127.255.255.255", "169.254.0.0", "169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.170"),
    *("192.0.2.255", "192.88.99.1", "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.1"),
    *("203.0.113.1", "224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.255"),
    *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.1.1.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1"),
    *(
        "1fff:ffff::",
        "2001::1",
        "2001:1ff::",
        "2001:db8::1",
        "2002::1",
        "2002:7f00:1::",
        "3fff::1",
        "4000::",
        "5f00::1",
    ),
    *("fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
]


@pytest.mark.parametrize("text", EDGES)
def test_the_neighbours_of_what_is_not_public_are(text: str) -> None:
    assert is_public(parse_address(text))


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_what_is_not_public_is_not(text: str) -> None:
    assert not is_public(parse_address(text))


def test_a_mapped_address_is_as_public_as_it_is_itself() -> None:
    assert is_public(parse_address("::ffff:8.8.8.8"))
    assert not is_public(ip_address("::ffff:8.8.8.8")), "nobody who forgets to unmap it is let through"


@given(st.ip_addresses())
def test_nothing_is_public_that_the_standard_library_says_is_not(address: object) -> None:
    parsed = parse_address(str(address))
    assert not is_public(parsed) or (parsed.is_global and not parsed.is_multicast and not parsed.is_reserved)


def test_one_wrong_address_is_enough() -> None:
    good, bad = parse_address("8.8.8.8"), parse_address("10.0.0.1")
    assert are_public([good])
    assert not are_public([good, bad])
    assert not are_public([])


def test_only_listed_hosts_are_asked_if_there_is_a_list() -> None:
    require_listed("a.example", HostNames())
    require_listed("a.example", HostNames(("a.example",)))
    with pytest.raises(Refusal, match=r"^parameter.forbidden: file is a URL of a host"):
        require_listed("b.example", HostNames(("a.example",)))
