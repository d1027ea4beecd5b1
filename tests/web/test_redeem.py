"""`POST /redeem`: for api keys that may redeem; one 200 for each credential."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from json import dumps
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.app import Service, Tables
from tests.support.nonces import new_request
from tests.support.valkey import Valkey
from tokensvc.core.nonces import nonce_id
from tokensvc.web import create_app
from tokensvc.web.json_bodies import MAX_BODY_BYTES

from .conftest import ServiceMaker, assert_problem, problem_of

FETCH = "Fetch a new credential for each upload, just before it starts."


def redeem(service: Service, body: Any, key: str = "", **headers: str) -> TestResponse:
    how: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
    return service.send("POST", "/redeem", {"Authorization": f"Bearer {key or service.reader_key}", **headers}, **how)


def v1(service: Service, **changed: Any) -> dict[str, Any]:
    body = {"version": "v1", **service.get().get_json(), **changed}
    return {name: value for name, value in body.items() if value is not None}


def v2(service: Service, payload: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {"version": "v2", "token": service.jwt(payload), **changed}


def test_a_v1_credential_is_spent_and_answered_with_its_grant(service: Service) -> None:
    answer = redeem(service, v1(service))
    assert answer.status_code == 200
    assert answer.get_json() == {
        "outcome": "spent",
        "grant": {
            "version": "v1",
            "account": "default",
            "profile": "default",
            "source": "backend",
            "subject": "ci",
            "issued_at": service.clock.now,
            "restrictions": {"forced": {}, "max_bytes": None, "types": []},
        },
    }
    assert answer.headers["Cache-Control"] == "no-store, private"
    assert answer.headers["Pragma"] == "no-cache"
    assert {"Origin", "Authorization", "Cookie"} <= {name.title() for name in answer.vary}
    assert "ETag" not in answer.headers


def test_a_v2_credential_is_answered_with_the_fields_that_it_binds(service: Service) -> None:
    answer = redeem(service, v2(service, {"fileName": "ä.jpg", "tags": ["a", "b"]}))
    assert answer.status_code == 200
    assert answer.get_json()["grant"]["fields"] == {"fileName": "ä.jpg", "tags": "a,b"}
    assert answer.get_json()["grant"]["profile"] == "open"


def test_the_restrictions_of_the_profile_are_in_the_answer(make_service: ServiceMaker) -> None:
    def limit(tables: Tables) -> None:
        tables["profiles"]["default"] |= {
            "force": {"folder": "/users/{subject}"},
            "limits": {"max_bytes": "1MB", "types": ["image/*"]},
        }

    service = make_service(change=limit)
    answer = redeem(service, v1(service))
    assert answer.get_json()["grant"]["restrictions"] == {
        "forced": {"folder": "/users/ci"},
        "max_bytes": 1_000_000,
        "types": ["image/*"],
    }


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_second_use_is_told_so(service: Service, version: str) -> None:
    body = v1(service) if version == "v1" else v2(service, {"fileName": "a"})
    assert redeem(service, body).status_code == 200
    assert_problem(redeem(service, body), 409, "credential.replayed", "The credential has been used before.", FETCH)


def test_what_was_uploaded_with_cannot_be_redeemed_nor_the_other_way_round(service: Service) -> None:
    first, second = service.credential(), service.credential()
    assert service.upload_v1(first).status_code == 200
    assert redeem(service, {"version": "v1", **first}).status_code == 409
    assert redeem(service, {"version": "v1", **second}).status_code == 200
    assert service.upload_v1(second).status_code == 400


@pytest.mark.alone
def test_of_a_thousand_at_once_one_is_answered_200(service: Service) -> None:
    body, headers = v1(service), {"Authorization": f"Bearer {service.reader_key}"}

    def ask(_: int) -> int:
        return service.app.test_client().post("/redeem", json=body, headers=headers).status_code

    with ThreadPoolExecutor(32) as threads:
        statuses = list(threads.map(ask, range(1000)))
    assert sorted(statuses) == [200] + [409] * 999


def test_the_same_idempotency_key_is_answered_alike_again(service: Service) -> None:
    body, key = v1(service), {"Idempotency-Key": "7f0c"}
    first, second = redeem(service, body, **key), redeem(service, body, **key)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.get_json() == second.get_json()
    assert redeem(service, body, **{"Idempotency-Key": "7f0d"}).status_code == 409
    assert redeem(service, body).status_code == 409


def test_an_idempotency_key_with_a_blank_is_malformed(service: Service) -> None:
    body = v1(service)
    assert "Idempotency-Key" in problem_of(
        redeem(service, body, **{"Idempotency-Key": "a b"}), 400, "request.malformed"
    )
    assert redeem(service, body).status_code == 200


def test_v1_needs_no_public_key_and_takes_expire_as_a_text_too(service: Service) -> None:
    assert redeem(service, v1(service, publicKey=None)).status_code == 200
    body = v1(service)
    assert redeem(service, {**body, "expire": str(body["expire"])}).status_code == 200


def test_fields_are_compared_before_anything_is_spent(service: Service) -> None:
    body = v2(service, {"fileName": "a.jpg", "tags": "x"})
    wrong = [
        ({"fileName": "a.jpg", "tags": "y"}, "tags differs from what was signed"),
        ({"fileName": "a.jpg"}, "tags was signed, but not sent"),
        ({"fileName": "a.jpg", "tags": "x", "folder": "/"}, "folder was sent, but not signed"),
        ({}, "was signed, but not sent"),
    ]
    for fields, detail in wrong:
        assert detail in problem_of(redeem(service, {**body, "fields": fields}), 422, "parameter.forbidden")
    assert redeem(service, {**body, "fields": {"fileName": "a.jpg", "tags": "x"}}).status_code == 200


def test_fields_with_v1_are_refused_for_it_binds_none(service: Service) -> None:
    body = v1(service)
    assert "binds no fields" in problem_of(
        redeem(service, {**body, "fields": {"fileName": "a"}}), 400, "request.malformed"
    )
    assert redeem(service, body).status_code == 200


def test_expired_by_a_second_and_just_not(service: Service) -> None:
    """The leeway of 5 s for clocks is on the credential's side."""
    early, late = v1(service), v1(service)
    service.clock.now = early["expire"] + 4
    assert redeem(service, early).status_code == 200
    service.clock.now += 1
    problem_of(redeem(service, late), 403, "credential.expired")


def test_a_genuine_credential_that_is_not_on_record_is_unissued(service: Service) -> None:
    credential = service.own_credential(new_request(), service.clock.now + 60)
    problem_of(redeem(service, {"version": "v1", **credential}), 403, "credential.unissued")


def test_a_revoked_one_is_refused(service: Service) -> None:
    body = v1(service)
    service.nonces.revoke(nonce_id("default", "v1", body["token"].encode()), actor="ops")
    problem_of(redeem(service, body), 403, "credential.revoked")


def test_one_from_before_a_restart_of_the_store_is_stale(make_service: ServiceMaker) -> None:
    with Valkey(appendonly="yes") as own:
        service = make_service(store=own)
        body = v1(service)
        own.restart()
        problem_of(redeem(service, body), 403, "credential.stale")


def test_a_store_that_is_down_is_an_outage(make_service: ServiceMaker) -> None:
    with Valkey() as own:
        service = make_service(store=own)
        body = v1(service)
        own.stop()
        answer = redeem(service, body)
        problem_of(answer, 503, "store.unavailable")
        assert int(answer.headers["Retry-After"]) >= 1


def test_a_forged_one_is_refused_and_the_genuine_one_stays_good(service: Service) -> None:
    body = v1(service)
    problem_of(redeem(service, {**body, "signature": "0" * 40}), 403, "credential.invalid")
    problem_of(redeem(service, {**body, "signature": "0" * 40, "publicKey": ""}), 403, "credential.invalid")
    problem_of(redeem(service, {**body, "publicKey": "public_another"}), 403, "credential.invalid")
    assert redeem(service, body).status_code == 200


def test_a_key_without_the_right_is_refused_and_nothing_is_spent(service: Service) -> None:
    body = v1(service)
    for key in (service.api_key, service.stranger_key):
        assert problem_of(redeem(service, body, key), 403, "caller.forbidden") == "This caller may not redeem."
    problem_of(redeem(service, body, "tsk_unknown"), 401, "caller.invalid")
    problem_of(service.send("POST", "/redeem", json=body), 401, "caller.missing")
    assert redeem(service, body).status_code == 200


def test_a_key_of_any_source_counts(make_service: ServiceMaker) -> None:
    """Also of the second one, whose keys the first does not know."""
    text = "tsk_CANARYsecond"

    def add(tables: Tables) -> None:
        digest = hashlib.sha256(text.encode()).hexdigest()
        key = {"id": "k", "sha256": digest, "subject": "uploader", "may": ["redeem"]}
        tables["callers"]["uploaders"] = {"kind": "api_key", "keys": [key]}

    service = make_service(change=add)
    assert redeem(service, v1(service), text).status_code == 200


def test_a_signed_in_visitor_may_not_redeem(service: Service) -> None:
    """A cookie is no api key, whatever else it is good for."""
    assert service.client.post("/demo/session").status_code == 200
    answer = service.send("POST", "/redeem", {"X-Requested-With": "XMLHttpRequest"}, json=v1(service))
    problem_of(answer, 401, "caller.missing")


@pytest.mark.parametrize(
    "change",
    [
        {"version": None},
        {"version": "v3"},
        {"version": 1},
        {"version": ["v1"]},
        {"token": None},
        {"token": 5},
        {"token": ""},
        {"expire": None},
        {"expire": True},
        {"expire": 1.5},
        {"signature": None},
        {"signature": []},
        {"fields": []},
        {"fields": {"fileName": 1}},
        {"Token": "x"},
        {"uses": 2},
    ],
)
def test_a_malformed_body_is_told_and_spends_nothing(service: Service, change: dict[str, Any]) -> None:
    body = v1(service)
    odd = {name: value for name, value in {**body, **change}.items() if value is not None}
    problem_of(redeem(service, odd), 400, "request.malformed")
    assert redeem(service, body).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[]", b'{"version":"v1","version":"v2"}', b"{", b"\xff", b'{"expire":NaN}'])
def test_what_is_not_one_json_object_is_malformed(service: Service, body: bytes) -> None:
    problem_of(redeem(service, body), 400, "request.malformed")


def test_a_v2_credential_has_no_signature_beside(service: Service) -> None:
    body = v2(service, {"fileName": "a"})
    problem_of(redeem(service, {**body, "signature": "0" * 40}), 400, "request.malformed")
    assert redeem(service, body).status_code == 200


@pytest.mark.parametrize("expire", [0, 1800, -1, 1700000000000, "01700000000", "1.5", 10**30])
def test_an_expire_in_another_spelling_is_refused(service: Service, expire: Any) -> None:
    answer = redeem(service, v1(service, expire=expire))
    assert answer.status_code in {400, 403}
    assert answer.headers["X-Tokensvc-Code"] in {"expire.invalid", "credential.invalid"}


def test_a_body_may_be_so_large_and_no_larger(service: Service) -> None:
    body = v2(service, {"fileName": "a"})
    fields = {"fileName": "a"}
    text = dumps({**body, "fields": fields}).encode()
    assert redeem(service, text.ljust(MAX_BODY_BYTES + 1)).status_code == 413
    assert redeem(service, text.ljust(MAX_BODY_BYTES)).status_code == 200


def test_it_is_post_only(service: Service) -> None:
    answer = service.send("GET", "/redeem")
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]


def test_a_guesser_of_api_keys_is_slowed_down_and_a_relay_of_forged_credentials_is_not(service: Service) -> None:
    """The uploader relays what its clients send: that they forge is not its doing."""

    class Counted:
        def __init__(self) -> None:
            self.failures: list[str] = []

        def check(self, address: str) -> None: ...

        def failed(self, address: str) -> None:
            self.failures.append(address)

        def anonymous(self, address: str) -> None: ...

    counted = Counted()
    doors = service.doors()
    rights = replace(service.rights, throttle=counted)
    service.client = create_app(replace(doors, redeeming=replace(doors.redeeming, rights=rights))).test_client()
    redeem(service, v1(service, signature="0" * 40))
    assert counted.failures == []
    redeem(service, v1(service), "tsk_guess")
    assert len(counted.failures) == 1
