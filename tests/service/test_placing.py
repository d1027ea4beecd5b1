"""A store of many places (buckets, as in a cluster): a subject's credentials are where it is counted, in one step."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.app import Service, Tables, png
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.nonces import new_nonce, new_request, record_all, soon
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core import jws, v1
from tokensvc.core.callers import Presented
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.nonces import NonceId, nonce_id
from tokensvc.core.policy import AskV1, AskV2
from tokensvc.core.profiles import Limits, Profile, Rate
from tokensvc.core.quotas import Quota, subject_id
from tokensvc.ports import Receipt, Recording, RecordOutcome
from tokensvc.service.accept import Offer
from tokensvc.service.batch import Batch
from tokensvc.service.issue import Issue
from tokensvc.service.redeem import Spend
from tokensvc.wiring import CLUSTER_BUCKETS

from .conftest import bearer

LIMITS: list[dict[str, Any]] = [{"outstanding": 7}, {"per_day": 7}, {"rate": "7/hour"}]


@pytest.fixture
def own() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


@pytest.fixture
def make(own: Valkey, tmp_path: Path) -> Iterator[Callable[..., tuple[Service, Issue]]]:
    """A service whose store has as many places as in a cluster, on one server; and what issues there."""
    made: list[Service] = []

    def make(**limits: Any) -> tuple[Service, Issue]:
        def change(tables: Tables) -> None:
            tables["callers"]["backend"]["keys"][0]["subject"] = os.urandom(8).hex()
            for profile in tables["profiles"].values():
                profile["limits"] = limits

        service = Service(own.url, tmp_path / f"data{len(made)}", change=change)
        made.append(service)
        nonces = RedisNonces(service.redis, chance=os.urandom, buckets=CLUSTER_BUCKETS)
        return service, replace(service.issue, nonces=nonces)

    yield make
    for service in made:
        service.close()


Way = Callable[[Issue, Presented], object]

WAYS: dict[str, Way] = {
    "v1": lambda issue, who: issue.v1("default", who, AskV1()),
    "v2": lambda issue, who: issue.v2("default", who, AskV2({"fileName": "a.png"})),
    "v1 with its own token": lambda issue, who: issue.v1("default", who, AskV1(token=new_request())),
    "batch of v1": lambda issue, who: Batch(issue).v1("default", who, 1),
    "batch of v2": lambda issue, who: Batch(issue).v2("default", who, [{"fileName": "a.png"}]),
    "batch with a key": lambda issue, who: Batch(issue).v1("default", who, 1, new_request()),
}
"""Every way to be issued one."""


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_subject_has_its_quota_and_no_more(
    make: Callable[..., tuple[Service, Issue]], way: Way, limits: dict[str, Any]
) -> None:
    """However many there are at once, and wherever the nonce would have been."""
    service, issue = make(**limits)

    def attempt(_: int) -> str:
        try:
            way(issue, bearer(service.api_key))
        except Refusal as refusal:
            return str(refusal.code)
        return "issued"

    with ThreadPoolExecutor(8) as threads:
        outcomes = sorted(threads.map(attempt, range(20)))
    refused = Code.RATE_LIMITED if "rate" in limits else Code.QUOTA_EXCEEDED
    assert outcomes == sorted(["issued"] * 7 + [str(refused)] * 13)


def test_all_ways_count_together_and_what_is_left_is_told(make: Callable[..., tuple[Service, Issue]]) -> None:
    service, issue = make(per_day=len(WAYS))
    presented = bearer(service.api_key)
    for left, way in enumerate(reversed(WAYS.values())):
        assert issue.offer("default", presented)[1].per_day == len(WAYS) - left
        way(issue, presented)
    assert issue.offer("default", presented)[1].per_day == 0
    for way in WAYS.values():
        with pytest.raises(Refusal, match=r"quota\.exceeded"):
            way(issue, presented)


def elsewhere(issue: Issue, subject: str) -> str:
    """A token that a client chose, and that is not where its subject is counted."""
    home = subject_id("default", "default", "backend", subject)
    while issue.nonces.beside(nonce_id("default", "v1", (token := new_request()).encode()), home):
        pass
    return token


def test_what_is_spent_is_not_outstanding_any_more(make: Callable[..., tuple[Service, Issue]]) -> None:
    """But for one whose token a client chose: it counts until it ends."""
    service, issue = make(outstanding=1)
    presented, redeem = bearer(service.api_key), replace(service.redeem, nonces=issue.nonces)
    redeem(Spend("v1", fields_of(issue.v1("default", presented, AskV1()).credential)))
    redeem(Spend("v2", {"token": issue.v2("default", presented, AskV2({"fileName": "a.png"})).credential}))
    made = Batch(issue).v1("default", presented, 1).credential
    redeem(Spend("v1", fields_of(v1.Credential(made.tokens[0], made.expire, made.signatures[0], made.public_key))))
    token = elsewhere(issue, subject_of(service))
    redeem(Spend("v1", fields_of(issue.v1("default", presented, AskV1(token=token)).credential)))
    with pytest.raises(Refusal, match=r"quota\.exceeded"):
        issue.v1("default", presented, AskV1())


def test_a_token_that_exists_is_refused_and_is_not_outstanding(make: Callable[..., tuple[Service, Issue]]) -> None:
    """Also if another subject asks for it, who is counted elsewhere."""
    service, issue = make(outstanding=2)
    other, another = make(outstanding=2)
    token = elsewhere(issue, subject_of(service))
    issue.v1("default", bearer(service.api_key), AskV1(token=token))
    for asked, who in ((issue, service), (issue, service), (another, other), (another, other), (another, other)):
        with pytest.raises(Refusal, match=r"token\.exists"):
            asked.v1("default", bearer(who.api_key), AskV1(token=token))
    issue.v1("default", bearer(service.api_key), AskV1())
    for _ in range(2):
        another.v1("default", bearer(other.api_key), AskV1())


def test_a_jwt_that_was_placed_is_as_good_as_any(make: Callable[..., tuple[Service, Issue]]) -> None:
    """Only blanks were added, behind the object; nothing of what is signed is another."""
    service, issue = make(outstanding=50)
    presented, lengths = bearer(service.api_key), set()
    accept = replace(service.accept, nonces=issue.nonces)
    for number in range(8):
        token = issue.v2("default", presented, AskV2({"fileName": f"{number}.png"})).credential
        payload = jws.decode(token.split(".")[1])
        assert payload.rstrip(b" \t\n\r") == payload[: payload.index(b"}") + 1]
        lengths.add(len(payload) - payload.index(b"}") - 1)
        claims = json.loads(payload)
        assert claims == {"fileName": f"{number}.png", "iat": service.clock.now, "exp": service.clock.now + 1800}
        incoming = accept.files.receive()
        incoming.write(png())
        stored = accept(Offer("v2", {"fileName": f"{number}.png", "token": token}, incoming))
        assert stored.account == "default"
    assert lengths <= {0, 6}
    assert 6 in lengths


def test_where_there_is_one_place_nothing_is_added(service: Service) -> None:
    issue = replace(service.issue, profiles=limited(service))
    for _ in range(8):
        token = issue.v2("default", bearer(service.api_key), AskV2({"fileName": new_request()})).credential
        assert jws.decode(token.split(".")[1]).endswith(b"}")


def test_where_nothing_is_counted_nothing_is_placed(make: Callable[..., tuple[Service, Issue]]) -> None:
    service, issue = make()
    for _ in range(8):
        token = issue.v2("default", bearer(service.api_key), AskV2({"fileName": new_request()})).credential
        assert jws.decode(token.split(".")[1]).endswith(b"}")


def test_a_batch_is_all_or_none_and_one_call(own: Valkey, make: Callable[..., tuple[Service, Issue]]) -> None:
    service, issue = make(outstanding=30)
    batch, presented = Batch(issue), bearer(service.api_key)
    batch.v1("default", presented, 1)
    before = service.on_record()
    with pytest.raises(Refusal, match=r"quota\.exceeded"):
        batch.v1("default", presented, 30)
    assert service.on_record() == before
    own.command("CONFIG", "RESETSTAT")
    batch.v1("default", presented, 20, "key")
    assert batch.v1("default", presented, 20, "key") == batch.v1("default", presented, 20, "key")
    assert own.command("INFO", "commandstats")["cmdstat_evalsha"]["calls"] == 3
    assert len(service.on_record() - before) == 20


def test_a_lost_reply_counts_once_wherever_the_nonce_is(own: Valkey) -> None:
    with FaultProxy(own.socket) as proxy, contextlib.closing(connect(proxy.url, connections=1)) as client:
        store = RedisNonces(
            client, chance=os.urandom, buckets=CLUSTER_BUCKETS, retry_share=3.0, sleep=lambda _seconds: None
        )
        quota = Quota(new_request(), rate=Rate(20, 3600), per_day=20, outstanding=20)
        store.remaining(quota)
        proxy.inject(Fault.DROP_REPLY, matching=b"EVALSHA", when=lambda k: k % 2 == 1)
        for _ in range(20):
            recording = store.record(new_nonce(), grant="g", until=soon(), request=new_request(), quota=quota)
            assert recording.recorded
        proxy.heal()
        assert set(astuple(store.remaining(quota))) == {0}


def test_a_batch_that_could_not_be_counted_in_one_step_is_a_mistake(own: Valkey) -> None:
    with contextlib.closing(own.client()) as client:
        store = RedisNonces(client, chance=os.urandom, buckets=2)
        here, there = ([NonceId(f"{place}{new_request()[2:]}") for _ in range(2)] for place in ("AA", "AQ"))
        receipt, subject = Receipt(new_request(), "text", soon()), here[0]
        assert [store.beside(nonce, subject) for nonce in [*here, *there]] == [True, True, False, False]
        with pytest.raises(ValueError, match="one bucket"):
            record_all(store, [*here, *there], receipt=receipt)
        for nonces in ([*here, *there], there):
            with pytest.raises(ValueError, match="one bucket"):
                record_all(store, nonces, quota=Quota(subject, per_day=9))
        assert record_all(store, [*here, *there]).recorded
        exists = Recording(RecordOutcome.EXISTS, known=(0, 1))
        assert record_all(store, here, receipt=receipt) == exists


def fields_of(credential: v1.Credential) -> dict[str, str]:
    """As a form has them."""
    return {
        "token": credential.token,
        "expire": str(credential.expire),
        "signature": credential.signature,
        "publicKey": credential.public_key,
    }


def subject_of(service: Service) -> str:
    """Whom its api key issues to."""
    caller = service.issue.sources["backend"].identify(bearer(service.api_key))
    assert caller is not None
    return caller.subject


def limited(service: Service) -> dict[str, Profile]:
    """Its profiles, with a quota."""
    limits = Limits(outstanding=9999)
    return {name: replace(profile, limits=limits) for name, profile in service.issue.profiles.items()}
