"""What a caller and an address may have, asked over HTTP."""

from __future__ import annotations

import base64
import json
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import pytest
from werkzeug.test import TestResponse

from tests.support.app import KEPT_NONE, ORIGIN, Service, basic
from tests.support.processes import until
from tokensvc.adapters.event_log import EventLog
from tokensvc.adapters.throttle import DEFAULT_ANONYMOUS, DEFAULT_FAILURES, RedisThrottle
from tokensvc.core.profiles import Limits, Rate
from tokensvc.web import create_app

from .conftest import ServiceMaker, problem_of

REQUESTS = 100


def renew(service: Service) -> Service:
    """With the doors of its use cases as they are now."""
    service.app = create_app(service.doors())
    service.client = service.app.test_client()
    return service


@pytest.fixture
def make_limited(make_service: ServiceMaker) -> Any:
    """A service whose profiles have these limits. Its caller is one that no other test has."""

    def make(**limits: Any) -> Service:
        def rename(tables: Any) -> None:
            tables["callers"]["backend"]["keys"][0]["subject"] = os.urandom(8).hex()

        service = cast("Service", make_service(change=rename))
        profiles = {name: replace(kept, limits=Limits(**limits)) for name, kept in service.issue.profiles.items()}
        service.issue = replace(service.issue, profiles=profiles)
        return renew(service)

    return make


@pytest.mark.alone
def test_of_a_hundred_requests_at_once_ten_are_issued_where_ten_may_be_outstanding(make_limited: Any) -> None:
    """Of both versions, and each of the ten can be used; then ten more are issued."""
    service: Service = make_limited(outstanding=10)
    start = threading.Barrier(REQUESTS)

    def ask(number: int) -> TestResponse:
        client = service.app.test_client()
        start.wait()
        if number % 2:
            return client.get("/auth", headers=service.bearer)
        return client.post("/auth", headers=service.bearer, json={"uploadPayload": {"fileName": f"{number}.png"}})

    with ThreadPoolExecutor(REQUESTS) as threads:
        answers = list(threads.map(ask, range(REQUESTS)))
    issued = [answer.get_json() for answer in answers if answer.status_code == 200]
    assert len(issued) == 10
    for answer in answers:
        if answer.status_code != 200:
            assert answer.status_code == 429
            assert answer.get_json()["code"] == "quota.exceeded"
    for answer in issued:
        if "signature" in answer:
            assert service.upload_v1({**answer, "expire": str(answer["expire"])}).status_code == 200
        else:
            assert service.upload_v2(answer["token"], fileName=_file_name(answer["token"])).status_code == 200
    assert [service.get().status_code for _ in range(11)] == [200] * 10 + [429]


def _file_name(token: str) -> str:
    payload = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["fileName"])


def test_the_sixty_first_in_the_minute_is_told_when_to_come_back(make_limited: Any) -> None:
    service: Service = make_limited(rate=Rate(60, 60))
    assert {service.get().status_code for _ in range(60)} == {200}
    answer = service.get()
    detail = problem_of(answer, 429, "rate.limited")
    wait = int(answer.headers["Retry-After"])
    assert 1 <= wait <= 60
    assert detail.startswith("60 per minute ")
    assert f"in {wait} s" in answer.get_json()["help"]
    assert answer.headers["RateLimit-Policy"] == '"rate";q=60;w=60'
    assert answer.headers["RateLimit"] == f'"rate";r=0;t={wait}'


def test_each_credential_tells_how_many_are_left_and_a_page_may_read_it(make_limited: Any) -> None:
    """As a refusal tells it; of several limits the one that ends first."""
    service: Service = make_limited(rate=Rate(4, 60), per_day=5, outstanding=9)
    answers = [
        service.get(Origin=ORIGIN),
        service.post({"uploadPayload": {"fileName": "a.png"}}, Origin=ORIGIN),
        service.send("POST", "/auth/batch", service.bearer, json={"version": "v1", "count": 1}),
        service.send("POST", "/auth/batch", service.bearer, json={"version": "v2", "uploads": [{"fileName": "b"}]}),
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert [answer.headers["RateLimit"] for answer in answers] == [f'"rate";r={left}' for left in (3, 2, 1, 0)]
    assert {answer.headers["RateLimit-Policy"] for answer in (*answers, service.get())} == {'"rate";q=4;w=60'}
    for answer in answers[:2]:
        exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"RateLimit", "RateLimit-Policy"} <= set(exposed)


def test_without_a_limit_nothing_is_told_of_it(make_limited: Any) -> None:
    service: Service = make_limited()
    assert not [name for name, _ in service.get().headers if name.startswith("RateLimit")]


def test_who_comes_back_when_told_to_is_served(make_limited: Any) -> None:
    service: Service = make_limited(rate=Rate(2, 1))
    assert {service.get().status_code for _ in range(2)} == {200}
    refused_at = time.monotonic()
    assert service.get().headers["Retry-After"] == "1"
    until(lambda: service.get().status_code == 200, "the window to pass")
    assert time.monotonic() - refused_at < 1.5


@pytest.mark.parametrize(
    ("limits", "policy", "words"),
    [
        ({"per_day": 1}, '"per_day";q=1;w=86400', "1 a day"),
        ({"outstanding": 1}, '"outstanding";q=1', "not been used yet"),
    ],
)
def test_a_quota_says_which_it_is(make_limited: Any, limits: dict[str, int], policy: str, words: str) -> None:
    service: Service = make_limited(**limits)
    assert service.get().status_code == 200
    answer = service.get()
    assert words in problem_of(answer, 429, "quota.exceeded")
    assert answer.headers["RateLimit-Policy"] == policy
    assert re.fullmatch(r'"\w+";r=0;t=[1-9]\d*', answer.headers["RateLimit"])


def test_callers_and_profiles_are_counted_apart(make_limited: Any) -> None:
    service: Service = make_limited(outstanding=1)
    assert [service.get().status_code for _ in range(2)] == [200, 429]
    assert service.get(profile="short").status_code == 200


def test_an_equal_v2_credential_is_found_without_counting_those_that_exist(make_limited: Any) -> None:
    """Five equal asks in a second are five credentials, each moved back in time until it is new."""
    service: Service = make_limited(rate=Rate(5, 60), per_day=5, outstanding=5)
    asks = [service.post({"uploadPayload": {"fileName": "same.png"}}) for _ in range(6)]
    assert [answer.status_code for answer in asks] == [200] * 5 + [429]


def test_a_token_that_exists_is_said_to_exist(make_limited: Any) -> None:
    service: Service = make_limited(rate=Rate(1, 60))
    token = os.urandom(16).hex()
    assert [service.get(f"token={token}").status_code for _ in range(2)] == [200, 409]
    assert service.get().status_code == 429


def test_a_profile_without_limits_serves_bursts(make_limited: Any) -> None:
    """Angular's two a file and Uppy's one for each of many at once."""
    service: Service = make_limited()
    assert {service.get().status_code for _ in range(150)} == {200}


# By address.


def throttled(service: Service, *, failures: Rate = DEFAULT_FAILURES, anonymous: Rate = DEFAULT_ANONYMOUS) -> Service:
    throttle = RedisThrottle(
        service.redis, clock=lambda: int(time.time()), audit=EventLog(), failures=failures, anonymous=anonymous
    )
    service.issue = replace(service.issue, throttle=throttle)
    service.accept = replace(service.accept, throttle=throttle)
    return renew(service)


def from_address(service: Service, address: str) -> Service:
    service.client.environ_base["REMOTE_ADDR"] = address
    return service


@pytest.fixture
def address() -> str:
    """One that no other test has: the range is nobody's."""
    return "2001:db8:" + ":".join(os.urandom(2).hex() for _ in range(6))


def test_an_address_that_guesses_keys_is_slowed_down_and_no_other(service: Service, address: str) -> None:
    """Also when it guesses right; and nothing is issued to it then."""
    from_address(throttled(service, failures=Rate(3, 60)), address)
    wrong = {"Authorization": "Bearer tsk_wrong"}
    assert [service.send("GET", "/auth", wrong).status_code for _ in range(5)] == [401] * 3 + [429] * 2
    before = service.on_record()
    answer = service.get()
    assert problem_of(answer, 429, "rate.limited").startswith("3 per minute ")
    assert answer.headers["RateLimit-Policy"] == '"failures";q=3;w=60'
    assert service.on_record() == before
    assert from_address(service, "192.0.2.1").get().status_code == 200
    assert from_address(service, "127.0.0.1").get().status_code == 200


def test_who_sends_no_evidence_has_not_failed(service: Service, address: str) -> None:
    from_address(throttled(service, failures=Rate(1, 60)), address)
    assert {service.send("GET", "/auth").status_code for _ in range(5)} == {401}
    assert service.get().status_code == 200


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_address_that_guesses_signatures_is_slowed_down_and_spends_nothing(
    service: Service, address: str, version: Any
) -> None:
    """In ImageKit's shape, with the status on which its clients try again."""
    good = service.credential()
    from_address(throttled(service, failures=Rate(2, 60)), address)
    forged = {**good, "signature": "0" * 40} if version == "v1" else {"token": "a.b.c"}
    statuses = [service.upload(version, {"fileName": "a.png", **forged}).status_code for _ in range(3)]
    assert statuses == ([400] * 2 + [429])
    answer = service.upload_v1(good)
    assert answer.status_code == 429
    assert answer.headers["X-Tokensvc-Code"] == "rate.limited"
    assert answer.get_json()["message"] == "Too many requests. Try again later."
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert service.on_disk() == KEPT_NONE
    assert from_address(service, "192.0.2.1").upload_v1(good).status_code == 200


def test_a_wrong_private_key_is_a_failure(service: Service, address: str) -> None:
    from_address(throttled(service, failures=Rate(2, 60)), address)
    wrong = basic("private_wrong")
    statuses = [service.upload("v1", {"fileName": "a.png"}, Authorization=wrong).status_code for _ in range(3)]
    assert statuses == [403, 403, 429]


def test_an_upload_that_is_refused_for_something_else_is_no_failure(service: Service, address: str) -> None:
    from_address(throttled(service, failures=Rate(1, 60)), address)
    used = service.credential()
    assert service.upload_v1(used).status_code == 200
    assert {service.upload_v1(used).status_code for _ in range(3)} == {400}
    assert service.upload_v1(service.credential()).status_code == 200


def test_callers_without_a_name_are_slowed_down_by_address(service: Service, address: str) -> None:
    """Those with one are not."""
    throttled(service, anonymous=Rate(2, 60))
    assert {from_address(service, address).get().status_code for _ in range(5)} == {200}
    service.issue = replace(service.issue, anonymous=frozenset({"backend"}))
    from_address(renew(service), address)
    answers = [service.get() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers["RateLimit-Policy"] == '"anonymous";q=2;w=60'
