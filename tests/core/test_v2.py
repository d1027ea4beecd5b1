"""Version 2, guard by guard (the attacks F1 to F10). Odd tokens are signed again: only their own guard can refuse."""

from __future__ import annotations

import ast
import base64
import inspect
import json
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokensvc.core import jws, mac, strict_json, v2
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.keys import AcceptedKeys, KeyPair, Secret
from tokensvc.core.params import PARAMETERS, unfit
from tokensvc.core.window import LEEWAY_SECONDS, Window

from .conftest import NOW

PAIR = KeyPair("default", "public_key_test", Secret("private_key_test_0123456789abcdef"))
OTHER = KeyPair("default", "public_other", Secret("private_other_0123456789abcdef"))
KEYS = AcceptedKeys((PAIR, OTHER))
HEADER = {"alg": "HS256", "typ": "JWT", "kid": PAIR.public_key}
CLAIMS: dict[str, Any] = {"fileName": "a.jpg", "iat": NOW, "exp": NOW + 400}


@given(payload=st.binary(max_size=300), key=st.binary(min_size=32, max_size=80), kid=st.text(max_size=40))
def test_a_jws_is_signed_byte_for_byte_as_pyjwt_signs_it(payload: bytes, key: bytes, kid: str) -> None:
    expected = jwt.PyJWS().encode(payload, key, algorithm="HS256", headers={"kid": kid}, sort_headers=True)
    assert jws.sign(payload, key=mac.Keyed(key), kid=kid) == expected


def b64(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def token(header: Any = HEADER, claims: Any = CLAIMS, key: bytes = PAIR.secret_bytes) -> str:
    """A token of any header and payload (objects, or raw bytes), signed with a good key."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    text = f"{b64(parts[0])}.{b64(parts[1])}"
    return f"{text}.{b64(mac.hmac_sha256(key, text.encode()))}"


def refused(text: str, now: int = NOW) -> Refusal:
    with pytest.raises(Refusal) as caught:
        v2.verify(KEYS, text, now)
    assert caught.value.code in (Code.CREDENTIAL_INVALID, Code.CREDENTIAL_EXPIRED)
    return caught.value


def test_the_good_token_that_all_others_vary() -> None:
    verified = v2.verify(KEYS, token(), NOW)
    assert dict(verified.claims) == {"fileName": "a.jpg"}
    assert verified.window == Window(NOW, NOW + 400)
    assert verified.nonce == token().rpartition(".")[0].encode()
    assert verified.pair is PAIR


texts = st.text(max_size=80).filter(lambda text: unfit(text) is None)


@settings(deadline=None)
@given(
    parameters=st.dictionaries(st.sampled_from(sorted(PARAMETERS)), texts, max_size=8),
    lifetime=st.integers(1, 3600),
    later=st.integers(0, 3600),
)
def test_mint_never_emits_what_verify_refuses(parameters: dict[str, str], lifetime: int, later: int) -> None:
    minted = v2.mint(PAIR, parameters, Window(NOW, NOW + lifetime))
    verified = v2.verify(KEYS, minted, NOW + min(later, lifetime - 1))
    assert verified.claims == parameters
    assert verified.nonce == v2.signing_input(minted)
    payload = {**parameters, "iat": NOW, "exp": NOW + lifetime}
    assert jws.decode(minted.split(".")[1]) == strict_json.dumps(payload)  # it is put together of members


def test_mint_refuses_a_payload_that_makes_the_token_too_long() -> None:
    def parameters(length: int) -> dict[str, str]:
        return {"description": "a" * 4000, "checks": "b" * length}

    longest = next(n for n in range(2100, 1500, -1) if fits(parameters(n)))
    assert v2.verify(KEYS, v2.mint(PAIR, parameters(longest), Window(NOW, NOW + 60)), NOW)
    assert not fits(parameters(longest + 1))


def fits(parameters: dict[str, str]) -> bool:
    try:
        v2.mint(PAIR, parameters, Window(NOW, NOW + 60))
    except Refusal as refusal:
        assert refusal.code is Code.PARAMETER_INVALID
        return False
    return True


@pytest.mark.parametrize(
    "parameters", [{"iat": "1"}, {"jti": "x"}, {"file": "x"}, {"createdBy": "x"}, {"fileName": "a\nb"}]
)
def test_mint_refuses_what_is_no_parameter(parameters: dict[str, str]) -> None:
    with pytest.raises(Refusal):
        v2.mint(PAIR, parameters, Window(NOW, NOW + 60))


@pytest.mark.parametrize(
    "alg", ["none", "None", "nOnE", "", None, ["HS256"], "HS384", "HS512", "RS256", "hs256", "HS256 ", {"HS256": 1}]
)
def test_f1_another_algorithm_is_refused(alg: Any) -> None:
    assert "algorithm" in refused(token({**HEADER, "alg": alg})).detail


def test_f1_a_missing_algorithm_is_refused() -> None:
    assert "algorithm" in refused(token({"typ": "JWT", "kid": PAIR.public_key})).detail


def test_f1_the_algorithms_are_a_literal_in_the_code() -> None:
    """A list read from a header or a variable is how algorithm confusion begins (RFC 8725 2.1)."""
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(jws))) if isinstance(node, ast.Call)]
    lists = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "algorithms"]
    assert [ast.unparse(value) for value in lists] == ["['HS256']", "['HS256']"]


@pytest.mark.parametrize("kid", ["../../etc/passwd", "' OR 1=1", "public_nobody", "x" * 4000, "", "PUBLIC_KEY_TEST"])
def test_f2_an_unknown_kid_is_refused_as_a_forgery(kid: str) -> None:
    assert refused(token({**HEADER, "kid": kid})).detail == jws.forged().detail


@pytest.mark.parametrize("kid", [1, None, {}, ["public_key_test"]])
def test_f2_a_kid_that_is_no_string_is_refused(kid: Any) -> None:
    assert "kid" in refused(token({**HEADER, "kid": kid})).detail


def test_f2_there_is_no_trying_of_all_keys() -> None:
    assert refused(token({**HEADER, "kid": OTHER.public_key})).detail == jws.forged().detail
    assert refused(token({"alg": "HS256", "typ": "JWT"})).detail == jws.forged().detail


@pytest.mark.parametrize(
    "member",
    [
        {"crit": ["exp"]},
        {"b64": False},
        {"jku": "http://127.0.0.1:1/"},
        {"jwk": {"kty": "oct", "k": "AA"}},
        {"x5u": "http://127.0.0.1:1/"},
        {"x5c": []},
        {"zip": "DEF"},
        {"cty": "JWT"},
    ],
)
def test_f3_another_header_member_is_refused(member: dict[str, Any]) -> None:
    assert "members other than" in refused(token({**HEADER, **member})).detail


@pytest.mark.parametrize("typ", ["jwt", "JWE", "", 1, None])
def test_f3_another_typ_is_refused(typ: Any) -> None:
    assert "typ" in refused(token({**HEADER, "typ": typ})).detail


def test_f4_a_member_that_occurs_twice_is_refused() -> None:
    twice = b'{"fileName":"a.jpg","fileName":"b.jpg","iat":%d,"exp":%d}' % (NOW, NOW + 400)
    assert "twice" in refused(token(claims=twice)).detail
    header = b'{"alg":"HS256","typ":"JWT","kid":"public_other","kid":"public_key_test"}'
    assert "twice" in refused(token(header)).detail


@pytest.mark.parametrize("name", ["iat", "exp"])
@pytest.mark.parametrize("value", [str(NOW + 9), float(NOW + 9), True, None, [NOW], -NOW, 0, 10**400, 10**10])
def test_f5_times_are_json_integers_of_ten_digits(name: str, value: Any) -> None:
    assert refused(token(claims={**CLAIMS, name: value}))


@pytest.mark.parametrize("raw", [b"NaN", b"1e400", b"Infinity", b"9" * 5000])
def test_f5_odd_numbers_are_refused(raw: bytes) -> None:
    assert refused(token(claims=b'{"fileName":"a.jpg","iat":%d,"exp":%b}' % (NOW, raw)))


@pytest.mark.parametrize("name", ["iat", "exp"])
def test_f5_both_times_are_required(name: str) -> None:
    assert name in refused(token(claims={key: value for key, value in CLAIMS.items() if key != name})).detail


def test_f6_expiry_is_judged_with_the_leeway_and_no_more() -> None:
    assert v2.verify(KEYS, token(), NOW + 400 + LEEWAY_SECONDS - 1)
    assert refused(token(), NOW + 400 + LEEWAY_SECONDS).code is Code.CREDENTIAL_EXPIRED


@pytest.mark.parametrize(("lifetime", "accepted"), [(1, True), (3600, True), (3601, False), (0, False), (-1, False)])
def test_f7_a_lifetime_is_at_most_an_hour(lifetime: int, *, accepted: bool) -> None:
    text = token(claims={**CLAIMS, "exp": NOW + lifetime})
    if accepted:
        assert v2.verify(KEYS, text, NOW)
    else:
        assert "lifetime" in refused(text).detail


def test_f7_a_token_from_the_future_is_refused_beyond_the_leeway() -> None:
    ahead = NOW + LEEWAY_SECONDS
    assert v2.verify(KEYS, token(claims={**CLAIMS, "iat": ahead, "exp": ahead + 60}), NOW)
    assert "future" in refused(token(claims={**CLAIMS, "iat": ahead + 1, "exp": ahead + 60})).detail


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps(CLAIMS).encode("utf-16"),
        b"\xef\xbb\xbf" + json.dumps(CLAIMS).encode(),
        b"\xff",
        b"[]",
        b'"x"',
        b"1",
        b"null",
        b"[" * 2000,
        b'{"a":' * 1200 + b"1" + b"}" * 1200,
    ],
)
def test_f8_a_payload_that_is_no_utf8_object_is_refused(payload: bytes) -> None:
    assert refused(token(claims=payload))


@pytest.mark.parametrize("text", ["\ud800", "nul\0", "a\r\nb", "tab\t", "\u202egpj.exe", "\u2066x", "\x85", "\ufffd"])
def test_f9_a_claim_with_an_unfit_character_is_refused(text: str) -> None:
    payload = json.dumps({**CLAIMS, "fileName": text}).encode()
    assert refused(token(claims=payload))


@pytest.mark.parametrize("value", [True, 1, 1.5, None, ["a"], {"a": 1}])
def test_f9_a_claim_that_is_no_string_is_refused(value: Any) -> None:
    assert "not a string" in refused(token(claims={**CLAIMS, "tags": value})).detail


@pytest.mark.parametrize(
    "name", ["jti", "nbf", "file", "token", "signature", "expire", "publicKey", "a b", "", "x" * 65]
)
def test_f9_a_claim_that_can_be_no_form_field_is_refused(name: str) -> None:
    assert "form field" in refused(token(claims={**CLAIMS, name: "x"})).detail


def variants() -> dict[str, str]:
    good = token()
    header, payload, signature = good.split(".")
    last = signature[-1]
    twin = next(
        c
        for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        if c != last and base64.urlsafe_b64decode(signature[:-1] + c + "=") == base64.urlsafe_b64decode(signature + "=")
    )
    return {
        "padded": good + "=",
        "line break": good + "\n",
        "leading blank": " " + good,
        "inserted mark": f"{header}.{payload[:4]}!{payload[4:]}.{signature}",
        "standard alphabet": good.replace("-", "+").replace("_", "/") + ("" if {"-", "_"} & set(good) else "+"),
        "other trailing bits": good[:-1] + twin,
        "two parts": f"{header}.{payload}",
        "four parts": good + ".",
        "five parts": good + ".a.b",
        "empty": "",
        "dots": "..",
        "empty payload": f"{header}..{signature}",
        "long": "A" * 1_000_000,
        "padded header": f"{header}==.{payload}.{signature}",
    }


@pytest.mark.parametrize("name", variants())
def test_f10_another_spelling_is_refused(name: str) -> None:
    assert refused(variants()[name])


@settings(max_examples=2000, deadline=None)
@given(place=st.integers(0, len(token()) - 1), to=st.sampled_from("ABCXYZabcxyz0189-_.=+/ \n\0é"))
def test_no_other_text_of_a_token_verifies(place: int, to: str) -> None:
    good = token()
    if good[place] != to:
        refused(good[:place] + to + good[place + 1 :])


def test_f16_a_wrong_signature_and_an_unknown_key_are_answered_alike() -> None:
    wrong, unknown = (
        refused(token(key=b"another key, of 32 bytes or more.")),
        refused(token({**HEADER, "kid": "public_nobody"})),
    )
    assert (wrong.code, wrong.detail, wrong.remedy, wrong.field) == (
        unknown.code,
        unknown.detail,
        unknown.remedy,
        unknown.field,
    )
