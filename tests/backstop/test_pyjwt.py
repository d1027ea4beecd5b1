"""What we assume of PyJWT: what it refuses for us, and what it would let through but for our own guards.

A test of the second kind that fails has good news: read the guard that it names again, and decide.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
import time_machine
from hypothesis import given, settings
from hypothesis import strategies as st

from tokensvc.core import jws, mac, v2
from tokensvc.core.errors import Refusal
from tokensvc.core.keys import AcceptedKeys, KeyPair, Secret

KEY = b"private_key_test_0123456789abcdef"
KEYS = AcceptedKeys((KeyPair("default", "public_test", Secret(KEY.decode())),))
GOOD_HEADER = {"alg": "HS256", "typ": "JWT", "kid": "public_test"}
NOW = int(time.time())


@pytest.fixture(autouse=True, scope="module")
def as_when_collected() -> Iterator[None]:
    """The cases hold times of then, and PyJWT asks the system's clock; in a whole run that is minutes later."""
    with time_machine.travel(datetime.fromtimestamp(NOW, UTC), tick=False):
        yield


def b64(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def signed(payload: Any, header: Any = None, key: bytes = KEY) -> str:
    """A token with a good HMAC-SHA256, whatever its header says."""
    parts = [
        part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header or GOOD_HEADER, payload)
    ]
    text = f"{b64(parts[0])}.{b64(parts[1])}"
    return f"{text}.{b64(mac.hmac_sha256(key, text.encode()))}"


def decode(token: str) -> dict[str, Any]:
    """As plainly as most programs call it."""
    claims: dict[str, Any] = jwt.decode(token, KEY, algorithms=["HS256"])
    return claims


def refused_by_us(token: str) -> None:
    with pytest.raises(Refusal):
        v2.verify(KEYS, token, NOW)


# What it does for us


@pytest.mark.parametrize(
    "alg", ["none", "None", "nOnE", "", None, ["HS256"], "hs256", "HS384", "HS512", "RS256", "ES256"]
)
def test_another_algorithm_than_the_named_one_is_refused(alg: Any) -> None:
    """RFC 8725 3.1. RS256 with the public key's text as the HMAC key is the classic."""
    token = signed({}, {"alg": alg, "typ": "JWT"})
    for text in (token, token.rpartition(".")[0] + "."):
        with pytest.raises(jwt.InvalidTokenError):
            decode(text)


def test_a_header_without_algorithm_is_refused() -> None:
    with pytest.raises(jwt.InvalidTokenError):
        decode(signed({}, {"typ": "JWT"}))


def test_a_wrong_key_is_refused() -> None:
    with pytest.raises(jwt.InvalidSignatureError):
        decode(signed({}, key=KEY[:-1]))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.lists(st.binary(max_size=20).map(b64), min_size=2, max_size=4).map(".".join))
def test_whatever_is_no_token_is_an_invalid_token_error(text: str) -> None:
    """`jws.verify` catches no other."""
    with pytest.raises(jwt.InvalidTokenError):
        jwt.PyJWS(algorithms=["HS256"]).decode(text, KEY, algorithms=["HS256"])


def test_bytes_are_signed_as_they_are() -> None:
    payload = b'{"b": 1,\t"a":"\xc3\xa4"}'
    token = jwt.PyJWS(algorithms=["HS256"]).encode(
        payload, KEY, algorithm="HS256", headers={"kid": "k"}, sort_headers=True
    )
    header_part, payload_part, _ = token.split(".")
    assert payload_part == b64(payload)
    assert header_part == b64(b'{"alg":"HS256","kid":"k","typ":"JWT"}')
    assert token == signed(payload, b'{"alg":"HS256","kid":"k","typ":"JWT"}')


def test_equal_payloads_make_one_token() -> None:
    """HS256 has no salt: why equal asks in one second are moved apart (`service.issue`)."""
    assert len({jws.sign(b'{"iat":1}', key=mac.Keyed(KEY), kid="k") for _ in range(3)}) == 1


def test_an_empty_or_missing_key_is_an_error_of_its_own_kind() -> None:
    """Not one of `InvalidTokenError`: a configuration without a key has to be refused at the start."""
    for key in (None, ""):
        with pytest.raises((TypeError, jwt.InvalidKeyError)) as caught:
            jwt.encode({}, key, algorithm="HS256")  # type: ignore[arg-type] # wrong kinds of key, on purpose
        assert not isinstance(caught.value, jwt.InvalidTokenError)


# What it lets through


@pytest.mark.parametrize(
    "payload",
    [
        b'{"iat":%d,"exp":"%d"}' % (NOW, NOW + 3000),
        b'{"iat":%d,"exp":%d.5}' % (NOW, NOW + 3000),
        b'{"iat":%d,"exp":%s}' % (NOW, b"9" * 400),
        b'{"iat":%d,"exp":%d}' % (NOW, NOW + 3601),
        b'{"iat":-5,"exp":%d}' % (NOW + 3000),
        b'{"exp":%d}' % (NOW + 3000),
        b'{"iat":%d}' % NOW,
        b"{}",
    ],
    ids=["text", "fraction", "400 digits", "beyond the hour", "negative", "no iat", "no exp", "neither"],
)
def test_times_of_any_kind_are_let_through(payload: bytes) -> None:
    """The guard: `v2._seconds` and `core.window`, which apply one rule to whole numbers."""
    decode(signed(payload))
    refused_by_us(signed(payload))


TIMES = b'"iat":%d,"exp":%d' % (NOW, NOW + 3000)


@pytest.mark.parametrize(
    ("payload", "read"),
    [
        (b'{"fileName":"a","fileName":"b",' + TIMES + b"}", "b"),
        (b'\xef\xbb\xbf{"fileName":"b",' + TIMES + b"}", "b"),
        (('{"fileName":"b",' + TIMES.decode() + "}").encode("utf-16"), "b"),
        (b'{"fileName":"\\ud800",' + TIMES + b"}", "\ud800"),
        (b'{"fileName":"\\u0000",' + TIMES + b"}", "\0"),
    ],
    ids=["duplicate", "byte order mark", "UTF-16", "lone surrogate", "NUL"],
)
def test_json_of_any_kind_is_let_through(payload: bytes, read: str) -> None:
    """The guard: `strict_json`."""
    assert decode(signed(payload))["fileName"] == read
    refused_by_us(signed(payload))


@pytest.mark.parametrize(
    "more",
    [
        {"jku": "http://127.0.0.1:1/"},
        {"jwk": {}},
        {"x5u": "x"},
        {"x5c": []},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"typ": "x"},
    ],
)
def test_header_members_are_passed_over(more: dict[str, Any]) -> None:
    """The guard: `jws._read_header`, which knows alg, typ and kid."""
    token = signed(b"{" + TIMES + b"}", {**GOOD_HEADER, **more})
    decode(token)
    refused_by_us(token)


def test_a_duplicate_header_member_is_let_through() -> None:
    token = signed(b"{" + TIMES + b"}", b'{"alg":"none","alg":"HS256","kid":"public_test"}')
    decode(token)
    refused_by_us(token)


@pytest.mark.parametrize("kid", ["../../etc/passwd", "x" * 60_000, "' OR 1=1", ""])
def test_the_key_id_is_not_looked_at(kid: str) -> None:
    """The guard: `AcceptedKeys.find`, by exact name, in memory."""
    token = signed(b"{" + TIMES + b"}", {"alg": "HS256", "kid": kid})
    decode(token)
    refused_by_us(token)


def test_one_signature_has_two_spellings() -> None:
    """`T` and `T=`: why a nonce is never keyed by the text of a token. The guard: `jws._FORM`."""
    token = signed(b"{" + TIMES + b"}")
    assert decode(token + "=") == decode(token)
    refused_by_us(token + "=")
    v2.verify(KEYS, token, NOW)


@pytest.mark.parametrize("change", ["{}==", "{}\n", " {}", "{}!", "{}.x", "={}"])
def test_further_spellings_are_refused_by_both(change: str) -> None:
    token = change.format(signed(b"{" + TIMES + b"}"))
    with pytest.raises(jwt.InvalidTokenError):
        decode(token)
    refused_by_us(token)


def test_a_short_key_is_only_warned_of() -> None:
    """The guard: `keys.private_key_faults`, when the configuration is read."""
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        jwt.encode({}, os.urandom(8), algorithm="HS256")
