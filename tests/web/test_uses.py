"""Over HTTP: credentials that are good more than once, that are spent on success, and uploads that are sent again."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import Any, BinaryIO

import pytest
from werkzeug.test import TestResponse

from tests.support.app import KEPT_NONE, KEPT_ONE, Service, Tables, png
from tests.support.nonces import new_request
from tokensvc.core.nonces import Version, nonce_id
from tokensvc.core.upload import Kind
from tokensvc.ports import Outcome
from tokensvc.web import create_app

from .conftest import ServiceMaker, problem_of
from .imagekit_answers import USED_V2, assert_kept, assert_refused, used_v1

OPERATOR = "tsk_CANARYoperator"
HELD = "Another upload with this token is under way."


def change(tables: Tables) -> None:
    digest = hashlib.sha256(OPERATOR.encode()).hexdigest()
    key = {"id": "ops", "sha256": digest, "subject": "ops", "may": ["operate", "redeem"]}
    tables["callers"]["operators"] = {"kind": "api_key", "keys": [key]}
    tables["forward_auth"] = {"trusted": ["127.0.0.1/32"]}
    tables["profiles"]["default"] |= {"uses": 3}
    tables["profiles"]["open"] |= {"uses": 3}
    tables["profiles"]["short"] |= {"spend": "on-success"}
    tables["profiles"]["only-v2"] |= {"spend": "on-success", "uses": 2}


@pytest.fixture
def service(make_service: ServiceMaker) -> Service:
    made: Service = make_service(change=change)
    return made


def ask(service: Service, path: str, body: Any, **headers: str) -> TestResponse:
    return service.send("POST", path, {"Authorization": f"Bearer {OPERATOR}", **headers}, json=body)


def on_success(service: Service) -> dict[str, str]:
    return {name: str(value) for name, value in service.get(profile="short").get_json().items()}


def keyed(
    service: Service,
    fields: dict[str, str],
    key: str = "k",
    version: Version = "v1",
    headers: dict[str, str] | None = None,
) -> TestResponse:
    return service.upload(version, fields, b"", **{"Idempotency-Key": key, **(headers or {})})


def claimed(service: Service, credential: dict[str, str]) -> str:
    """The request of another upload, which is under way."""
    request = new_request()
    nonce = nonce_id("default", "v1", credential["token"].encode())
    assert service.nonces.redeem(nonce, request=request, lease=60).outcome is Outcome.CLAIMED
    return request


# Several uses


def test_a_v1_credential_with_three_uses_is_good_for_three_uploads(service: Service) -> None:
    credential = service.credential()
    for number in range(3):
        assert_kept(service.upload_v1(credential, png(number + 1)))
    assert_refused(service.upload_v1(credential), 400, "credential.replayed", used_v1(credential["token"]))
    assert service.on_disk() == {"incoming": 0, "objects": 3, "index": 3}


def test_a_v2_credential_with_three_uses_is_good_for_three_uploads_of_what_it_binds(service: Service) -> None:
    token = service.jwt({"fileName": "a.png"})
    names = {assert_kept(service.upload_v2(token, png(number + 1), fileName="a.png"))["name"] for number in range(3)}
    assert len(names) == 3
    assert_refused(service.upload_v2(token, fileName="a.png"), 400, "credential.replayed", USED_V2)


def test_uses_are_shared_by_all_who_spend_and_introspection_tells_how_many_are_left(service: Service) -> None:
    credential = service.get().get_json()
    body = {"version": "v1", **credential}
    as_headers = {
        "X-Upload-Token": credential["token"],
        "X-Upload-Expire": str(credential["expire"]),
        "X-Upload-Signature": credential["signature"],
    }

    def left() -> int | None:
        told = ask(service, "/introspect", body).get_json()
        return told["uses_left"] if told["active"] else None

    assert left() == 3
    assert ask(service, "/redeem", body).status_code == 200
    assert left() == 2
    let_through = service.send("GET", "/forward-auth", as_headers, environ_base={"REMOTE_ADDR": "127.0.0.1"})
    assert let_through.status_code == 204
    assert left() == 1
    assert ask(service, "/explain", body).get_json() == {"good": True, "reasons": []}
    assert_kept(service.upload_v1({name: str(value) for name, value in credential.items()}))
    assert left() is None
    assert problem_of(ask(service, "/redeem", body), 409, "credential.replayed")
    refused = service.send("GET", "/forward-auth", as_headers, environ_base={"REMOTE_ADDR": "127.0.0.1"})
    assert (refused.status_code, refused.headers["X-Tokensvc-Code"]) == (403, "credential.replayed")


def test_each_idempotency_key_of_a_redeemer_is_one_use(service: Service) -> None:
    body = {"version": "v1", **service.get().get_json()}
    for key in ("a", "a", "b", "a", "c", "b"):
        assert ask(service, "/redeem", body, **{"Idempotency-Key": key}).status_code == 200
    problem_of(ask(service, "/redeem", body, **{"Idempotency-Key": "d"}), 409, "credential.replayed")


def test_a_credential_with_uses_left_is_revoked(service: Service) -> None:
    credential = service.credential()
    assert_kept(service.upload_v1(credential))
    assert ask(service, "/revoke", {"token": credential["token"]}).get_json() == {"revoked": 1, "outcome": "revoked"}
    assert service.upload_v1(credential).headers["X-Tokensvc-Code"] == "credential.revoked"


def test_every_credential_of_a_batch_has_as_many_uses(service: Service) -> None:
    answer = service.send("POST", "/auth/batch", service.bearer, json={"version": "v1", "count": 2})
    for credential in answer.get_json()["credentials"]:
        fields = {name: str(value) for name, value in credential.items()}
        assert [service.upload_v1(fields).status_code for _ in range(4)] == [200, 200, 200, 400]


def test_it_is_outstanding_until_its_last_use(make_service: ServiceMaker) -> None:
    profile = f"counted-{os.urandom(8).hex()}"  # counts are those of a profile, and the store is everybody's

    def counted(tables: Tables) -> None:
        limits = {"outstanding": 1}
        tables["profiles"][profile] = {"callers": ["backend"], "uses": 2, "spend": "on-success", "limits": limits}

    service: Service = make_service(change=counted)

    def issue() -> TestResponse:
        return service.post({"uploadPayload": {"fileName": "a.png"}}, profile=profile)

    token = issue().get_json()["token"]
    for _ in range(2):
        assert issue().status_code == 429
        assert_kept(service.upload_v2(token, fileName="a.png"))
    assert issue().status_code == 200


def test_one_minted_elsewhere_is_good_once_whatever_its_accounts_profiles_say(make_service: ServiceMaker) -> None:
    """It has no record that could say more."""

    def crossing_off(tables: Tables) -> None:
        tables["profiles"]["default"] |= {"uses": 3, "spend": "on-success", "unissued": "cross-off"}

    service: Service = make_service(change=crossing_off)
    credential = service.own_credential(new_request(), service.clock.now + 60)
    assert service.upload_v1(credential, fileName="").status_code == 400
    assert_refused(service.upload_v1(credential), 400, "credential.replayed", used_v1(credential["token"]))


# On success


def test_a_refused_upload_may_be_sent_again(service: Service) -> None:
    credential = on_success(service)
    wrongs: list[dict[str, Any]] = [{"fileName": ""}, {"tags": "%"}, {"folder": "a b"}]
    for wrong in wrongs:
        assert service.upload_v1(credential, **wrong).headers["X-Tokensvc-Code"] == "parameter.invalid"
    assert service.upload_v1(credential, None).headers["X-Tokensvc-Code"] == "request.malformed"
    assert service.on_disk() == KEPT_NONE
    assert_kept(service.upload_v1(credential))
    assert_refused(service.upload_v1(credential), 400, "credential.replayed", used_v1(credential["token"]))
    assert service.on_disk() == KEPT_ONE


def test_a_v2_form_that_is_not_what_was_signed_may_be_sent_again(service: Service) -> None:
    token = service.post({"uploadPayload": {"fileName": "a.png"}}, profile="only-v2").get_json()["token"]
    for _ in range(5):
        answer = service.upload_v2(token, fileName="b.png")
        assert answer.headers["X-Tokensvc-Code"] == "parameter.forbidden"
    assert [service.upload_v2(token, fileName="a.png").status_code for _ in range(3)] == [200, 200, 400]


def test_while_an_upload_is_under_way_others_are_told_when_to_come_back(service: Service) -> None:
    credential = on_success(service)
    request = claimed(service, credential)
    answer = service.upload_v1(credential)
    assert_refused(answer, 409, "credential.held", HELD)
    assert 30 < int(answer.headers["Retry-After"]) <= 60
    body = {"version": "v1", **credential}
    answer = ask(service, "/redeem", body)
    problem_of(answer, 409, "credential.held")
    assert 30 < int(answer.headers["Retry-After"]) <= 60
    assert ask(service, "/introspect", body).get_json() == {"active": False}
    (reason,) = ask(service, "/explain", body).get_json()["reasons"]
    assert reason["code"] == "credential.held"
    assert service.on_disk() == KEPT_NONE
    service.nonces.release(nonce_id("default", "v1", credential["token"].encode()), request=request)
    assert_kept(service.upload_v1(credential))


def test_other_uploaders_spend_it_at_once(service: Service) -> None:
    credential = on_success(service)
    body = {"version": "v1", **credential}
    assert ask(service, "/redeem", body).status_code == 200
    problem_of(ask(service, "/redeem", body), 409, "credential.replayed")


def test_an_unexpected_error_gives_it_back(service: Service) -> None:
    def fail(_content: BinaryIO, _name: str) -> Kind:
        raise ValueError("a file of somebody who wants that")

    credential = on_success(service)
    uploads = service.doors().uploads
    assert uploads is not None
    broken = replace(uploads, accept=replace(service.accept, inspect=fail))
    client, service.client = service.client, create_app(service.doors(uploads=broken)).test_client()
    assert service.upload_v1(credential).status_code == 500
    service.client = client
    assert_kept(service.upload_v1(credential))


# Idempotency-Key


@pytest.mark.parametrize("profile", ["", "short"])
def test_an_upload_with_the_same_key_is_answered_alike_to_the_letter(service: Service, profile: str) -> None:
    credential = {name: str(value) for name, value in service.get(profile=profile).get_json().items()}
    more = {"tags": "a,b", "responseFields": "tags,isPrivateFile", "description": "d"}

    def send() -> TestResponse:
        return keyed(service, {"fileName": "a.png", **credential, **more}, "0b9f")

    first = send()
    assert assert_kept(first)["tags"] == ["a", "b"]
    for _ in range(2):
        service.clock.now += 1
        assert send().get_data() == first.get_data()
    assert service.on_disk() == KEPT_ONE


def test_a_v2_upload_with_the_same_key_is_answered_alike(service: Service) -> None:
    token = service.post({"uploadPayload": {"fileName": "a.png"}}, profile="short").get_json()["token"]
    answers = [keyed(service, {"fileName": "a.png", "token": token}, version="v2") for _ in range(2)]
    assert assert_kept(answers[0]) == assert_kept(answers[1])
    assert_refused(service.upload_v2(token, fileName="a.png"), 400, "credential.replayed", USED_V2)


def test_it_is_the_same_upload_whether_its_credential_comes_in_the_form_or_in_headers(service: Service) -> None:
    credential = on_success(service)
    names = {
        "token": "X-Upload-Token",
        "expire": "X-Upload-Expire",
        "signature": "X-Upload-Signature",
        "publicKey": "X-Upload-Public-Key",
    }
    headers = {names[name]: text for name, text in credential.items()}
    first = assert_kept(keyed(service, {"fileName": "a.png", **credential}))
    assert assert_kept(keyed(service, {"fileName": "a.png"}, headers=headers)) == first
    assert service.on_disk() == KEPT_ONE


@pytest.mark.parametrize("key", ["a b", "ä", "x" * 256, ""])
@pytest.mark.parametrize("early", [False, True])
def test_a_key_that_is_none_is_refused_and_nothing_is_spent(service: Service, key: str, early: bool) -> None:
    credential = service.credential()
    headers = {}
    if early:
        headers = {
            "X-Upload-Token": credential["token"],
            "X-Upload-Expire": credential["expire"],
            "X-Upload-Signature": credential["signature"],
            "X-Upload-Public-Key": credential["publicKey"],
        }
    answer = keyed(service, {"fileName": "a.png", **credential}, key, headers=headers)
    assert_refused(answer, 400, "request.malformed", "Your request could not be read.")
    assert "Idempotency-Key" in answer.get_json()["help"]
    assert [service.upload_v1(credential).status_code for _ in range(4)] == [200, 200, 200, 400]
