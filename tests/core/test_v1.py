"""Version 1, guard by guard (the attacks F6, F7, F11 to F13 among them)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokensvc.core import v1
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.keys import AcceptedKeys, KeyPair, Secret
from tokensvc.core.window import LEEWAY_SECONDS, Window

from .conftest import NOW

PAIR = KeyPair("default", "public_key_test", Secret("private_key_test_0123456789"))
KEYS = AcceptedKeys((PAIR,))


def fields(**changed: Any) -> dict[str, str]:
    """Good form fields, with some changed and signed again unless the signature itself is changed."""
    good = {"token": "c0ffee", "expire": str(NOW + 1800), "publicKey": PAIR.public_key} | changed
    good.setdefault("signature", v1.sign(PAIR.mac, good["token"], good["expire"]))
    return good


def refusal(given_fields: dict[str, str], now: int = NOW) -> Refusal:
    with pytest.raises(Refusal) as refused:
        v1.verify(KEYS, given_fields, now)
    return refused.value


def test_a_good_credential_is_verified() -> None:
    verified = v1.verify(KEYS, fields(), NOW)
    assert (verified.nonce, verified.pair, verified.window.expires_at) == (b"c0ffee", PAIR, NOW + 1800)


@given(
    token=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128),
    lifetime=st.integers(1, 3600),
    later=st.integers(0, 3600),
)
def test_mint_never_emits_what_verify_refuses(token: str, lifetime: int, later: int) -> None:
    minted = v1.mint(PAIR, token, Window(NOW, NOW + lifetime))
    sent = {
        "token": minted.token,
        "expire": str(minted.expire),
        "signature": minted.signature,
        "publicKey": minted.public_key,
    }
    assert v1.verify(KEYS, sent, NOW + min(later, lifetime - 1)).nonce == token.encode()


@given(tokens=st.lists(st.uuids().map(str), min_size=1, max_size=9), lifetime=st.integers(1, 3600))
def test_many_are_minted_as_each_by_itself(tokens: list[str], lifetime: int) -> None:
    window = Window(NOW, NOW + lifetime)
    made = v1.mint_all(PAIR, tokens, window)
    each = [
        v1.Credential(token, made.expire, signature, made.public_key)
        for token, signature in zip(made.tokens, made.signatures, strict=True)
    ]
    assert each == [v1.mint(PAIR, token, window) for token in tokens]


@pytest.mark.parametrize("token", ["", "a" * 129, "with blank", "tök€n", "line\nbreak", "nul\0", "\x7f"])
def test_mint_refuses_a_token_that_verify_would_refuse(token: str) -> None:
    with pytest.raises(Refusal) as refused:
        v1.mint(PAIR, token, Window(NOW, NOW + 60))
    assert refused.value.code is Code.TOKEN_INVALID


def test_a_token_of_128_characters_is_the_longest() -> None:
    assert v1.verify(KEYS, fields(token="a" * 128), NOW)
    assert refusal(fields(token="a" * 129)).field == "token"


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(lambda good: good.upper(), id="upper case"),
        pytest.param(lambda good: good[:-1], id="39 digits"),
        pytest.param(lambda good: good + "0", id="41 digits"),
        pytest.param(lambda good: " " + good[1:], id="blank"),
        pytest.param(lambda good: good + "\n", id="line break"),
        pytest.param(lambda good: "é" + good[1:], id="not ASCII"),
        pytest.param(
            lambda good: good.translate(str.maketrans("0123456789", "０１２３４５６７８９")), id="wide digits"
        ),
    ],
)
def test_a_signature_in_another_spelling_is_refused(signature: Any) -> None:
    assert refusal(fields(signature=signature(fields()["signature"]))).code is Code.CREDENTIAL_INVALID


@pytest.mark.parametrize("place", [0, 17, 39])
def test_a_signature_with_one_other_digit_is_refused(place: int) -> None:
    good = fields()["signature"]
    wrong = good[:place] + ("0" if good[place] != "0" else "1") + good[place + 1 :]
    assert refusal(fields(signature=wrong)).code is Code.CREDENTIAL_INVALID


@pytest.mark.parametrize(
    "expire",
    [
        "0" + str(NOW + 60),
        " " + str(NOW + 60),
        "+" + str(NOW + 60),
        "1_700_000_060",
        "１７０００００060",
        "١٧٠٠٠٠٠٠٦٠",
        str(NOW + 60) + ".0",
        "1e9",
        str(NOW + 60) + "\0",
        str(NOW + 60) + "\n",
        "",
        "-1",
        str(NOW * 1000),
        "1800",
        "9" * 5000,
    ],
)
def test_expire_has_one_spelling(expire: str) -> None:
    assert refusal(fields(expire=expire)).code in (Code.EXPIRE_INVALID, Code.CREDENTIAL_INVALID)


def test_the_text_that_was_signed_can_be_cut_in_one_way_only() -> None:
    """F13: 20,000 credentials, every other cut of token+expire, none accepted."""
    accepted = 0
    for number in range(20_000):
        token = str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128, version=4))
        if number % 16:
            token = token[:-1] + "0"  # the ending that made the second cut possible
        expire = str(NOW + 1 + number % 3600)
        text, signature = token + expire, v1.sign(PAIR.mac, token, expire)
        for cut in (len(token) - 2, len(token) - 1, len(token) + 1, len(token) + 2):
            sent = {"token": text[:cut], "expire": text[cut:], "signature": signature, "publicKey": PAIR.public_key}
            try:
                v1.verify(KEYS, sent, NOW)
            except Refusal:
                continue
            accepted += 1
    assert accepted == 0


@pytest.mark.parametrize(("ahead", "accepted"), [(3600, True), (3601, False), (1, True)])
def test_expire_is_at_most_an_hour_ahead(ahead: int, *, accepted: bool) -> None:
    sent = fields(expire=str(NOW + ahead))
    if accepted:
        assert v1.verify(KEYS, sent, NOW)
    else:
        assert refusal(sent).code is Code.CREDENTIAL_INVALID


def test_expiry_is_judged_with_the_leeway_and_no_more() -> None:
    sent = fields(expire=str(NOW))
    assert v1.verify(KEYS, sent, NOW + LEEWAY_SECONDS - 1)
    assert refusal(sent, NOW + LEEWAY_SECONDS).code is Code.CREDENTIAL_EXPIRED


@pytest.mark.parametrize("name", ["token", "expire", "signature", "publicKey"])
def test_a_missing_field_is_named(name: str) -> None:
    sent = fields()
    del sent[name]
    assert refusal(sent).field == name


def test_an_unknown_key_and_a_wrong_signature_are_answered_alike() -> None:
    unknown = refusal(fields(publicKey="public_nobody"))
    wrong = refusal(fields(signature="0" * 40))
    assert (unknown.code, unknown.detail, unknown.remedy, unknown.field) == (
        wrong.code,
        wrong.detail,
        wrong.remedy,
        wrong.field,
    )


def test_a_retired_key_is_accepted_until_its_grace_ends() -> None:
    retired = KeyPair("default", "public_key_test", PAIR.private_key, accept_until=NOW + 10)
    keys = AcceptedKeys((retired,))
    assert v1.verify(keys, fields(), NOW + 9)
    with pytest.raises(Refusal):
        v1.verify(keys, fields(), NOW + 10)
