"""`POST /revoke` by subject, profile or account: what was issued before a second is refused wherever it comes."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.app import Service, Tables
from tests.support.nonces import new_request
from tests.support.valkey import Valkey
from tests.web.test_operate import add_operator, ask
from tokensvc.service.operate import MOST_SECONDS_AHEAD

from .conftest import ServiceMaker, problem_of


@pytest.fixture(scope="module")
def own() -> Iterator[Valkey]:
    """Marks of a profile or an account would reach the tests of others."""
    with Valkey() as server:
        yield server


@pytest.fixture
def subject() -> str:
    """One that no other test has."""
    return os.urandom(8).hex()


@pytest.fixture
def make(own: Valkey, make_service: ServiceMaker, subject: str) -> Callable[..., Service]:
    """A service on an empty store, whose api key issues to the subject."""

    def make(**profile: Any) -> Service:
        def change(tables: Tables) -> None:
            add_operator(tables)
            tables["forward_auth"] = {"trusted": ["127.0.0.1/32"]}
            tables["callers"]["backend"]["keys"][0]["subject"] = subject
            for each in tables["profiles"].values():
                each.update(profile)

        own.command("FLUSHALL")
        made: Service = make_service(store=own, change=change)
        return made

    return make


@pytest.fixture
def service(make: Callable[..., Service]) -> Service:
    return make()


def revoke_before(service: Service, second: Any, **whom: Any) -> None:
    answer = ask(service, "/revoke", {**whom, "issued_before": second})
    assert answer.status_code == 200, answer.get_data()
    assert answer.get_json() == {"revoked": "watermark"}
    assert answer.headers["Cache-Control"] == "no-store, private"


def redeem(service: Service, body: Any) -> TestResponse:
    return ask(service, "/redeem", body, service.reader_key)


def v1(service: Service, profile: str = "") -> dict[str, Any]:
    return {"version": "v1", **service.get(profile=profile).get_json()}


@pytest.mark.parametrize("how", ["upload v1", "upload v2", "redeem", "forward auth", "introspect", "explain"])
def test_what_was_issued_before_is_refused_everywhere_here(service: Service, subject: str, how: str) -> None:
    credential, token = service.credential(), service.jwt({"fileName": "a"})
    body: dict[str, Any] = {"version": "v1", **credential}
    service.clock.now += 1
    revoke_before(service, service.clock.now, subject=subject)
    match how:
        case "upload v1":
            assert service.upload_v1(credential).headers["X-Tokensvc-Code"] == "credential.revoked"
        case "upload v2":
            assert service.upload_v2(token, fileName="a").headers["X-Tokensvc-Code"] == "credential.revoked"
        case "redeem":
            problem_of(redeem(service, body), 403, "credential.revoked")
            problem_of(redeem(service, {"version": "v2", "token": token}), 403, "credential.revoked")
        case "forward auth":
            named = {"X-Upload-Token": token}
            answer = service.send("GET", "/forward-auth", named, environ_base={"REMOTE_ADDR": "127.0.0.1"})
            problem_of(answer, 403, "credential.revoked")
        case "introspect":
            assert ask(service, "/introspect", body).get_json() == {"active": False}
        case "explain":
            told = {"code": "credential.revoked", "field": "token", "detail": "The credential was revoked."}
            assert ask(service, "/explain", body).get_json() == {"good": False, "reasons": [told]}
    assert redeem(service, v1(service)).status_code == 200


@pytest.mark.parametrize("scope", ["subject", "subject and source", "profile", "account"])
def test_the_second_itself_is_not_before(service: Service, subject: str, scope: str) -> None:
    whom = {
        "subject": {"subject": subject},
        "subject and source": {"subject": subject, "source": "backend"},
        "profile": {"profile": "open"},
        "account": {"account": "default"},
    }[scope]
    earlier = v1(service, "open")
    service.clock.now += 1
    at_the_second = v1(service, "open")
    revoke_before(service, service.clock.now, **whom)
    problem_of(redeem(service, earlier), 403, "credential.revoked")
    assert redeem(service, at_the_second).status_code == 200


def test_a_mark_concerns_nobody_else(service: Service, subject: str) -> None:
    other_profile, elsewhere = v1(service), v1(service)
    service.clock.now += 1
    revoke_before(service, service.clock.now, profile="open")
    assert redeem(service, other_profile).status_code == 200
    revoke_before(service, service.clock.now, subject=subject, source="partner")
    revoke_before(service, service.clock.now, subject="somebody-else")
    assert redeem(service, elsewhere).status_code == 200


def test_a_jwt_that_was_moved_back_is_as_old_as_it_is_and_not_as_it_says(service: Service, subject: str) -> None:
    """One by one and in a batch: equal payloads get an earlier `iat`, and were issued at the mark's second."""
    name = {"fileName": f"{subject}.png"}
    first, second = (service.jwt(name) for _ in range(2))
    asked = {"version": "v2", "uploads": [name] * 3}
    batch = service.send("POST", "/auth/open/batch", service.bearer, json=asked).get_json()["credentials"]
    tokens = [first, second, *(one["token"] for one in batch)]
    assert sorted(iat_of(token) for token in tokens) == [service.clock.now - back for back in (4, 3, 2, 1, 0)]
    revoke_before(service, service.clock.now, subject=subject)
    bodies = [{"version": "v2", "token": token} for token in tokens]
    for body in bodies:
        assert ask(service, "/introspect", body).get_json()["iat"] == service.clock.now
    assert [redeem(service, body).status_code for body in bodies[:4]] == [200] * 4
    revoke_before(service, service.clock.now + 1, subject=subject)
    problem_of(redeem(service, bodies[4]), 403, "credential.revoked")


def iat_of(token: str) -> int:
    payload = token.split(".")[1]
    second: int = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["iat"]
    return second


def test_one_minted_elsewhere_is_held_to_its_account_by_its_own_word(make: Callable[..., Service]) -> None:
    """v2 says when. v1 lives an hour at most, and is refused if it may be from before; nobody knows its subject."""
    service = make(unissued="cross-off")
    now = service.clock.now

    def v1_until(end: int) -> dict[str, Any]:
        return {"version": "v1", **service.own_credential(new_request(), end)}

    def v2_from(second: int) -> dict[str, Any]:
        claims = {"fileName": new_request(), "iat": second, "exp": second + 600}
        return {"version": "v2", "token": service.own_jwt(json.dumps(claims).encode())}

    revoke_before(service, now, account="default")
    for refused in (v2_from(now - 1), v1_until(now + 3599)):
        assert ask(service, "/introspect", refused).get_json() == {"active": False}
        (reason,) = ask(service, "/explain", refused).get_json()["reasons"]
        assert reason["code"] == "credential.revoked"
        problem_of(redeem(service, refused), 403, "credential.revoked")
    for taken in (v2_from(now), v1_until(now + 3600)):
        assert ask(service, "/introspect", taken).get_json()["active"] is True
        assert redeem(service, taken).status_code == 200
        problem_of(redeem(service, taken), 409, "credential.replayed")


def test_where_none_is_taken_from_elsewhere_it_stays_unissued(service: Service) -> None:
    body = {"version": "v1", **service.own_credential(new_request(), service.clock.now + 60)}
    revoke_before(service, service.clock.now, account="default")
    problem_of(redeem(service, body), 403, "credential.unissued")


def test_it_may_be_so_far_ahead_and_no_farther(service: Service, subject: str) -> None:
    """What is issued until then is refused, too."""
    ahead = service.clock.now + MOST_SECONDS_AHEAD
    answer = ask(service, "/revoke", {"subject": subject, "issued_before": ahead + 1})
    assert "61 s ahead" in problem_of(answer, 400, "request.malformed")
    assert redeem(service, v1(service)).status_code == 200
    revoke_before(service, ahead, subject=subject)
    problem_of(redeem(service, v1(service)), 403, "credential.revoked")
    service.clock.now = ahead
    assert redeem(service, v1(service)).status_code == 200


def test_what_is_not_clear_is_refused_and_revokes_nothing(service: Service, subject: str) -> None:
    now = service.clock.now + 1
    body = v1(service)
    for wrong in (
        {"subject": subject},
        {"issued_before": now},
        {"source": "backend", "issued_before": now},
        {"subject": "", "issued_before": now},
        {"subject": subject, "source": "", "issued_before": now},
        {"subject": 1, "issued_before": now},
        {"subject": subject, "account": "default", "issued_before": now},
        {"subject": subject, "profile": "default", "issued_before": now},
        {"profile": "default", "source": "backend", "issued_before": now},
        {"subject": subject, "issued_before": str(now)},
        {"subject": subject, "issued_before": True},
        {"subject": subject, "issued_before": now + 0.5},
        {"subject": subject, "issued_before": now * 1000},
        {"subject": subject, "issued_before": 999_999_999},
        {"subject": subject, "issued_before": -now},
        {"subject": subject, "issued_before": now, "token": body["token"]},
        {"profile": "defalt", "issued_before": now},
        {"account": "open", "issued_before": now},
        {"subject": subject, "source": "back-end", "issued_before": now},
    ):
        problem_of(ask(service, "/revoke", wrong), 400, "request.malformed")
    assert redeem(service, body).status_code == 200


def test_a_name_that_is_not_configured_is_told_with_those_that_are(service: Service) -> None:
    answer = ask(service, "/revoke", {"account": "defalt", "issued_before": service.clock.now})
    problem_of(answer, 400, "request.malformed")
    assert "default" in answer.get_json()["help"]


def test_who_lacks_the_right_is_refused(service: Service, subject: str) -> None:
    body = {"subject": subject, "issued_before": service.clock.now}
    for key in (service.api_key, service.reader_key):
        problem_of(ask(service, "/revoke", body, key), 403, "caller.forbidden")


def test_who_revoked_what_is_in_the_log(service: Service, subject: str, log: list[str]) -> None:
    revoke_before(service, service.clock.now, subject=subject, source="backend")
    (line,) = [line for line in log if "revoked_before" in line]
    assert all(word in line for word in (subject, "backend", str(service.clock.now), "ops"))


def test_it_costs_an_upload_no_further_round_trip(own: Valkey, service: Service, subject: str) -> None:
    revoke_before(service, service.clock.now, subject=subject)
    body, again = v1(service), v1(service)
    redeem(service, again)
    own.command("CONFIG", "RESETSTAT")
    assert redeem(service, body).status_code == 200
    assert own.command("INFO", "commandstats")["cmdstat_evalsha"]["calls"] == 1
