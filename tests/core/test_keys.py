from __future__ import annotations

import json
import pickle

import pytest

from tokensvc.core.errors import Code, Refusal
from tokensvc.core.keys import (
    AcceptedKeys,
    KeyPair,
    KeyRing,
    Secret,
    fingerprint,
    private_key_faults,
    public_key_faults,
)

from .conftest import NOW

GOOD = "private_2yk2tYC0bcPiNHVG3s4Dpa6Wfzo="


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (GOOD + "\n", "line break"),
        (" " + GOOD, "blanks"),
        (f'"{GOOD}"', "quotes"),
        (GOOD.replace("private_", "public_"), "swapped"),
        ("2yk2tYC0bcPiNHVG3s4Dpa6Wfzo=", "does not start with private_"),
        ("private_1234567", "shorter than 16"),
        ("-----BEGIN PRIVATE KEY-----", "PEM"),
        ('{"kty":"oct","k":"AAAAAAAAAAAAAAAA"}', "JWK"),
        ("private_your_key_goes_here", "placeholder"),
        ("private_xxxxxxxxxxxxxxxx", "placeholder"),
        (GOOD.removesuffix("="), "no = at the end"),
    ],
)
def test_a_private_key_of_the_wrong_shape_is_told_without_the_key(text: str, words: str) -> None:
    faults = private_key_faults(text)
    assert words in " ".join(faults)
    assert not text or text.strip("\"' \n")[8:20] not in " ".join(faults) or len(text) < 20


@pytest.mark.parametrize("text", [GOOD, "private_12345678", GOOD[:-2], GOOD[:-1] + "0"])
def test_a_private_key_of_the_right_shape_has_no_faults(text: str) -> None:
    assert private_key_faults(text) == []


@pytest.mark.parametrize(
    "text", ["private_2yk2tYC0bcPiNHVG", "public_", "public_a b", "'public_abc'", "pub_abc", "public_your_key"]
)
def test_a_public_key_of_the_wrong_shape_is_told(text: str) -> None:
    assert public_key_faults(text)


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret(GOOD)
    pair = KeyPair("default", "public_a", secret)
    for shown in (repr(secret), str(secret), f"{secret}", repr(pair), repr(KeyRing((pair,), "public_a"))):
        assert GOOD not in shown
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)


def test_fingerprints_tell_keys_apart() -> None:
    assert fingerprint(Secret(GOOD)) == fingerprint(Secret(GOOD)) != fingerprint(Secret(GOOD + "x"))
    assert len(fingerprint(Secret(GOOD))) == 12


def test_the_active_key_is_the_named_one_not_the_first(ring: KeyRing, pair: KeyPair) -> None:
    assert ring.pairs[0] is not pair
    assert ring.signing is pair


def test_a_ring_without_its_active_key_is_refused(pair: KeyPair) -> None:
    with pytest.raises(ValueError, match="active"):
        KeyRing((pair,), "public_other")


def test_a_key_listed_twice_is_refused(pair: KeyPair) -> None:
    with pytest.raises(ValueError, match="twice"):
        AcceptedKeys((pair, pair))


def test_the_owner_of_a_private_key_is_found_until_its_grace_ends(pair: KeyPair) -> None:
    keys = AcceptedKeys((KeyPair("default", "public_a", pair.private_key, accept_until=NOW + 10),))
    assert keys.owner(pair.private_key.reveal(), NOW + 9)
    assert keys.owner(pair.private_key.reveal(), NOW + 10) is None
    assert keys.owner("private_nobody", NOW) is None
    assert keys.owner("\udcff", NOW) is None


@pytest.mark.parametrize("asked", ["public_other", "", 7, ["public_key_test"]])
def test_a_request_that_names_another_key_is_refused(ring: KeyRing, asked: object) -> None:
    with pytest.raises(Refusal) as refused:
        ring.require_public_key(asked)
    assert refused.value.code is Code.KEY_MISMATCH


@pytest.mark.parametrize("asked", ["public_key_test", None])
def test_a_request_that_names_the_active_key_or_none_goes_on(ring: KeyRing, asked: str | None) -> None:
    ring.require_public_key(asked)
