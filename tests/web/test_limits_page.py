"""`/auth/limits`: what a page is told before it uploads, to whom, and that nothing comes of asking."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from tests.support.app import MAX_FILE_BYTES, ORIGIN, Service
from tests.support.callers import SiblingApp
from tokensvc.core.rules import compile_rule
from tokensvc.embed.tickets import TicketSigner
from tokensvc.web import create_app

from .conftest import ServiceMaker, assert_problem, problem_of
from .test_credentials import assert_credential_headers

ALL = {
    "callers": ["backend"],
    "lifetime": 900,
    "uses": 3,
    "spend": "on-success",
    "force": {"folder": "/users/{subject}/{date}"},
    "allow": {
        "fileName": True,
        "tags": ["summer", "{subject}"],
        "description": {"max_length": 64},
        "folder": "/users/{subject}/**",
        "customMetadata": {"regex": ".*"},
        "responseFields": "me*{{x}}",
    },
    "defaults": {"isPrivateFile": "false", "tags": "summer"},
    "limits": {
        "max_bytes": 5000,
        "types": ["image/*"],
        "rate": "60/minute",
        "per_day": 1000,
        "outstanding": 50,
    },
}


@pytest.fixture
def subject() -> str:
    """A caller that no other test has."""
    return os.urandom(8).hex()


@pytest.fixture
def limited(make_service: ServiceMaker, subject: str) -> Service:
    def change(tables: Any) -> None:
        tables["callers"]["backend"]["keys"][0]["subject"] = subject
        tables["profiles"]["all"] = ALL

    made: Service = make_service(change=change)
    return made


def ask(service: Service, path: str = "/auth/limits", **headers: str) -> Any:
    return service.send("GET", path, {**service.bearer, **headers})


def test_a_profile_that_says_nothing(service: Service) -> None:
    answer = ask(service)
    assert answer.status_code == 200
    assert_credential_headers(answer)
    assert answer.get_json() == {
        "profile": "default",
        "versions": ["v1", "v2"],
        "lifetime": 1800,
        "uses": 1,
        "spend": "on-attempt",
        "max_bytes": MAX_FILE_BYTES,
        "types": [],
        "parameters": {
            name: {"choose": "free"}
            for name in ("fileName", "useUniqueFileName", "tags", "customCoordinates", "responseFields")
        },
        "rate": None,
        "per_day": None,
        "outstanding": None,
        "remaining": {"rate": None, "per_day": None, "outstanding": None},
    }


def test_a_profile_that_says_all(limited: Service, subject: str) -> None:
    answer = ask(limited, "/auth/all/limits")
    assert answer.status_code == 200
    body = answer.get_json()
    today = body["parameters"]["folder"]["forced"].rpartition("/")[2]
    assert body == {
        "profile": "all",
        "versions": ["v1", "v2"],
        "lifetime": 900,
        "uses": 3,
        "spend": "on-success",
        "max_bytes": 5000,
        "types": ["image/*"],
        "parameters": {
            "fileName": {"choose": "free"},
            "tags": {"choose": ["summer", subject], "default": "summer"},
            "folder": {"forced": f"/users/{subject}/{today}"},
            "isPrivateFile": {"default": "false"},
            "responseFields": {"choose": "like me*{x}"},
            "customMetadata": {"choose": "whatever matches .*"},
            "description": {"choose": "at most 64 characters"},
        },
        "rate": {"count": 60, "seconds": 60},
        "per_day": 1000,
        "outstanding": 50,
        "remaining": {"rate": 60, "per_day": 1000, "outstanding": 50},
    }


def test_what_is_left_follows_what_is_issued_and_asking_uses_nothing_up(limited: Service) -> None:
    before = limited.on_record()
    for _ in range(3):
        assert ask(limited, "/auth/all/limits").get_json()["remaining"]["per_day"] == 1000
    assert limited.on_record() == before
    assert limited.get(profile="all").status_code == 200
    left = ask(limited, "/auth/all/limits").get_json()["remaining"]
    assert left == {"rate": 59, "per_day": 999, "outstanding": 49}


def test_the_plan_bounds_what_the_profile_lets_in_and_is_none_where_there_is_no_own_endpoint(service: Service) -> None:
    def change(service: Service, max_bytes: int | None, **doors: Any) -> int | None:
        profile = service.issue.profiles["default"]
        limits = replace(profile.limits, max_bytes=max_bytes)
        issue = replace(service.issue, profiles={"default": replace(profile, limits=limits)})
        service.app = create_app(replace(service.doors(), issue=issue, **doors))
        service.client = service.app.test_client()
        found: int | None = ask(service).get_json()["max_bytes"]
        return found

    assert change(service, MAX_FILE_BYTES + 1) == MAX_FILE_BYTES
    assert change(service, MAX_FILE_BYTES - 1) == MAX_FILE_BYTES - 1
    assert change(service, MAX_FILE_BYTES + 1, uploads=None) == MAX_FILE_BYTES + 1
    assert change(service, None, uploads=None) is None


def test_a_profile_of_v1_alone_has_nothing_to_choose(service: Service) -> None:
    profile = service.issue.profiles["only-v1"]
    forced: dict[str, Any] = {"force": {"folder": "/a"}, "defaults": {"tags": "{claims.team}"}}
    service.issue = replace(service.issue, profiles={"only-v1": replace(profile, **forced)})
    service.client = create_app(service.doors()).test_client()
    body = ask(service, "/auth/only-v1/limits").get_json()
    assert (body["versions"], body["parameters"]) == (["v1"], {"folder": {"forced": "/a"}})


def test_a_choice_that_needs_a_claim_is_not_offered_to_whoever_has_none(service: Service) -> None:
    profile = service.issue.profiles["default"]
    specs = {"tags": ["{claims.team}", "all"], "description": ["{claims.team}"], "folder": "/{claims.team}/**"}
    rules = {name: compile_rule(spec) for name, spec in specs.items()}
    service.issue = replace(service.issue, profiles={"default": replace(profile, allow=rules)})
    service.client = create_app(service.doors()).test_client()
    assert ask(service).get_json()["parameters"] == {"tags": {"choose": ["all"]}}


@pytest.mark.parametrize("table", ["force", "defaults"])
def test_who_would_be_refused_whatever_is_asked_is_refused_here_too(service: Service, table: str) -> None:
    made: dict[str, Any] = {table: {"folder": "/{claims.team}"}}
    profile = replace(service.issue.profiles["default"], **made)
    service.issue = replace(service.issue, profiles={"default": profile})
    service.client = create_app(service.doors()).test_client()
    detail = problem_of(ask(service), 403, "caller.forbidden")
    assert detail == "folder is made with {claims.team}, and the caller's is missing or empty."


@pytest.mark.parametrize("path", ["/auth/limits", "/auth/short/limits"])
def test_it_is_told_to_callers_only(service: Service, path: str) -> None:
    assert_problem(
        service.send("GET", path),
        401,
        "caller.missing",
        "The request does not say who is asking.",
        "Sign in, or send an api key as Authorization: Bearer tsk_…",
    )
    assert service.send("GET", path, {"Authorization": "Bearer tsk_wrong"}).get_json()["code"] == "caller.invalid"
    reader = {"Authorization": f"Bearer {service.reader_key}"}
    assert service.send("GET", path, reader).get_json()["code"] == "caller.forbidden"


def test_a_profile_that_there_is_not(service: Service) -> None:
    assert problem_of(ask(service, "/auth/nothing/limits"), 404, "profile.unknown") == "There is no such profile."


def test_who_tries_keys_here_is_slowed_down_as_anywhere(service: Service) -> None:
    """It is no side door at which keys could be tried for free."""
    address = {"REMOTE_ADDR": f"203.0.113.{os.urandom(1)[0]}"}
    wrong = {"Authorization": "Bearer tsk_wrong"}
    codes = [service.send("GET", "/auth/limits", wrong, environ_base=address).status_code for _ in range(31)]
    assert codes == [401] * 30 + [429]


def test_a_listed_page_may_ask_and_another_may_not(service: Service) -> None:
    answer = ask(service, Origin=ORIGIN)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, ORIGIN)
    assert ask(service, Origin="https://evil.example").get_json()["code"] == "origin.forbidden"


def test_a_cookie_alone_does_not_count(make_service: ServiceMaker) -> None:
    """The routes have the guarded sources: another site's page learns nothing in its visitor's name."""
    secret = os.urandom(20).hex()

    def change(tables: Any) -> None:
        tables["callers"]["web"] = {"kind": "session", "secret_key": secret}
        tables["profiles"]["default"]["callers"] = ["web"]

    service = make_service(change=change)
    client = service.app.test_client(use_cookies=False)
    cookie = {"Cookie": f"session={SiblingApp(secret).sign_in(user_id='u1')}"}
    for evidence, status in (({}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Origin": ORIGIN}, 200)):
        assert client.get("/auth/limits", headers={**cookie, **evidence}).status_code == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_is_issued_by_another_method(service: Service, method: str) -> None:
    before = service.on_record()
    answer = service.send(method, "/auth/limits", service.bearer, json={"uploadPayload": {"fileName": "a"}})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert service.send(method, "/auth/short/limits", service.bearer).status_code == 405
    assert service.on_record() == before


@pytest.mark.parametrize(("path", "method"), [("/auth/limits", "GET"), ("/auth/batch", "POST")])
def test_what_is_no_profile_has_its_own_methods_only(service: Service, path: str, method: str) -> None:
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    assert service.send("OPTIONS", path, preflight).headers["Access-Control-Allow-Methods"] == method
    other = {"GET": "POST", "POST": "GET"}[method]
    assert problem_of(service.send(other, path, service.bearer), 405, "method") == "Method Not Allowed."
    assert service.get(profile=f"{path[6:]}s").get_json()["code"] == "profile.unknown"


def test_the_headers_tell_the_limit_with_the_fewest_left(limited: Service, service: Service) -> None:
    policy, left = '"outstanding";q=50', '"outstanding";r=50'
    answer = ask(limited, "/auth/all/limits")
    assert (answer.headers["RateLimit-Policy"], answer.headers["RateLimit"]) == (policy, left)
    assert "RateLimit" not in ask(service).headers


def test_a_ticket_that_is_good_once_is_not_used_up(make_service: ServiceMaker) -> None:
    secret = os.urandom(20).hex()

    def change(tables: Any) -> None:
        tables["callers"]["ticket"] = {"kind": "ticket", "secret_key": secret}
        tables["profiles"]["default"]["callers"].append("ticket")

    service = make_service(change=change)
    ticket = {"Authorization": f"Ticket {TicketSigner(secret).sign(subject='u1', uses=1)}"}
    codes = [service.send("GET", path, ticket).status_code for path in ("/auth/limits",) * 3 + ("/auth",) * 2]
    assert codes == [200, 200, 200, 200, 401]
