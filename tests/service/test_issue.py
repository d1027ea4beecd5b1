"""Issue: who asks decides first, nothing leaves before it is recorded, and every credential is another one."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from tests.support.app import Service
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core import v1, v2
from tokensvc.core.callers import Caller, Evidence, Presented
from tokensvc.core.errors import Code, Outage, Refusal
from tokensvc.core.keys import KeyPair, KeyRing, Secret
from tokensvc.core.nonces import NonceId, nonce_id
from tokensvc.core.policy import AskV1, AskV2
from tokensvc.core.window import LEEWAY_SECONDS, MARGIN_SECONDS
from tokensvc.ports import Audit, Outcome, Recording
from tokensvc.service.issue import MOST_STEPS_BACK, Issue
from tokensvc.service.request_names import new_request

from .conftest import Notes, bearer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def ask(name: str = "a.png", **more: Any) -> AskV2:
    return AskV2({"fileName": name}, **more)


def issue_v2(service: Service, asked: AskV2 | None = None, profile: str = "default") -> str:
    return service.issue.v2(profile, bearer(service.api_key), asked or ask()).credential


def times(token: str) -> tuple[int, int]:
    claims = jwt.decode(token, options={"verify_signature": False})
    return claims["iat"], claims["exp"]


def refused(call: Callable[[], object], code: Code) -> Refusal:
    with pytest.raises(Refusal) as caught:
        call()
    assert caught.value.code is code
    return caught.value


# Equal v2 payloads


def test_31_equal_payloads_in_a_second_get_31_tokens_and_the_next_is_refused_in_words(service: Service) -> None:
    now = service.clock.now
    tokens = [issue_v2(service) for _ in range(MOST_STEPS_BACK + 1)]
    assert [times(token) for token in tokens] == [(now - step, now + 1800 - step) for step in range(31)]
    assert len(set(tokens)) == 31
    refusal = refused(lambda: issue_v2(service), Code.TOKEN_EXISTS)
    assert refusal.detail == "Too many credentials for exactly these parameters were issued in the last seconds."
    assert refusal.remedy == "Ask again in a few seconds, or vary fileName."
    assert issue_v2(service, ask("b.png"))
    nonces = [nonce_id("default", "v2", v2.signing_input(token)) for token in tokens]
    outcomes = [service.nonces.redeem(nonce, request=new_request(service.issue.chance)).outcome for nonce in nonces]
    assert outcomes == [Outcome.SPENT] * 31


def test_each_second_makes_room_for_one_more(service: Service) -> None:
    for _ in range(31):
        issue_v2(service)
    service.clock.now += 1
    assert times(issue_v2(service)) == (service.clock.now, service.clock.now + 1800)
    refused(lambda: issue_v2(service), Code.TOKEN_EXISTS)


def test_no_step_back_leads_behind_the_expiry(service: Service) -> None:
    """Of a life of three seconds three fit: moved back any further it would be expired when it is issued."""
    tokens = [issue_v2(service, ask(expire=3)) for _ in range(3)]
    now = service.clock.now
    assert [times(token) for token in tokens] == [(now, now + 3), (now - 1, now + 2), (now - 2, now + 1)]
    refused(lambda: issue_v2(service, ask(expire=3)), Code.TOKEN_EXISTS)


def test_a_step_back_shortens_what_was_asked_and_never_lengthens_it(service: Service) -> None:
    now = service.clock.now
    for token in [issue_v2(service, ask(expire=60)) for _ in range(10)]:
        issued_at, expires_at = times(token)
        assert expires_at - issued_at == 60
        assert expires_at <= now + 60
        assert issued_at <= now


def test_what_differs_at_all_needs_no_step(service: Service) -> None:
    asked = [AskV2({"fileName": "a.png"}), AskV2({"fileName": "a.png", "tags": ""}), AskV2({"fileName": "b.png"})]
    assert {times(issue_v2(service, one))[0] for one in asked} == {service.clock.now}


# v1's own tokens


class Scripted:
    """Chance that gives these bytes in turn, and unpredictable ones for None and afterwards."""

    def __init__(self, *script: bytes | None) -> None:
        self._script = list(script)

    def __call__(self, size: int) -> bytes:
        return (self._script.pop(0) if self._script else None) or os.urandom(size)


def issue_v1(service: Service, asked: AskV1 | None = None) -> v1.Credential:
    return service.issue.v1("default", bearer(service.api_key), asked or AskV1()).credential


def test_a_token_of_ours_that_is_taken_is_replaced_by_another(service: Service) -> None:
    taken, free = os.urandom(16), os.urandom(16)
    # Each try takes a token, and the name of a request.
    unlucky = replace(service.issue, chance=Scripted(taken, None, taken, None, free, None))
    tokens = [unlucky.v1("default", bearer(service.api_key), AskV1()).credential.token for _ in range(2)]
    assert tokens == [str(uuid.UUID(bytes=drawn, version=4)) for drawn in (taken, free)]


def test_chance_that_always_draws_the_same_is_given_up(service: Service) -> None:
    taken = os.urandom(16)
    unlucky = replace(service.issue, chance=Scripted(*[taken, None] * 4))
    unlucky.v1("default", bearer(service.api_key), AskV1())
    refused(lambda: unlucky.v1("default", bearer(service.api_key), AskV1()), Code.TOKEN_EXISTS)


def test_a_clients_own_token_is_never_replaced(service: Service) -> None:
    token = uuid.uuid4().hex
    assert issue_v1(service, AskV1(token=token)).token == token
    assert refused(lambda: issue_v1(service, AskV1(token=token)), Code.TOKEN_EXISTS).field == "token"


# The record


def value_of(service: Service, nonce: NonceId) -> str:
    (key,) = [key for key in service.on_record() if nonce.encode() in key]
    value = service.redis.get(key.decode())
    assert isinstance(value, bytes)
    assert service.redis.expiretime(key.decode()) == service.clock.now + 1800 + LEEWAY_SECONDS + MARGIN_SECONDS
    return value.decode()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_record_tells_who_was_granted_what_and_outlives_the_credential(service: Service, version: str) -> None:
    if version == "v1":
        nonce = nonce_id("default", "v1", issue_v1(service).token.encode())
    else:
        nonce = nonce_id("default", "v2", v2.signing_input(issue_v2(service)))
    state, _, _, grant = value_of(service, nonce).split(":", 3)
    assert state == "I"
    assert json.loads(grant) == {
        "account": "default",
        "profile": "default",
        "source": "backend",
        "subject": "ci",
        "issued_at": service.clock.now,
    }


def test_an_issue_is_noted_without_its_token(service: Service) -> None:
    notes = Notes()
    noting = replace(service.issue, audit=notes)
    credential = noting.v1("default", bearer(service.api_key), AskV1()).credential
    token = noting.v2("short", bearer(service.api_key), ask()).credential
    facts = {"account": "default", "source": "backend", "subject": "ci"}
    assert notes.notes == [
        (
            "issued",
            {
                "version": "v1",
                "profile": "default",
                **facts,
                "nonce": nonce_id("default", "v1", credential.token.encode()),
            },
        ),
        (
            "issued",
            {
                "version": "v2",
                "profile": "short",
                **facts,
                "nonce": nonce_id("default", "v2", v2.signing_input(token)),
            },
        ),
    ]


class Order(Audit):
    """A nonce store and an audit that keep the order in which they are asked; the store is the real one behind."""

    def __init__(self, service: Service) -> None:
        self.asked: list[str] = []
        self._nonces = service.nonces

    def record(self, nonce: NonceId, **how: Any) -> Recording:
        self.asked.append("record")
        return self._nonces.record(nonce, **how)

    def note(self, event: str, _facts: object) -> None:
        self.asked.append(event)


def test_an_issue_is_noted_when_it_is_recorded_and_once(service: Service) -> None:
    order: Any = Order(service)
    ordered = replace(service.issue, nonces=order, audit=order)
    for _ in range(2):
        ordered.v2("default", bearer(service.api_key), ask())
    assert order.asked == ["record", "issued", "record", "record", "issued"]


# Nothing leaves before it is recorded


def test_an_outage_issues_nothing(tmp_path: Path) -> None:
    with Valkey() as own:
        service = Service(own.url, tmp_path)
        issue_v1(service)
        own.kill()
        notes = Notes()
        noting = replace(service.issue, audit=notes)
        for call in (
            lambda: noting.v1("default", bearer(service.api_key), AskV1()),
            lambda: noting.v2("default", bearer(service.api_key), ask()),
        ):
            with pytest.raises(Outage):
                call()
        service.close()
        assert notes.events == []


def test_a_lost_reply_costs_no_credential_and_makes_no_second_one(service: Service, valkey: Valkey) -> None:
    """The record is made, nobody hears of it, and the same request asks again."""
    with FaultProxy(valkey.socket) as proxy:
        proxy.inject(Fault.DROP_REPLY, matching=b"EVALSHA", when=lambda k: k == 1)
        with contextlib.closing(connect(proxy.url, connections=2)) as client:
            nonces = RedisNonces(client, chance=os.urandom)
            before = service.on_record()
            token = replace(service.issue, nonces=nonces).v2("default", bearer(service.api_key), ask()).credential
        assert proxy.injected == 1
    assert len(service.on_record() - before) == 1
    assert times(token) == (service.clock.now, service.clock.now + 1800)
    nonce = nonce_id("default", "v2", v2.signing_input(token))
    assert service.nonces.redeem(nonce, request="r" * 22).outcome is Outcome.SPENT


# Who asks


class Source:
    """A caller source with one answer, that counts how often it is asked."""

    evidence: Evidence = "header"

    def __init__(self, answer: Caller | Refusal | None) -> None:
        self.answer, self.asked = answer, 0

    def identify(self, _presented: Presented) -> Caller | None:
        self.asked += 1
        if isinstance(self.answer, Refusal):
            raise self.answer
        return self.answer


FORGED = Refusal(Code.CALLER_INVALID, "forged")


def with_sources(service: Service, **answers: Caller | Refusal | None) -> tuple[Issue, dict[str, Source]]:
    sources = {name: Source(answer) for name, answer in answers.items()}
    profile = replace(service.issue.profiles["default"], callers=tuple(sources))
    return replace(service.issue, sources=sources, profiles={"default": profile}), sources


def test_the_first_source_that_finds_its_evidence_decides(service: Service) -> None:
    issue, sources = with_sources(service, first=None, second=Caller("second", "me"), third=Caller("third", "other"))
    assert issue.identify(issue.profiles["default"], bearer("")).subject == "me"
    assert [source.asked for source in sources.values()] == [1, 1, 0]


def test_forged_evidence_is_not_passed_over_for_the_next_sources(service: Service) -> None:
    issue, sources = with_sources(service, first=FORGED, second=Caller("second", "me"))
    before = service.on_record()
    refused(lambda: issue.v1("default", bearer(""), AskV1()), Code.CALLER_INVALID)
    assert sources["second"].asked == 0
    assert service.on_record() <= before


def test_nobody_is_nobody(service: Service) -> None:
    issue, _ = with_sources(service, first=None, second=None)
    refused(lambda: issue.v1("default", bearer(""), AskV1()), Code.CALLER_MISSING)


def test_a_profile_without_sources_lets_nobody_in(service: Service) -> None:
    issue, _ = with_sources(service)
    refused(lambda: issue.v2("default", bearer(service.api_key), ask()), Code.CALLER_MISSING)


def test_a_source_cannot_vouch_in_anothers_name(service: Service) -> None:
    issue, _ = with_sources(service, first=Caller("elsewhere", "me"))
    refused(lambda: issue.v1("default", bearer(""), AskV1()), Code.CALLER_FORBIDDEN)


def test_a_stranger_learns_nothing_of_what_would_be_wrong_besides(service: Service) -> None:
    """Who asks comes first: before the version, the parameters, the expire and the key."""
    wrong = AskV2({"iat": 1}, expire="x", public_key="public_other")
    refused(lambda: service.issue.v2("only-v1", Presented({}, {}, ""), wrong), Code.CALLER_MISSING)


def test_a_key_that_is_retired_still_verifies_and_the_active_one_signs(service: Service) -> None:
    ring = service.issue.rings["default"]
    old = KeyPair("default", "public_old", Secret("private_old_0123456789abcdef"))
    rotated = replace(service.issue, rings={"default": KeyRing((old, *ring.pairs), ring.active)})
    credential = rotated.v1("default", bearer(service.api_key), AskV1()).credential
    assert credential.public_key == service.public_key
    refused(lambda: rotated.v1("default", bearer(service.api_key), AskV1(public_key="public_old")), Code.KEY_MISMATCH)


def test_the_name_of_a_request_is_128_random_bits() -> None:
    assert new_request(lambda size: bytes(range(size))) == "AAECAwQFBgcICQoLDA0ODw"
    assert len({new_request(os.urandom) for _ in range(100)}) == 100
