"""Tokens of an identity provider, guard by guard. Odd ones are signed again: only their own guard can refuse them.

The provider's tokens are made by joserfc, never by the library that verifies them.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OctKey, RSAKey
from jwt.types import Options

from tests.support.identity_provider import (
    AUDIENCE,
    LIFETIME_SECONDS,
    NOW,
    IdentityProvider,
    b64,
    keys_of,
    new_key,
    sign,
)
from tokensvc.adapters.callers.bearer import LEEWAY_SECONDS, MAX_CHARACTERS, MAX_SUBJECT_CHARACTERS, Bearer
from tokensvc.adapters.callers.verifying_keys import OneKey, from_jwk
from tokensvc.core import v2
from tokensvc.core.callers import Caller, Presented
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.keys import KeyPair, Secret
from tokensvc.core.mac import hmac_sha256
from tokensvc.core.window import Window

SECRET = Secret("a secret shared with the provider, of 32 bytes or more")
OTHER_ISSUER = "https://other.example"


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as serving:
        yield serving


@pytest.fixture(scope="module")
def source(provider: IdentityProvider) -> Bearer:
    return bearer(provider)


def bearer(provider: IdentityProvider, *, now: int = NOW, **changed: Any) -> Bearer:
    good: dict[str, Any] = {
        "issuer": provider.issuer,
        "audience": AUDIENCE,
        "keys": keys_of(provider),
        "clock": lambda: now,
    }
    return Bearer("mobile", **{**good, **changed})


def shows(token: str) -> Presented:
    return Presented({"authorization": f"Bearer {token}"}, {}, "203.0.113.7")


def refused(source: Bearer, token: str) -> Refusal:
    """Each refusal has one code and one remedy; and neither text shows any of the token."""
    with pytest.raises(Refusal) as caught:
        source.identify(shows(token))
    refusal = caught.value
    assert (refusal.code, refusal.field) == (Code.CALLER_INVALID, None)
    assert (
        refusal.remedy == "Get a new access token for this service from the identity provider, and send it unchanged."
    )
    assert not any(part and part in refusal.detail for part in token.split("."))
    return refusal


FORGED = "The bearer token's signature does not verify."


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_a_good_token_of_each_algorithm_names_the_caller(algorithm: str) -> None:
    with IdentityProvider(algorithm=algorithm) as own:
        caller = bearer(own).identify(shows(own.token()))
    assert caller is not None
    assert (caller.source, caller.subject, caller.may) == ("mobile", "u1", frozenset({"issue"}))


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_a_public_key_from_a_file_does_as_well_whatever_the_kid(algorithm: str) -> None:
    with IdentityProvider(algorithm=algorithm) as own:
        keys = OneKey.from_pem(own.public_pem())
        algorithms = {algorithm}
        for token in (own.token(), own.token_with_header(kid="unheard of"), own.token_with_header(kid=...)):
            assert bearer(own, keys=keys, algorithms=algorithms).identify(shows(token))


def test_a_shared_secret_verifies_hs256(provider: IdentityProvider) -> None:
    source = bearer(provider, keys=OneKey.from_secret(SECRET), algorithms=["HS256"])
    good = sign({"alg": "HS256"}, provider.claims(), OctKey.import_key(SECRET.reveal()), "HS256")
    assert source.identify(shows(good))
    wrong = sign({"alg": "HS256"}, provider.claims(), OctKey.import_key(SECRET.reveal() + "x"), "HS256")
    assert refused(source, wrong).detail == FORGED


def test_claims_become_texts_and_what_is_nested_is_left_out(provider: IdentityProvider, source: Bearer) -> None:
    token = provider.token(
        email="ada@example.org", email_verified=True, level=3, ratio=0.5, gone=None, roles=["a"], address={"a": "b"}
    )
    assert source.identify(shows(token)) == Caller(
        "mobile",
        "u1",
        claims={
            "iss": provider.issuer,
            "aud": "uploads",
            "sub": "u1",
            "iat": str(NOW),
            "exp": str(NOW + LIFETIME_SECONDS),
            "email": "ada@example.org",
            "email_verified": "true",
            "level": "3",
            "ratio": "0.5",
        },
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Basic dTpw"},
        {"authorization": "Bearer "},
        {"authorization": "Bearer tsk_abcdefghijklmnopqrstuvwxyz012345"},
        {"authorization": "Bearer opaque"},
        {"authorization": "Bearer two.parts"},
        {"authorization": "Bearer a.b.c.d.e"},
        {"x-forwarded-user": "u1"},
    ],
)
def test_other_evidence_is_not_its_business(source: Bearer, headers: dict[str, str]) -> None:
    assert source.identify(Presented(headers, {}, "203.0.113.7")) is None


# ---- Forgeries: one text for all of them


def test_a_token_signed_by_another_key_under_a_good_kid_is_forged(provider: IdentityProvider, source: Bearer) -> None:
    kid, algorithm, _ = provider.signing
    header = {"alg": algorithm, "kid": kid}
    assert refused(source, sign(header, provider.claims(), new_key("RS256", "thief"), algorithm)).detail == FORGED


def test_a_changed_claim_is_forged(provider: IdentityProvider, source: Bearer) -> None:
    header, _, signature = provider.token().split(".")
    payload = b64(json.dumps(provider.claims(sub="admin")).encode())
    assert refused(source, f"{header}.{payload}.{signature}").detail == FORGED


@pytest.mark.parametrize("kid", ["unknown", "", "../../etc/passwd", "KEY-1-RS256", "public_key"])
def test_an_unknown_kid_is_forged(provider: IdentityProvider, source: Bearer, kid: str) -> None:
    assert refused(source, provider.token_with_header(kid=kid)).detail == FORGED


@pytest.mark.parametrize("kid", [1, None, [], {"a": 1}, True])
def test_a_kid_that_is_no_text_is_forged(provider: IdentityProvider, kid: Any) -> None:
    """Also where there is one key only, which needs no name."""
    source = bearer(provider, keys=OneKey.from_pem(provider.public_pem()))
    assert refused(source, provider.token_with_header(kid=kid)).detail == FORGED


def test_one_key_is_found_for_its_own_algorithms_only(provider: IdentityProvider) -> None:
    keys = OneKey.from_pem(provider.public_pem())
    assert keys.find("any", "RS256") is keys.find(None, "PS256") is not None
    for algorithm in ("ES256", "HS256", "none"):
        assert keys.find(None, algorithm) is None


@pytest.mark.parametrize(
    "alg", ["none", "None", "nOnE", "", None, ..., ["RS256"], 1, "RS384", "RS512", "rs256", "ES256"]
)
def test_another_algorithm_in_the_header_is_forged(provider: IdentityProvider, source: Bearer, alg: Any) -> None:
    assert refused(source, provider.token_with_header(alg=alg)).detail == FORGED


@pytest.mark.parametrize("kid", [{}, {"kid": "key-1-RS256"}])
def test_an_unsigned_token_is_forged(provider: IdentityProvider, source: Bearer, kid: dict[str, str]) -> None:
    header = b64(json.dumps({"alg": "none", **kid}).encode())
    payload = b64(json.dumps(provider.claims()).encode())
    assert refused(source, f"{header}.{payload}.").detail == FORGED


def test_the_public_key_is_no_hmac_secret(provider: IdentityProvider) -> None:
    """Algorithm confusion (RFC 8725 2.1), in each spelling of the public key that is lying about."""
    pem, jwk = provider.public_pem(), provider.signing[2].as_dict(private=False)
    kid = provider.signing[0]
    for keys in (keys_of(provider), OneKey.from_pem(pem)):
        source = bearer(provider, keys=keys)
        for text in (pem, pem.strip(), json.dumps(jwk), str(jwk["n"])):
            secret = text.encode()
            header = {"alg": "HS256", "kid": kid}
            assert refused(source, hmac_token(header, provider.claims(), secret)).detail == FORGED


def hmac_token(header: Any, claims: Any, secret: bytes) -> str:
    """As an attacker makes it, with no library that asks whether that key may be."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    text = f"{b64(parts[0])}.{b64(parts[1])}"
    return f"{text}.{b64(hmac_sha256(secret, text.encode()))}"


def test_an_algorithm_that_is_not_configured_is_forged(provider: IdentityProvider) -> None:
    """The key could do it: RSA keys are good for two algorithms."""
    token = sign({"alg": "PS256"}, provider.claims(), provider.signing[2], "PS256")
    keys = OneKey.from_pem(provider.public_pem())
    assert bearer(provider, keys=keys).identify(shows(token))
    assert refused(bearer(provider, keys=keys, algorithms=["RS256"]), token).detail == FORGED


def test_a_key_that_says_its_alg_verifies_no_other(provider: IdentityProvider, source: Bearer) -> None:
    kid, _, key = provider.signing
    assert refused(source, sign({"alg": "PS256", "kid": kid}, provider.claims(), key, "PS256")).detail == FORGED


def test_an_upload_credential_is_no_access_token(provider: IdentityProvider, source: Bearer) -> None:
    """Not even where somebody configured ImageKit's key as the secret of the provider."""
    pair = KeyPair("default", "public_key_test", Secret("private_key_test_0123456789abcdef"))
    credential = v2.mint(pair, {"fileName": "a.jpg"}, Window(NOW, NOW + 600))
    assert refused(source, credential).detail == FORGED
    confused = bearer(provider, keys=OneKey.from_secret(pair.private_key), algorithms=["HS256"])
    assert refused(confused, credential).detail == "The bearer token has no aud."


# ---- The form


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": True},
        {"b64": False},
        {"jku": "http://127.0.0.1:1/"},
        {"jwk": {"kty": "oct", "k": "AA"}},
        {"x5u": "http://127.0.0.1:1/"},
        {"x5c": []},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"cty": "JWT"},
    ],
)
def test_a_header_that_changes_how_it_is_read_or_brings_a_key_is_refused(
    provider: IdentityProvider, source: Bearer, header: dict[str, Any]
) -> None:
    assert "plain kind" in refused(source, provider.token_with_header(**header)).detail


@pytest.mark.parametrize("header", [{"x5t": "AA"}, {"cat": "cl_1"}, {"pi.atm": "1"}])
def test_what_providers_add_to_the_header_is_ignored(
    provider: IdentityProvider, source: Bearer, header: dict[str, Any]
) -> None:
    assert source.identify(shows(provider.token_with_header(**header)))


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", ...])
def test_the_types_of_access_tokens_are_accepted(provider: IdentityProvider, source: Bearer, typ: Any) -> None:
    assert source.identify(shows(provider.token_with_header(typ=typ)))


@pytest.mark.parametrize("typ", ["logout+jwt", "dpop+jwt", "JWE", "", 1, None, ["JWT"], "JWT "])
def test_another_type_is_refused(provider: IdentityProvider, source: Bearer, typ: Any) -> None:
    assert "plain kind" in refused(source, provider.token_with_header(typ=typ)).detail


def test_a_token_is_at_most_8192_characters(provider: IdentityProvider, source: Bearer) -> None:
    def filled(length: int) -> str:
        return provider.token(filling="x" * length)

    longest = next(n for n in range(6000, 5000, -1) if len(filled(n)) <= MAX_CHARACTERS)
    assert len(filled(longest)) > MAX_CHARACTERS - 3
    assert source.identify(shows(filled(longest)))
    assert "longer than 8192" in refused(source, filled(longest + 1)).detail


def padded(token: str, place: int) -> str:
    parts = token.split(".")
    parts[place] += "=" * (-len(parts[place]) % 4)
    return ".".join(parts)


def with_other_last_bits(token: str, place: int) -> str:
    """Another text of the same bytes: the last character of such a part has bits that say nothing."""
    parts = token.split(".")
    assert len(parts[place]) % 4
    parts[place] = parts[place][:-1] + chr(ord(parts[place][-1]) + 1)
    return ".".join(parts)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("change", [padded, with_other_last_bits])
def test_another_spelling_of_the_same_bytes_is_forged(
    provider: IdentityProvider, source: Bearer, change: Callable[[str, int], str], place: int
) -> None:
    kid, algorithm, key = provider.signing
    header, claims = ({"alg": algorithm, "kid": kid}, provider.claims())
    texts = [json.dumps(part).encode() for part in (header, claims)]
    even = [part + b" " * (2 - len(part) % 3) for part in texts]  # so that two bytes are left over, in each part
    good = sign(even[0], even[1], key, algorithm)
    assert source.identify(shows(good))
    changed = change(good, place)
    assert changed != good
    assert refused(source, changed).detail == FORGED


@pytest.mark.parametrize("header", [b"[]", b"\xff", b"\0", b"{", b'"alg"'])
def test_a_header_that_is_no_object_cannot_be_read(provider: IdentityProvider, source: Bearer, header: bytes) -> None:
    _, algorithm, key = provider.signing
    assert "header cannot be read" in refused(source, sign(header, provider.claims(), key, algorithm)).detail


@pytest.mark.parametrize("text", ["A.e30.AA", "{}..{}", "{}.{}.", "=.=.="])
def test_a_token_without_one_of_its_parts_is_refused(provider: IdentityProvider, source: Bearer, text: str) -> None:
    refused(source, text.format(*provider.token().split(".")))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_other_text_of_a_token_is_accepted(provider: IdentityProvider, source: Bearer, data: st.DataObject) -> None:
    good = provider.token()
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.sampled_from("ABCXYZabcxyz0189-_.=+/ é").filter(lambda c: c != good[place]))
    try:
        assert source.identify(shows(good[:place] + other + good[place + 1 :])) is None
    except Refusal as refusal:
        assert refusal.code is Code.CALLER_INVALID


@pytest.mark.parametrize(
    "payload",
    [
        lambda claims: json.dumps(claims).encode("utf-16"),
        lambda claims: b"\xef\xbb\xbf" + json.dumps(claims).encode(),
        lambda claims: json.dumps(claims).encode()[:-1] + b',"sub":"u1"}',
        lambda claims: json.dumps(claims).encode()[:-1] + b',"x":NaN}',
        lambda claims: json.dumps(claims).encode()[:-1] + b',"x":' + b"[" * 20 + b"]" * 20 + b"}",
        lambda claims: json.dumps({**claims, "x": "\ud800"}).encode(),
    ],
)
def test_claims_that_are_not_strict_json_are_refused(provider: IdentityProvider, source: Bearer, payload: Any) -> None:
    kid, algorithm, key = provider.signing
    token = sign({"alg": algorithm, "kid": kid}, payload(provider.claims()), key, algorithm)
    assert "claims cannot be read" in refused(source, token).detail


@pytest.mark.parametrize("payload", [b"[]", b"1", b"null", b"", b"\xff", b"[" * 5000])
def test_a_payload_that_is_no_object_is_refused(provider: IdentityProvider, source: Bearer, payload: bytes) -> None:
    kid, algorithm, key = provider.signing
    assert refused(source, sign({"alg": algorithm, "kid": kid}, payload, key, algorithm)).detail == FORGED


def test_a_header_member_that_occurs_twice_is_refused(provider: IdentityProvider, source: Bearer) -> None:
    kid, algorithm, key = provider.signing
    header = b'{"alg":"none","alg":"%b","kid":"%b"}' % (algorithm.encode(), kid.encode())
    assert "header cannot be read" in refused(source, sign(header, provider.claims(), key, algorithm)).detail


# ---- The claims


@pytest.mark.parametrize("claim", ["exp", "iat", "aud", "iss", "sub"])
@pytest.mark.parametrize("missing", [..., None])
def test_each_claim_that_is_relied_on_is_required(
    provider: IdentityProvider, source: Bearer, claim: str, missing: Any
) -> None:
    assert refused(source, provider.token(**{claim: missing})).detail == f"The bearer token has no {claim}."


@pytest.mark.parametrize("issuer", [OTHER_ISSUER, "", "HTTP", " ", "/"])
def test_the_issuer_is_exact(provider: IdentityProvider, source: Bearer, issuer: str) -> None:
    odd = {"HTTP": provider.issuer.upper(), " ": f"{provider.issuer} ", "/": f"{provider.issuer}/"}.get(issuer, issuer)
    assert refused(source, provider.token(iss=odd)).detail == "The bearer token is of another issuer."


def test_an_issuer_that_is_no_text_is_refused(provider: IdentityProvider, source: Bearer) -> None:
    kid, algorithm, key = provider.signing
    token = sign({"alg": algorithm, "kid": kid}, provider.claims(iss=[provider.issuer]), key, algorithm)
    assert refused(source, token).detail == "The bearer token is of another issuer."


@pytest.mark.parametrize(
    "audience",
    ["other", "UPLOADS", "uploads ", "uploads/", ["uploads", "other"], ["uploads"], ["other"], {"uploads": 1}],
)
def test_the_audience_is_one_text_and_exact(provider: IdentityProvider, source: Bearer, audience: Any) -> None:
    """A token for several services could be brought here by whoever runs one of the others."""
    assert refused(source, provider.token(aud=audience)).detail == "The bearer token is for another audience."


@pytest.mark.parametrize("audience", ["", [], {}])
def test_an_empty_audience_is_none(provider: IdentityProvider, source: Bearer, audience: Any) -> None:
    assert refused(source, provider.token(aud=audience)).detail == "The bearer token has no aud."


def test_expiry_is_judged_with_the_leeway_and_no_more(provider: IdentityProvider) -> None:
    end = NOW + LIFETIME_SECONDS + LEEWAY_SECONDS
    token = provider.token()
    assert bearer(provider, now=end - 1).identify(shows(token))
    assert refused(bearer(provider, now=end), token).detail == "The bearer token has expired."


def test_the_leeway_is_what_is_configured(provider: IdentityProvider) -> None:
    end = NOW + LIFETIME_SECONDS
    token = provider.token()
    assert bearer(provider, now=end - 1, leeway=0).identify(shows(token))
    assert refused(bearer(provider, now=end, leeway=0), token).detail == "The bearer token has expired."


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_a_token_from_the_future_is_refused_beyond_the_leeway(
    provider: IdentityProvider, source: Bearer, claim: str
) -> None:
    assert source.identify(shows(provider.token(**{claim: NOW + LEEWAY_SECONDS})))
    late = provider.token(**{claim: NOW + LEEWAY_SECONDS + 1})
    assert refused(source, late).detail == "The bearer token is not good yet."


def test_of_both_starts_the_later_one_counts(provider: IdentityProvider, source: Bearer) -> None:
    late = NOW + LEEWAY_SECONDS + 1
    for token in (provider.token(iat=late, nbf=NOW), provider.token(iat=NOW, nbf=late)):
        assert refused(source, token).detail == "The bearer token is not good yet."


def test_a_token_can_be_too_old_though_it_has_not_expired(provider: IdentityProvider) -> None:
    source = bearer(provider, max_age=300)
    assert source.identify(shows(provider.token(iat=NOW - 300 - LEEWAY_SECONDS)))
    old = provider.token(iat=NOW - 300 - LEEWAY_SECONDS - 1)
    assert refused(source, old).detail == "The bearer token was issued too long ago."
    assert bearer(provider).identify(shows(old))


@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", [str(NOW + 9), True, [NOW], {}, 0, -NOW, 10**10, 10**400])
def test_times_are_numbers_of_unix_seconds(provider: IdentityProvider, source: Bearer, claim: str, value: Any) -> None:
    kid, algorithm, key = provider.signing
    token = sign({"alg": algorithm, "kid": kid}, provider.claims(**{claim: value}), key, algorithm)
    assert refused(source, token).detail == f"The bearer token's {claim} is not in Unix seconds."


def test_a_time_may_have_a_fraction(provider: IdentityProvider, source: Bearer) -> None:
    assert source.identify(shows(provider.token(iat=NOW + 0.25, exp=NOW + 60.5, nbf=NOW - 0.5)))


@pytest.mark.parametrize("subject", [1, True, ["u1"], {"a": 1}])
def test_a_subject_that_is_no_text_is_refused(provider: IdentityProvider, source: Bearer, subject: Any) -> None:
    kid, algorithm, key = provider.signing
    token = sign({"alg": algorithm, "kid": kid}, provider.claims(sub=subject), key, algorithm)
    assert refused(source, token).detail == "The bearer token's sub is not a text."


@pytest.mark.parametrize("subject", ["", "a\nb", "nul\0", "\u202egpj", "\x7f"])
def test_an_empty_or_unprintable_subject_is_refused(provider: IdentityProvider, source: Bearer, subject: str) -> None:
    assert "plain text" in refused(source, provider.token(sub=subject)).detail


def test_a_subject_is_at_most_256_characters(provider: IdentityProvider, source: Bearer) -> None:
    caller = source.identify(shows(provider.token(sub="é" * MAX_SUBJECT_CHARACTERS)))
    assert caller is not None
    assert caller.subject == "é" * MAX_SUBJECT_CHARACTERS
    assert "1 to 256" in refused(source, provider.token(sub="é" * (MAX_SUBJECT_CHARACTERS + 1))).detail


def test_another_claim_may_name_the_caller(provider: IdentityProvider) -> None:
    source = bearer(provider, subject_claim="email")
    caller = source.identify(shows(provider.token(email="ada@example.org")))
    assert caller is not None
    assert caller.subject == "ada@example.org"
    for token in (provider.token(), provider.token(email=7), provider.token(email=["ada@example.org"])):
        assert refused(source, token).detail.startswith("The bearer token's email is not a plain text")


def test_required_claims_must_be_there_and_be_what_they_must(provider: IdentityProvider) -> None:
    source = bearer(provider, required_claims={"email_verified": "true", "org": None})
    assert source.identify(shows(provider.token(email_verified=True, org="acme")))
    for claims in (
        {"org": "acme"},
        {"org": "acme", "email_verified": False},
        {"org": "acme", "email_verified": ["true"]},
    ):
        assert "claim email_verified" in refused(source, provider.token(**claims)).detail
    assert "claim org" in refused(source, provider.token(email_verified=True)).detail


def test_what_is_wrong_with_the_claims_is_told_to_nobody_who_forges(provider: IdentityProvider, source: Bearer) -> None:
    kid, algorithm, _ = provider.signing
    thief = new_key("RS256", "thief")
    for odd in ({"exp": 1}, {"aud": "other"}, {"iss": OTHER_ISSUER}, {"sub": ""}, {"exp": ...}):
        token = sign({"alg": algorithm, "kid": kid}, provider.claims(**odd), thief, algorithm)
        assert refused(source, token).detail == FORGED


# ---- Settings that cannot be


@pytest.mark.parametrize("algorithms", [["HS256"], ["RS256", "HS256"], ["none"], ["RS384"], []])
def test_a_public_key_is_configured_for_its_own_algorithms_only(
    provider: IdentityProvider, algorithms: list[str]
) -> None:
    for keys in (keys_of(provider), OneKey.from_pem(provider.public_pem())):
        with pytest.raises(ValueError, match="algorithms must be some of"):
            bearer(provider, keys=keys, algorithms=algorithms)


@pytest.mark.parametrize("algorithms", [["RS256"], ["HS256", "RS256"], ["HS384"], ["none"]])
def test_a_secret_is_configured_for_hs256_only(provider: IdentityProvider, algorithms: list[str]) -> None:
    with pytest.raises(ValueError, match="algorithms must be some of HS256"):
        bearer(provider, keys=OneKey.from_secret(SECRET), algorithms=algorithms)


def test_a_secret_needs_hs256_to_be_said(provider: IdentityProvider) -> None:
    with pytest.raises(ValueError, match="algorithms"):
        bearer(provider, keys=OneKey.from_secret(SECRET))


@pytest.mark.parametrize("setting", ["issuer", "audience", "subject_claim"])
def test_settings_are_not_empty(provider: IdentityProvider, setting: str) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        bearer(provider, now=NOW, **dict[str, Any]({setting: ""}))


def test_a_secret_has_at_least_32_bytes() -> None:
    assert OneKey.from_secret(Secret("s" * 32))
    with pytest.raises(ValueError, match="shorter than 32"):
        OneKey.from_secret(Secret("s" * 31))


def test_a_public_key_is_no_secret(provider: IdentityProvider) -> None:
    for text in (provider.public_pem(), json.dumps(provider.signing[2].as_dict(private=False))):
        with pytest.raises(ValueError, match="not a secret"):
            OneKey.from_secret(Secret(text))


def short_rsa_key() -> RSAKey:
    with warnings.catch_warnings(action="ignore", category=SecurityWarning):
        return RSAKey.generate_key(1024)


def pem(key: RSAKey | ECKey, *, private: bool = False) -> str:
    return key.as_pem(private=private).decode()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (short_rsa_key().as_pem(private=False).decode(), "2048 to 8192"),
        (pem(ECKey.generate_key("P-384")), "P-256"),
        (pem(ECKey.generate_key("P-256"), private=True), "is a private key"),
        ("", "is not a public key in PEM"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "is not a public key in PEM"),
    ],
)
def test_a_key_file_that_will_not_do_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        OneKey.from_pem(text)


def test_no_repr_shows_a_secret() -> None:
    keys = OneKey.from_secret(SECRET)
    assert SECRET.reveal() not in repr((keys, keys.find(None, "HS256")))


# ---- Keys of a JWK set

RSA_JWK: dict[str, Any] = new_key("RS256", "j").as_dict(private=False)
EC_JWK: dict[str, Any] = new_key("ES256", "j").as_dict(private=False)
ED_JWK: dict[str, Any] = new_key("EdDSA", "j").as_dict(private=False)


def varied(jwk: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {name: value for name, value in {**jwk, **changed}.items() if value is not ...}


@pytest.mark.parametrize(
    ("jwk", "algorithms"),
    [
        (RSA_JWK, {"RS256"}),
        (varied(RSA_JWK, alg="PS256"), {"PS256"}),
        (varied(RSA_JWK, alg=...), {"RS256", "PS256"}),
        (varied(RSA_JWK, use=..., kid=...), {"RS256"}),
        (varied(RSA_JWK, key_ops=["verify"]), {"RS256"}),
        (varied(EC_JWK, alg=...), {"ES256"}),
        (varied(ED_JWK, alg=...), {"EdDSA"}),
    ],
)
def test_a_published_key_is_for_the_algorithms_of_its_kind(jwk: dict[str, Any], algorithms: set[str]) -> None:
    key = from_jwk(jwk)
    assert key is not None
    assert key.algorithms == algorithms


@pytest.mark.parametrize(
    "jwk",
    [
        "text",
        None,
        {},
        varied(RSA_JWK, kty=...),
        varied(RSA_JWK, kty="rsa"),
        varied(RSA_JWK, kty=["RSA"]),
        varied(RSA_JWK, use="enc"),
        varied(RSA_JWK, use=1),
        varied(RSA_JWK, key_ops=["encrypt"]),
        varied(RSA_JWK, key_ops="verify"),
        varied(RSA_JWK, kid=7),
        varied(RSA_JWK, alg="RS512"),
        varied(RSA_JWK, alg="HS256"),
        varied(RSA_JWK, alg="none"),
        varied(RSA_JWK, alg="ES256"),
        varied(RSA_JWK, alg=["RS256"]),
        varied(RSA_JWK, n=...),
        varied(RSA_JWK, n=5),
        varied(RSA_JWK, n="!"),
        varied(RSA_JWK, n=""),
        varied(RSA_JWK, e="AA"),
        varied(RSA_JWK, n="é"),
        varied(RSA_JWK, kty="oct", k=b64(b"k" * 32), alg="HS256"),
        varied(RSA_JWK, k=b64(b"k" * 32)),
        {"kty": "oct", "k": b64(b"k" * 32), "kid": "j"},
        {**short_rsa_key().as_dict(private=False)},
        {**RSAKey.generate_key(2048).as_dict(private=True)},
        {**ECKey.generate_key("P-384").as_dict(private=False)},
        {**ECKey.generate_key("secp256k1").as_dict(private=False)},
        varied(EC_JWK, crv="P-384", alg=...),
        varied(EC_JWK, crv=...),
        varied(EC_JWK, y=EC_JWK["x"]),
        varied(ED_JWK, crv="X25519"),
        varied(ED_JWK, crv="Ed448"),
        varied(ED_JWK, x="AAAA"),
    ],
)
def test_what_must_not_verify_a_token_is_ignored(jwk: Any) -> None:
    assert from_jwk(jwk) is None


@pytest.mark.parametrize("bits", [8192, 8200])
def test_a_giant_key_would_let_strangers_spend_our_time(bits: int) -> None:
    modulus = (1 << (bits - 1)) + 1
    jwk = {"kty": "RSA", "e": "AQAB", "n": b64(modulus.to_bytes(bits // 8, "big"))}
    assert (from_jwk(jwk) is not None) == (bits == 8192)


# ---- What is assumed of PyJWT

HMAC_KEY = "k" * 32


def decoded(claims: dict[str, Any], options: Options) -> dict[str, Any]:
    token = hmac_token({"alg": "HS256"}, claims, HMAC_KEY.encode())
    return jwt.decode(token, HMAC_KEY, algorithms=["HS256"], audience="uploads", options=options)


def test_backstop_a_strict_audience_is_one_text() -> None:
    with pytest.raises(jwt.InvalidAudienceError):
        decoded({"aud": ["uploads"]}, {"strict_aud": True})
    assert decoded({"aud": ["uploads", "other"]}, {"strict_aud": False})


def test_backstop_times_are_left_alone_when_so_told() -> None:
    times = {"aud": "uploads", "exp": 1, "iat": 10**11, "nbf": 10**11}
    assert decoded(times, {"verify_exp": False, "verify_iat": False, "verify_nbf": False})
    with pytest.raises(jwt.ExpiredSignatureError):
        decoded({"aud": "uploads", "exp": 1}, {})


def test_backstop_a_claim_of_null_is_missing() -> None:
    with pytest.raises(jwt.MissingRequiredClaimError):
        decoded({"aud": "uploads", "sub": None}, {"require": ["sub"]})


def test_backstop_the_signature_is_looked_at_first() -> None:
    token = hmac_token({"alg": "HS256"}, {"aud": "other", "exp": 1}, b"x" * 32)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, HMAC_KEY, algorithms=["HS256"], audience="uploads")


def test_backstop_a_short_key_is_refused_when_so_told() -> None:
    short = "k" * 31
    token = hmac_token({"alg": "HS256"}, {}, short.encode())
    with pytest.raises(jwt.InvalidKeyError):
        jwt.decode(token, short, algorithms=["HS256"], options={"enforce_minimum_key_length": True})


def test_backstop_it_takes_members_that_occur_twice_and_utf_16() -> None:
    """Which is why claims are read again."""
    for payload in (b'{"sub":"a","sub":"b"}', '{"sub":"b"}'.encode("utf-16")):
        token = hmac_token({"alg": "HS256"}, payload, HMAC_KEY.encode())
        assert jwt.decode(token, HMAC_KEY, algorithms=["HS256"]) == {"sub": "b"}
