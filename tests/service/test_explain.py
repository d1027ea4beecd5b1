"""Explain: all that is wrong, in words, and nothing spent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.app import Service
from tests.support.nonces import new_request
from tokensvc.core import v1
from tokensvc.core.errors import Code
from tokensvc.core.keys import AcceptedKeys, KeyPair, Secret, fingerprint
from tokensvc.core.mac import Keyed
from tokensvc.service.explain import Explain, Reason
from tokensvc.service.redeem import Spend

FIELDS = {"fileName": "a.jpg", "tags": "a"}
OTHER = KeyPair("default", "public_other", Secret("private_CANARYother0123"))


def v2(service: Service) -> dict[str, str]:
    return {"token": service.jwt(FIELDS)}


def with_other(service: Service) -> Explain:
    return replace(service.explain, keys=AcceptedKeys((*service.explain.keys.pairs, OTHER)))


def shown(pair: KeyPair) -> str:
    return f"{pair.public_key} (fingerprint {fingerprint(pair.private_key)})"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_of_a_good_one_there_is_nothing_to_say_and_it_stays_good(service: Service, version: str) -> None:
    if version == "v1":
        credential = service.credential()
        assert service.explain("v1", credential, None) == []
        assert service.explain("v1", {**credential, "publicKey": ""}, {"anything": "x"}) == []
        service.redeem(Spend("v1", credential))
        told = service.explain("v1", credential, None)
    else:
        credential = v2(service)
        assert service.explain("v2", credential, {**FIELDS, "token": "x"}) == []
        service.redeem(Spend("v2", credential))
        told = service.explain("v2", credential, None)
    assert told == [Reason(Code.CREDENTIAL_REPLAYED, "The credential has been used before.", "token")]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_how_late_it_is_and_what_else_is_wrong(service: Service, version: str) -> None:
    credential = service.credential() if version == "v1" else v2(service)
    service.redeem(Spend("v1" if version == "v1" else "v2", credential))
    service.clock.now += 1837
    sent = None if version == "v1" else {"fileName": "b.jpg", "tags": "a"}
    told = service.explain("v1" if version == "v1" else "v2", credential, sent)
    assert told[0] == Reason(Code.CREDENTIAL_EXPIRED, "The credential expired 37 s ago.")
    assert told[-1].code is Code.CREDENTIAL_REPLAYED
    assert len(told) == (2 if version == "v1" else 3)


def test_by_how_much_a_clock_is_wrong(service: Service) -> None:
    credential = v2(service)
    service.clock.now -= 300
    assert service.explain("v2", credential, None) == [
        Reason(Code.CREDENTIAL_INVALID, "The credential was issued 300 s in the future.")
    ]


def test_each_field_that_differs_and_how(service: Service) -> None:
    told = service.explain("v2", v2(service), {"tags": "a,b", "folder": "/x"})
    assert told == [
        Reason(Code.PARAMETER_FORBIDDEN, "`fileName` was signed as 'a.jpg', and not sent.", "fileName"),
        Reason(Code.PARAMETER_FORBIDDEN, "`folder` was sent as '/x', and not signed.", "folder"),
        Reason(Code.PARAMETER_FORBIDDEN, "`tags` differs: signed 'a', sent 'a,b'.", "tags"),
    ]


def test_which_key_signed_where_another_is_named(service: Service) -> None:
    own, explain = service.explain.keys.pairs[0], with_other(service)
    credential = {**service.credential(), "publicKey": "public_other"}
    (told,) = explain("v1", credential, None)
    assert told.detail == f"It names {shown(OTHER)}, and was signed with {shown(own)}."
    (told,) = explain("v1", {**credential, "publicKey": "public_nobody"}, None)
    assert told.detail == f"It names a public key that is none of this service's; it was signed with {shown(own)}."


def test_by_which_fingerprint_a_foreign_signature_is_known_not_to_be_ours(service: Service) -> None:
    """And no part of any key is shown."""
    expire = service.clock.now + 60
    signature = v1.sign(Keyed(b"private_of_somebody_else"), "t", expire)
    credential = {"token": "t", "expire": str(expire), "signature": signature, "publicKey": service.public_key}
    (told,) = with_other(service)("v1", credential, None)
    own = service.explain.keys.pairs[0]
    assert told.detail.endswith(f"They are: {shown(own)}, {shown(OTHER)}.")
    assert service.private_key not in told.detail


def test_how_long_ago_its_key_was_retired(service: Service) -> None:
    pair = replace(service.explain.keys.pairs[0], accept_until=service.clock.now)
    credential = service.credential()
    service.clock.now += 12
    (told,) = replace(service.explain, keys=AcceptedKeys((pair,)))("v1", credential, None)
    assert told.detail == f"Its key, {shown(pair)}, was retired 12 s ago."


@pytest.mark.parametrize("token", ["", "a.b.c", "x" * 9000, "a.b"])
def test_what_has_not_the_form_of_a_credential(service: Service, token: str) -> None:
    (told,) = service.explain("v2", {"token": token}, None)
    assert told.code is Code.CREDENTIAL_INVALID


def test_one_that_is_not_on_record_unless_such_are_taken(service: Service) -> None:
    credential = service.own_credential(new_request(), service.clock.now + 60)
    assert [one.code for one in service.explain("v1", credential, None)] == [Code.CREDENTIAL_UNISSUED]
    assert replace(service.explain, cross_off=frozenset({"default"}))("v1", credential, None) == []


@pytest.mark.parametrize("claims", [b'{"iat":"x","exp":5}', b"[]", b'{"exp":1e5}', b'{"fileName":1,"iat":1,"exp":2}'])
def test_a_signed_payload_that_makes_no_sense_is_told(service: Service, claims: bytes) -> None:
    told = service.explain("v2", {"token": service.own_jwt(claims)}, {})
    assert told[0].code is Code.CREDENTIAL_INVALID


@pytest.mark.parametrize("expire", ["1800", "01795361538", "x", "1" * 20, "²"])
def test_a_signed_expire_in_another_spelling_is_told(service: Service, expire: str) -> None:
    told = service.explain("v1", service.own_credential(new_request(), expire), None)
    assert told[0].code in {Code.EXPIRE_INVALID, Code.CREDENTIAL_INVALID}
