"""`POST /introspect` and `POST /revoke`."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.app import Service, Tables
from tests.support.nonces import new_request
from tests.support.valkey import Valkey

from .conftest import ServiceMaker, problem_of

OPERATOR = "tsk_CANARYoperator"


def add_operator(tables: Tables) -> None:
    digest = hashlib.sha256(OPERATOR.encode()).hexdigest()
    key = {"id": "ops", "sha256": digest, "subject": "ops", "may": ["operate"]}
    tables["callers"]["operators"] = {"kind": "api_key", "keys": [key]}


@pytest.fixture
def service(make_service: ServiceMaker) -> Service:
    made: Service = make_service(change=add_operator)
    return made


def ask(service: Service, path: str, body: Any, key: str = OPERATOR) -> TestResponse:
    return service.send("POST", path, {"Authorization": f"Bearer {key}"}, json=body)


def introspect(service: Service, body: Any, key: str = OPERATOR) -> Any:
    answer = ask(service, "/introspect", body, key)
    assert answer.status_code == 200, answer.get_data()
    assert answer.headers["Cache-Control"] == "no-store, private"
    return answer.get_json()


def revoke(service: Service, token: str) -> Any:
    answer = ask(service, "/revoke", {"token": token})
    assert answer.status_code == 200, answer.get_data()
    assert answer.headers["Cache-Control"] == "no-store, private"
    return answer.get_json()


def redeem(service: Service, body: Any) -> int:
    return ask(service, "/redeem", body, service.reader_key).status_code


def v1(service: Service) -> dict[str, Any]:
    return {"version": "v1", **service.get().get_json()}


def v2(service: Service) -> dict[str, Any]:
    return {"version": "v2", "token": service.jwt({"fileName": "a"})}


@pytest.mark.parametrize("make", [v1, v2])
def test_a_good_credential_is_active_until_it_is_spent(service: Service, make: Any) -> None:
    body = make(service)
    for key in (OPERATOR, service.reader_key):
        assert introspect(service, body, key) == {
            "active": True,
            "uses_left": 1,
            "version": body["version"],
            "account": "default",
            "exp": service.clock.now + 1800,
            "iat": service.clock.now,
            "sub": "ci",
            "source": "backend",
            "profile": "default" if make is v1 else "open",
        }
    assert redeem(service, body) == 200
    assert introspect(service, body) == {"active": False}


def test_what_could_not_be_spent_is_not_active_and_no_more_is_said(service: Service) -> None:
    good = v1(service)
    assert introspect(service, {**good, "signature": "0" * 40}) == {"active": False}
    assert introspect(service, {**good, "expire": 1800}) == {"active": False}
    assert introspect(service, {"version": "v2", "token": "a.b.c"}) == {"active": False}
    unissued = service.own_credential(new_request(), service.clock.now + 60)
    assert introspect(service, {"version": "v1", **unissued}) == {"active": False}
    service.clock.now += 1804
    assert introspect(service, good)["active"] is True
    service.clock.now += 1
    assert introspect(service, good) == {"active": False}


def test_one_minted_elsewhere_is_active_where_it_would_be_taken(make_service: ServiceMaker) -> None:
    def change(tables: Tables) -> None:
        add_operator(tables)
        tables["profiles"]["default"]["unissued"] = "cross-off"

    service: Service = make_service(change=change)
    body = {"version": "v1", **service.own_credential(new_request(), service.clock.now + 60)}
    assert introspect(service, body).keys() == {"active", "uses_left", "version", "account", "exp"}
    assert redeem(service, body) == 200
    assert introspect(service, body) == {"active": False}


@pytest.mark.parametrize("make", [v1, v2])
def test_what_is_revoked_is_refused_everywhere_here(service: Service, make: Any) -> None:
    body = make(service)
    assert revoke(service, body["token"]) == {"revoked": 1, "outcome": "revoked"}
    assert revoke(service, body["token"]) == {"revoked": 1, "outcome": "revoked"}
    assert introspect(service, body) == {"active": False}
    problem_of(ask(service, "/redeem", body, service.reader_key), 403, "credential.revoked")
    if make is v1:
        answer = service.upload_v1({name: str(text) for name, text in body.items() if name != "version"})
    else:
        answer = service.upload_v2(body["token"], fileName="a")
    assert answer.headers["X-Tokensvc-Code"] == "credential.revoked"


def test_what_is_spent_or_not_on_record_cannot_be_revoked(service: Service) -> None:
    body = v1(service)
    assert redeem(service, body) == 200
    assert revoke(service, body["token"]) == {"revoked": 0, "outcome": "replayed"}
    assert revoke(service, new_request()) == {"revoked": 0, "outcome": "unissued"}
    assert revoke(service, "a.b.c") == {"revoked": 0, "outcome": "unissued"}


@pytest.mark.alone
def test_of_revoking_and_redeeming_at_once_one_wins(service: Service) -> None:
    headers = {"Authorization": f"Bearer {OPERATOR}"}
    with ThreadPoolExecutor(2) as threads:
        for _ in range(50):
            body = v1(service)
            revoked = threads.submit(
                lambda token: service.app.test_client().post("/revoke", json={"token": token}, headers=headers),
                body["token"],
            )
            spent = threads.submit(redeem, service, body)
            assert (revoked.result().get_json()["revoked"], spent.result()) in {(1, 403), (0, 200)}


@pytest.mark.parametrize("path", ["/introspect", "/revoke"])
def test_who_lacks_the_right_is_refused(service: Service, path: str) -> None:
    body = v1(service) if path == "/introspect" else {"token": service.credential()["token"]}
    refused = [service.api_key, service.stranger_key]
    for key in [*refused, service.reader_key] if path == "/revoke" else refused:
        problem_of(ask(service, path, body, key), 403, "caller.forbidden")
    problem_of(ask(service, path, body, "tsk_unknown"), 401, "caller.invalid")
    problem_of(service.send("POST", path, json=body), 401, "caller.missing")


@pytest.mark.parametrize("body", [{}, {"token": ""}, {"token": 1}, {"token": "a", "version": "v1"}, []])
def test_a_malformed_revocation_is_refused(service: Service, body: Any) -> None:
    problem_of(ask(service, "/revoke", body), 400, "request.malformed")


@pytest.mark.parametrize("body", [{}, {"token": "a"}, {"version": "v2", "token": "a", "fields": {}}, []])
def test_a_malformed_introspection_is_refused(service: Service, body: Any) -> None:
    problem_of(ask(service, "/introspect", body), 400, "request.malformed")


def test_a_store_that_is_down_is_an_outage_and_no_answer(make_service: ServiceMaker) -> None:
    with Valkey() as own:
        service = make_service(store=own, change=add_operator)
        body = v1(service)
        own.stop()
        problem_of(ask(service, "/introspect", body), 503, "store.unavailable")
        problem_of(ask(service, "/revoke", {"token": body["token"]}), 503, "store.unavailable")
        mark = {"subject": "ci", "issued_before": service.clock.now}
        problem_of(ask(service, "/revoke", mark), 503, "store.unavailable")


def test_why_a_credential_would_be_refused_is_explained(service: Service) -> None:
    body = {**v2(service), "fields": {"fileName": "b"}}
    answer = ask(service, "/explain", body)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store, private"
    detail = "`fileName` differs: signed 'a', sent 'b'."
    told = {"code": "parameter.forbidden", "field": "fileName", "detail": detail}
    assert answer.get_json() == {"good": False, "reasons": [told]}
    good = ask(service, "/explain", {**body, "fields": {"fileName": "a"}})
    assert good.get_json() == {"good": True, "reasons": []}
    problem_of(ask(service, "/explain", body, service.reader_key), 403, "caller.forbidden")
    problem_of(ask(service, "/explain", {**body, "more": 1}), 400, "request.malformed")
