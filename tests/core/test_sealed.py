"""Sealed texts: read with the same key about the same thing, and by nothing else."""

from __future__ import annotations

import os

import pytest

from tokensvc.core.sealed import RANDOM_BYTES, seal, unseal

SECRET, PLAIN = b"private_CANARY_of_tests", b'{"token":"CANARY"}' * 3


def sealed(random: bytes | None = None) -> str:
    return seal(SECRET, "about this", PLAIN, random or os.urandom(RANDOM_BYTES))


def test_what_is_sealed_is_read_again() -> None:
    assert unseal(SECRET, "about this", sealed()) == PLAIN


@pytest.mark.parametrize(("secret", "about"), [(b"private_CANARY_of_others", "about this"), (SECRET, "about that")])
def test_nobody_else_reads_it_and_it_speaks_of_nothing_else(secret: bytes, about: str) -> None:
    assert unseal(secret, about, sealed()) is None


def test_each_is_another_text() -> None:
    assert len({sealed() for _ in range(10)}) == 10
    assert len({sealed(bytes(RANDOM_BYTES)) for _ in range(10)}) == 1


def test_one_that_was_changed_is_nothing() -> None:
    text = sealed()
    for place in range(0, len(text) - 2, 7):
        other = "A" if text[place] != "A" else "B"
        assert unseal(SECRET, "about this", text[:place] + other + text[place + 1 :]) is None


def test_the_text_does_not_show_what_it_is() -> None:
    assert "CANARY" not in sealed()
