"""`Idempotency-Key` of a batch: issued once, answered alike again, to the same caller under the same profile."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.app import Service, Tables
from tests.support.valkey import Valkey
from tokensvc.core import sealed
from tokensvc.core.keys import KeyPair, KeyRing, Secret
from tokensvc.service import receipts
from tokensvc.web import create_app

from .conftest import ServiceMaker, problem_of
from .test_batch import own_caller

V1 = {"version": "v1", "count": 3}
V2: dict[str, Any] = {
    "version": "v2",
    "uploads": [{"fileName": "a.png"}, 5, {"fileName": "b.png"}, {"webhookUrl": "x"}],
}
OTHER = "tsk_CANARYother"


def ask(service: Service, body: Any, key: str, profile: str = "open", **headers: str) -> TestResponse:
    headers = {**service.bearer, "Idempotency-Key": key, **headers}
    return service.send("POST", f"/auth/{profile}/batch", headers, json=body)


def issued(service: Service, body: Any, key: str, profile: str = "open", **headers: str) -> Any:
    answer = ask(service, body, key, profile, **headers)
    assert answer.status_code == 200, answer.get_data()
    assert answer.headers["Cache-Control"] == "no-store, private"
    return answer.get_json()


@pytest.fixture
def key() -> str:
    return os.urandom(8).hex()


@pytest.fixture
def make_limited(make_service: ServiceMaker) -> Callable[..., Service]:
    def make(**limits: Any) -> Service:
        def change(tables: Tables) -> None:
            own_caller(tables)
            tables["profiles"]["open"]["limits"] = limits

        made: Service = make_service(change=change)
        return made

    return make


@pytest.mark.parametrize("body", [V1, V2])
def test_the_same_set_is_answered_and_counted_once(
    make_limited: Callable[..., Service], key: str, body: Mapping[str, Any]
) -> None:
    """Those that could not be issued are told again, and the clock may have gone on."""
    service = make_limited(per_day=3, outstanding=3, rate="3/hour")
    before = service.on_record()
    first = issued(service, body, key)
    on_record = service.on_record() - before
    service.clock.now += 60
    for _ in range(3):
        assert issued(service, body, key) == first
    assert service.on_record() - before == on_record
    left = 3 - len(on_record)
    assert [service.get(profile="open").status_code for _ in range(left + 1)] == [200] * left + [429]
    assert issued(service, body, key) == first


@pytest.mark.parametrize("body", [V1, V2])
def test_the_same_set_is_answered_when_some_are_spent_and_stays_spent(service: Service, key: str, body: Any) -> None:
    first = issued(service, body, key)
    one = first["credentials"][0]

    def upload() -> int:
        if body is V1:
            return service.upload_v1({name: str(text) for name, text in one.items()}).status_code
        return service.upload_v2(one["token"], fileName="a.png").status_code

    assert upload() == 200
    assert issued(service, body, key) == first
    assert upload() == 400


@pytest.mark.parametrize(
    ("body", "other"),
    [
        (V1, {"version": "v1", "count": 4}),
        (V1, V2),
        (V2, {**V2, "expire": 60}),
        (V2, {"version": "v2", "uploads": [*V2["uploads"], {"fileName": "c"}]}),
        (V2, {"version": "v2", "uploads": V2["uploads"][::-1]}),
    ],
)
def test_with_another_body_it_is_refused_and_nothing_is_issued(
    service: Service, key: str, body: Any, other: Any
) -> None:
    first, before = issued(service, body, key), service.on_record()
    answer = ask(service, other, key)
    assert "another body" in problem_of(answer, 422, "idempotency.mismatch")
    assert service.on_record() == before
    assert issued(service, body, key) == first


def test_the_order_of_members_is_no_other_body(service: Service, key: str) -> None:
    body = {"version": "v2", "uploads": [{"fileName": "a", "tags": "t"}]}
    same = {"uploads": [{"tags": "t", "fileName": "a"}], "version": "v2"}
    assert issued(service, body, key) == issued(service, same, key)


def test_a_key_is_of_one_caller_under_one_profile(make_service: ServiceMaker, key: str) -> None:
    def change(tables: Tables) -> None:
        digest = hashlib.sha256(OTHER.encode()).hexdigest()
        tables["callers"]["backend"]["keys"].append({"id": "other", "sha256": digest, "subject": "other"})

    service: Service = make_service(change=change)
    sets = [
        issued(service, V1, key),
        issued(service, V1, key, "short"),
        issued(service, V1, key, Authorization=f"Bearer {OTHER}"),
        issued(service, V1, f"{key}2"),
    ]
    tokens = {one["token"] for answer in sets for one in answer["credentials"]}
    assert len(tokens) == 12
    assert [issued(service, V1, key), issued(service, V1, key, "short")] == sets[:2]


def test_who_may_not_ask_any_more_is_not_answered_again(service: Service, key: str) -> None:
    issued(service, V1, key)
    problem_of(ask(service, V1, key, Authorization="Bearer tsk_unknown"), 401, "caller.invalid")
    problem_of(ask(service, V1, key, Authorization=f"Bearer {service.reader_key}"), 403, "caller.forbidden")


@pytest.mark.alone
@pytest.mark.parametrize("body", [V1, V2])
def test_of_many_at_once_all_get_one_set_and_it_is_counted_once(
    make_limited: Callable[..., Service], key: str, body: Any
) -> None:
    service = make_limited(per_day=3, outstanding=3)
    before = service.on_record()

    def again(_: int) -> Any:
        headers = {**service.bearer, "Idempotency-Key": key}
        return service.app.test_client().post("/auth/open/batch", json=body, headers=headers).get_json()

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(again, range(48)))
    assert all(answer == answers[0] for answer in answers)
    assert len(service.on_record() - before) == sum("token" in one for one in answers[0]["credentials"])


def test_it_is_kept_as_long_as_the_credentials_and_holds_nothing_that_can_be_read(
    make_service: ServiceMaker, key: str
) -> None:
    with Valkey() as own:
        service: Service = make_service(store=own)
        answers = [issued(service, V1, key), issued(service, V2, f"{key}2")]
        kept = [name.decode() for name in service.redis.scan_iter() if b":b:" in name]
        assert len(kept) == 2
        records = {service.redis.expiretime(name.decode()) for name in service.on_record()}
        assert {service.redis.expiretime(name) for name in kept} == records == {service.clock.now + 1810}
        everything = b"".join(
            name + value for name in service.redis.scan_iter() if isinstance(value := service.redis.get(name), bytes)
        )
        for one in (one for answer in answers for one in answer["credentials"] if "token" in one):
            for text in (one["token"], one.get("signature", "none")):
                assert text.encode() not in everything
        assert key.encode() not in everything
        assert b"eyJ" not in everything


@pytest.mark.parametrize("wrong", ["", "a b", "a\tb", "k" * 256, "ä"])
def test_what_is_no_key_is_refused(service: Service, wrong: str) -> None:
    before = service.on_record()
    assert "Idempotency-Key" in problem_of(ask(service, V1, wrong), 400, "request.malformed")
    assert service.on_record() == before


def test_a_key_may_be_so_long(service: Service, key: str) -> None:
    assert issued(service, V1, key.ljust(255, "k")) == issued(service, V1, key.ljust(255, "k"))


def test_a_refused_batch_leaves_no_trace_of_its_key(make_limited: Callable[..., Service], key: str) -> None:
    service = make_limited(outstanding=3)
    credential = {name: str(text) for name, text in service.get(profile="open").get_json().items()}
    problem_of(ask(service, V1, key), 429, "quota.exceeded")
    assert service.upload_v1(credential).status_code == 200
    assert len(issued(service, {"version": "v1", "count": 2}, key)["credentials"]) == 2


def test_an_answer_that_is_too_large_to_keep_is_refused(
    service: Service, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    length = len(sealed.seal(b"k", "n", b"", bytes(sealed.RANDOM_BYTES)))
    before = service.on_record()
    monkeypatch.setattr(receipts, "MOST_CHARACTERS", length)
    assert "too large" in problem_of(ask(service, V1, key), 413, "too_large")
    assert service.on_record() == before
    monkeypatch.undo()
    assert len(issued(service, V1, key)["credentials"]) == 3


def test_a_hundred_jwts_of_a_usual_size_can_be_kept(service: Service, key: str) -> None:
    body = {
        "version": "v2",
        "uploads": [{"fileName": f"{os.urandom(12).hex()}.jpg", "tags": "summer,dress"} for _ in range(100)],
    }
    assert issued(service, body, key) == issued(service, body, key)


def test_it_is_one_call_of_the_store(make_service: ServiceMaker, key: str) -> None:
    with Valkey() as own:
        service: Service = make_service(store=own)
        issued(service, V1, f"{key}0")
        own.command("CONFIG", "RESETSTAT")
        issued(service, V1, key)
        issued(service, V1, key)
        assert own.command("INFO", "commandstats")["cmdstat_evalsha"]["calls"] == 2


def test_after_the_store_was_replaced_there_is_a_new_set(make_service: ServiceMaker, key: str) -> None:
    """The old one is refused as stale, so to answer it again would help nobody."""
    with Valkey(appendonly="yes") as own:
        service: Service = make_service(store=own)
        first = issued(service, V1, key)
        own.restart()
        second = issued(service, V1, key)
        assert not {one["token"] for one in first["credentials"]} & {one["token"] for one in second["credentials"]}
        assert issued(service, V1, key) == second
        credential = {name: str(text) for name, text in second["credentials"][0].items()}
        assert service.upload_v1(credential).status_code == 200


def test_it_is_answered_alike_after_the_key_was_rotated_until_the_old_one_is_gone(service: Service, key: str) -> None:
    first = issued(service, V1, key)
    (old,) = service.issue.rings["default"].pairs
    new = KeyPair("default", "public_CANARYnew", Secret("private_CANARYnew0123456789"), None)
    for pairs in ((old, new), (new,)):
        issue = replace(service.issue, rings={"default": KeyRing(pairs, new.public_key)})
        client = create_app(service.doors(issue=issue)).test_client()
        answer = client.post("/auth/open/batch", json=V1, headers={**service.bearer, "Idempotency-Key": key})
        if old in pairs:
            assert answer.get_json() == first
        else:
            assert "no more" in problem_of(answer, 422, "idempotency.mismatch")
