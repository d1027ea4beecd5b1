"""`POST /auth[/PROFILE]/batch`: many credentials for one decision and one round trip; all or none."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.app import Service, Tables
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import scripts
from tokensvc.adapters.nonces.keys import nonce_key
from tokensvc.core import jws
from tokensvc.core.nonces import nonce_id
from tokensvc.core.v2 import signing_input
from tokensvc.core.window import LEEWAY_SECONDS, MARGIN_SECONDS
from tokensvc.web.batch import MOST_BYTES

from .conftest import ServiceMaker, problem_of


def batch(service: Service, body: Any, profile: str = "", **headers: str) -> TestResponse:
    how: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
    path = f"/auth{'/' + profile if profile else ''}/batch"
    return service.send("POST", path, {**service.bearer, **headers}, **how)


def v1(service: Service, count: Any, profile: str = "") -> TestResponse:
    return batch(service, {"version": "v1", "count": count}, profile)


def v2(service: Service, *uploads: Any, profile: str = "open", **more: Any) -> TestResponse:
    return batch(service, {"version": "v2", "uploads": list(uploads), **more}, profile)


def own_caller(tables: Tables) -> None:
    """One that no other test has, for what is counted of it."""
    tables["callers"]["backend"]["keys"][0]["subject"] = os.urandom(8).hex()


@pytest.fixture
def make_limited(make_service: ServiceMaker) -> Callable[..., Service]:
    def make(**limits: Any) -> Service:
        def change(tables: Tables) -> None:
            own_caller(tables)
            for profile in tables["profiles"].values():
                profile["limits"] = limits

        made: Service = make_service(change=change)
        return made

    return make


@pytest.mark.parametrize("count", [1, 2, 100])
def test_so_many_v1_credentials_are_issued_and_each_is_good(service: Service, count: int) -> None:
    answer = v1(service, count)
    assert answer.status_code == 200
    body = answer.get_json()
    assert body.keys() == {"publicKey", "credentials"}
    assert body["publicKey"] == service.public_key
    assert len({one["token"] for one in body["credentials"]}) == len(body["credentials"]) == count
    for one in body["credentials"][:3]:
        assert one.keys() == {"token", "expire", "signature", "publicKey"}
        assert service.upload_v1({name: str(text) for name, text in one.items()}).status_code == 200
    assert answer.headers["Cache-Control"] == "no-store, private"
    assert {"Origin", "Authorization", "Cookie"} <= {name.title() for name in answer.vary}


def test_the_answer_is_written_as_python_writes_it(service: Service) -> None:
    """It is put together of texts, credential by credential."""
    for answer in (v1(service, 2), v2(service, {"fileName": "a.png"}, {'"\u00e9': "x"}, {"fileName": "b.png"})):
        text = answer.get_data(as_text=True)
        assert json.dumps(json.loads(text)) == text
        assert answer.headers["Content-Length"] == str(len(text))


def test_each_upload_has_its_v2_credential_in_its_place(service: Service) -> None:
    names = [f"{number}.png" for number in range(100)]
    answer = v2(service, *({"fileName": name} for name in names))
    assert answer.status_code == 200
    tokens = [one["token"] for one in answer.get_json()["credentials"]]
    assert len(set(tokens)) == 100
    for place in (0, 57, 99):
        assert service.upload_v2(tokens[place], fileName=names[place]).status_code == 200
        assert service.upload_v2(tokens[place], fileName=names[place]).status_code != 200


def test_a_faulty_upload_is_told_in_its_place_and_nothing_is_recorded_for_it(service: Service) -> None:
    before = service.on_record()
    answer = v2(
        service, {"fileName": "a.png"}, {"fileName": "b", "webhookUrl": "https://x.example"}, 5, {"fileName": "c.png"}
    )
    assert answer.status_code == 200
    first, second, third, fourth = answer.get_json()["credentials"]
    assert list(first) == ["token"]
    assert list(fourth) == ["token"]
    assert second["error"]["code"] == "parameter.forbidden"
    assert second["error"]["field"] == "webhookUrl"
    assert "webhookUrl" in second["error"]["detail"]
    assert third == {
        "error": {"code": "request.malformed", "field": "uploads", "detail": "This upload is not an object."}
    }
    assert len(service.on_record() - before) == 2
    assert service.upload_v2(fourth["token"], fileName="c.png").status_code == 200


def test_where_all_are_faulty_nothing_is_recorded(service: Service) -> None:
    before = service.on_record()
    assert v2(service, 1, None, "x").status_code == 200
    assert service.on_record() == before


def test_equal_uploads_get_credentials_that_differ_as_far_as_there_is_room(make_service: ServiceMaker) -> None:
    """Thirty steps back, and not one second more; what was issued before counts too."""
    service: Service = make_service()
    name = {"fileName": f"{os.urandom(6).hex()}.png"}
    assert service.post({"uploadPayload": name}, profile="open").status_code == 200
    items = v2(service, *([name] * 40)).get_json()["credentials"]
    tokens = [one["token"] for one in items if "token" in one]
    assert len(tokens) == len(set(tokens)) == 30
    assert {one["error"]["code"] for one in items if "error" in one} == {"token.exists"}
    for token in (tokens[0], tokens[-1]):
        assert service.upload_v2(token, **name).status_code == 200
    assert "error" in v2(service, name).get_json()["credentials"][0]


def test_one_that_is_moved_back_is_on_record_as_long_as_it_could_be_accepted(service: Service) -> None:
    name = {"fileName": f"{os.urandom(6).hex()}.png"}
    ends = set()
    for item in v2(service, name, name, name).get_json()["credentials"]:
        expires_at = json.loads(jws.decode(item["token"].split(".")[1]))["exp"]
        nonce = nonce_id("default", "v2", signing_input(item["token"]))
        assert service.redis.expiretime(nonce_key(nonce, 0)) == expires_at + LEEWAY_SECONDS + MARGIN_SECONDS
        ends.add(expires_at)
    assert len(ends) == 3


def test_the_whole_batch_is_one_call_of_the_store(make_service: ServiceMaker) -> None:
    with Valkey() as own:
        service = make_service(store=own)
        v1(service, 2)
        own.command("CONFIG", "RESETSTAT")
        v1(service, 100)
        v2(service, *({"fileName": f"{number}"} for number in range(100)))
        calls = own.command("INFO", "commandstats")
        assert calls["cmdstat_evalsha"]["calls"] == 2
        assert "cmdstat_eval" not in calls


@pytest.mark.parametrize("count", [0, -1, 1.5, "10", 101, None, True, [1], 10**30])
def test_a_count_that_is_none_is_refused(service: Service, count: Any) -> None:
    before = service.on_record()
    problem_of(v1(service, count), 400, "request.malformed")
    assert service.on_record() == before


@pytest.mark.parametrize("uploads", [[], [{}] * 101, {}, None, "x"])
def test_uploads_that_are_none_are_refused(service: Service, uploads: Any) -> None:
    answer = batch(service, {"version": "v2", "uploads": uploads}, "open")
    assert "1 to 100" in problem_of(answer, 400, "request.malformed")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"version": "v3", "count": 1},
        {"version": ["v1"], "count": 1},
        {"count": 1},
        {"version": "v1", "count": 1, "uploads": []},
        {"version": "v1", "count": 1, "expire": 60},
        {"version": "v2", "uploads": [{"fileName": "a"}], "count": 1},
        b"[]",
        b'{"version":"v1","count":1,"count":2}',
    ],
)
def test_a_malformed_body_is_refused(service: Service, body: Any) -> None:
    problem_of(batch(service, body), 400, "request.malformed")


def test_a_body_may_be_so_large_and_no_larger(service: Service) -> None:
    body = b'{"version":"v1","count":1}'
    assert batch(service, body.ljust(MOST_BYTES)).status_code == 200
    problem_of(batch(service, body.ljust(MOST_BYTES + 1)), 413, "too_large")


def test_what_is_about_the_whole_request_refuses_it(service: Service) -> None:
    before = service.on_record()
    problem_of(v2(service, {"fileName": "a"}, expire=3601), 400, "expire.invalid")
    problem_of(v1(service, 1, "only-v2"), 403, "version.forbidden")
    problem_of(v2(service, {"fileName": "a"}, profile="only-v1"), 403, "version.forbidden")
    problem_of(v1(service, 1, "nowhere"), 404, "profile.unknown")
    problem_of(v1(service, 1, "closed"), 401, "caller.invalid")
    anybody = service.send("POST", "/auth/batch", json={"version": "v1", "count": 1})
    problem_of(anybody, 401, "caller.missing")
    reader = {"Authorization": f"Bearer {service.reader_key}"}
    problem_of(batch(service, {"version": "v1", "count": 1}, **reader), 403, "caller.forbidden")
    assert service.on_record() == before


def test_the_lifetime_is_as_asked(service: Service) -> None:
    token = v2(service, {"fileName": "a.png"}, expire=60).get_json()["credentials"][0]["token"]
    service.clock.now += 66
    assert service.upload_v2(token, fileName="a.png").status_code != 200


def test_callers_without_a_name_ask_one_by_one(make_service: ServiceMaker) -> None:
    def change(tables: Tables) -> None:
        tables["callers"]["guests"] = {"kind": "anonymous"}
        tables["profiles"]["guests"] = {"callers": ["guests"]}

    service: Service = make_service(change=change)
    problem_of(v1(service, 2, "guests"), 403, "caller.forbidden")


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"outstanding": 10}, "quota.exceeded"),
        ({"per_day": 10}, "quota.exceeded"),
        ({"rate": "10/minute"}, "rate.limited"),
    ],
)
def test_a_limit_counts_each_credential_and_lets_all_or_none(
    make_limited: Callable[..., Service], limits: dict[str, Any], code: str
) -> None:
    service = make_limited(**limits)
    before = service.on_record()
    answer = v1(service, 11)
    problem_of(answer, 429, code)
    assert int(answer.headers["Retry-After"]) >= 1
    assert service.on_record() == before
    assert v1(service, 7).status_code == 200
    assert 1 <= int(v1(service, 4).headers["Retry-After"]) <= 86_400
    assert v1(service, 3).status_code == 200
    problem_of(service.get(), 429, code)
    assert len(service.on_record() - before) == 10


def test_what_was_issued_one_by_one_counts_with_a_batch(make_limited: Callable[..., Service]) -> None:
    """And what is spent is not outstanding any more."""
    service = make_limited(outstanding=5)
    credential = service.credential()
    problem_of(v1(service, 5), 429, "quota.exceeded")
    assert service.upload_v1(credential).status_code == 200
    issued = v1(service, 5).get_json()["credentials"]
    problem_of(service.get(), 429, "quota.exceeded")
    assert service.upload_v1({name: str(text) for name, text in issued[0].items()}).status_code == 200
    assert service.get().status_code == 200


def test_faulty_uploads_are_not_counted(make_limited: Callable[..., Service]) -> None:
    service = make_limited(per_day=2)
    items = v2(service, {"fileName": "a"}, 1, {"fileName": "b"}, 2).get_json()["credentials"]
    assert ["token" in one for one in items] == [True, False, True, False]
    problem_of(v2(service, {"fileName": "c"}), 429, "quota.exceeded")


@pytest.mark.alone
def test_of_batches_at_once_as_many_are_issued_as_fit(make_limited: Callable[..., Service]) -> None:
    service = make_limited(outstanding=95, per_day=95, rate="95/hour")

    def ask(_: int) -> int:
        client = service.app.test_client()
        return client.post("/auth/batch", json={"version": "v1", "count": 10}, headers=service.bearer).status_code

    with ThreadPoolExecutor(16) as threads:
        statuses = sorted(threads.map(ask, range(40)))
    assert statuses == [200] * 9 + [429] * 31
    assert v1(service, 5).status_code == 200
    assert v1(service, 1).status_code == 429


def test_a_store_that_is_down_issues_nothing(make_service: ServiceMaker) -> None:
    with Valkey() as own:
        service = make_service(store=own)
        own.stop()
        problem_of(v1(service, 2), 503, "store.unavailable")


def test_the_script_changes_nothing_in_a_full_store() -> None:
    assert scripts.RECORD_BATCH.text.startswith("#!lua\n")
