"""The golden vectors of ImageKit's own SDKs, and Wycheproof's where its files are at hand."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokensvc.core import jws, mac, v1, v2
from tokensvc.core.errors import Refusal
from tokensvc.core.keys import AcceptedKeys, KeyPair, Secret
from tokensvc.core.window import Window

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())
WYCHEPROOF = Path(__file__).parents[3] / "shared" / "wycheproof"

# Two tests named for their padding carry none: their text is equal to a valid one. Two hold a `?` inside of base64 and
# are called valid; refusing them is stricter and what we want.
SLIPS_UPSTREAM = {367, 370}
STRICTER_HERE = {372, 373}


@pytest.mark.parametrize("vector", VECTORS["v1"], ids=lambda vector: vector["token"])
def test_v1_signature(vector: dict[str, Any]) -> None:
    key = vector["private_key"].encode()
    assert v1.sign(mac.Keyed(key), vector["token"], vector["expire"]) == vector["signature"]


@pytest.mark.parametrize("order", VECTORS["v2"][0]["tokens"])
def test_v2_token_verifies_in_both_header_orders(order: str) -> None:
    vector = VECTORS["v2"][0]
    keys = AcceptedKeys((KeyPair("default", vector["public_key"], Secret(vector["private_key"])),))
    verified = v2.verify(keys, vector["tokens"][order], vector["claims"]["iat"])
    times = {"iat": verified.window.issued_at, "exp": verified.window.expires_at}
    assert {**verified.claims, **times} == vector["claims"]


def test_v2_token_is_minted_as_pyjwt_writes_it() -> None:
    vector = VECTORS["v2"][0]
    pair = KeyPair("default", vector["public_key"], Secret(vector["private_key"]))
    claims = {name: value for name, value in vector["claims"].items() if name not in ("iat", "exp")}
    window = Window(vector["claims"]["iat"], vector["claims"]["exp"])
    assert v2.mint(pair, claims, window) == vector["tokens"]["header alg, kid, typ"]


def wycheproof(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    path = WYCHEPROOF / f"{name}.json"
    if not path.exists():
        return []
    return [(group, test) for group in json.loads(path.read_text())["testGroups"] for test in group["tests"]]


@given(st.binary(max_size=130), st.binary(max_size=130))
@example(b"k" * 64, b"")
@example(b"k" * 65, b"")
def test_a_key_that_is_hashed_once_signs_as_ever(key: bytes, message: bytes) -> None:
    keyed = mac.Keyed(key)
    for _ in range(2):
        assert keyed.sha1(message) == mac.hmac_sha1(key, message)
        assert keyed.sha256(message) == mac.hmac_sha256(key, message)


@pytest.mark.parametrize(
    ("name", "hash_of"),
    [
        ("hmac_sha1_test", mac.hmac_sha1),
        ("hmac_sha1_test", lambda key, message: mac.Keyed(key).sha1(message)),
        ("hmac_sha256_test", mac.hmac_sha256),
        ("hmac_sha256_test", lambda key, message: mac.Keyed(key).sha256(message)),
    ],
)
def test_wycheproof_hmac(name: str, hash_of: Any) -> None:
    if not WYCHEPROOF.exists():
        pytest.skip("the Wycheproof files are not beside this checkout; the vectors above always run")
    cases = wycheproof(name)
    assert len(cases) >= 170
    for group, test in cases:
        tag = hash_of(bytes.fromhex(test["key"]), bytes.fromhex(test["msg"]))[: group["tagSize"] // 8]
        assert mac.same(tag, bytes.fromhex(test["tag"])) == (test["result"] == "valid"), test["tcId"]


def test_wycheproof_jws_with_shared_keys() -> None:
    if not WYCHEPROOF.exists():
        pytest.skip("the Wycheproof files are not beside this checkout; the vectors above always run")
    cases = [(g, t) for g, t in wycheproof("json_web_signature_test") if (g.get("private") or {}).get("kty") == "oct"]
    assert len(cases) == 40
    for group, test in cases:
        if test["tcId"] in SLIPS_UPSTREAM:
            continue
        key = urlsafe_b64decode(group["private"]["k"] + "==")
        is_hs256 = group["private"].get("alg", "HS256") == "HS256"
        expected = test["result"] == "valid" and test["tcId"] not in STRICTER_HERE and is_hs256
        assert verifies(test["jws"], key) == expected, (test["tcId"], test["comment"])


def verifies(text: str, key: bytes) -> bool:
    try:
        jws.verify(text, lambda _kid: key)
    except Refusal:
        return False
    return True


def test_every_wycheproof_token_of_another_algorithm_is_refused() -> None:
    if not WYCHEPROOF.exists():
        pytest.skip("the Wycheproof files are not beside this checkout; the vectors above always run")
    tokens = [
        t["jws"] for g, t in wycheproof("json_web_signature_test") if (g.get("private") or {}).get("kty") != "oct"
    ]
    assert len(tokens) > 300
    assert not any(verifies(token, b"x" * 32) for token in tokens)
