"""A list of hosts is exact, but for those with a dot before them."""

from __future__ import annotations

import pytest

from tokensvc.core.hosts import HostNames


@pytest.mark.parametrize(
    ("names", "host", "is_on_it"),
    [
        ([], "a.example", False),
        (["a.example"], "a.example", True),
        (["A.Example"], "a.example", True),
        (["a.example"], "b.a.example", False),
        (["a.example"], "ba.example", False),
        (["a.example"], "a.example.evil", False),
        ([".a.example"], "b.a.example", True),
        ([".a.example"], "c.b.a.example", True),
        ([".a.example"], "a.example", True),
        ([".a.example"], "ba.example", False),
        ([".a.example"], "a.example.evil", False),
        (["[::1]"], "::1", True),
        (["a.example"], None, False),
        ([".a.example"], None, False),
    ],
)
def test_a_host_is_on_the_list(names: list[str], host: str | None, *, is_on_it: bool) -> None:
    assert (host in HostNames.of(names)) is is_on_it


def test_an_empty_list_is_none() -> None:
    assert not HostNames.of([])
    assert HostNames.of(["a.example"])
