"""Redeem: verified and compared before anything is spent; a lost reply is no false answer."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.support.app import Service
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.nonces import new_request
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import scripts
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core.callers import Caller
from tokensvc.core.errors import Code, Outage, Refusal
from tokensvc.core.keys import AcceptedKeys, KeyPair, Secret
from tokensvc.service.redeem import Redeem, Spend

from .conftest import Notes

BY = Caller("backend", "uploader", frozenset({"redeem"}))


def spend_v1(service: Service, key: str | None = None, by: Caller = BY) -> Spend:
    return Spend("v1", service.credential(), by=by, key=key)


def refused(redeem: Redeem, spend: Spend) -> Refusal:
    with pytest.raises(Refusal) as caught:
        redeem(spend)
    return caught.value


@pytest.mark.alone
def test_of_a_thousand_that_spend_one_credential_one_does(service: Service) -> None:
    spend = spend_v1(service)

    def attempt(_: int) -> str:
        try:
            service.redeem(spend)
        except Refusal as refusal:
            return str(refusal.code)
        return "spent"

    with ThreadPoolExecutor(32) as threads:
        outcomes = list(threads.map(attempt, range(1000)))
    assert sorted(outcomes) == [str(Code.CREDENTIAL_REPLAYED)] * 999 + ["spent"]


def test_who_spent_what_is_noted_and_the_credential_is_not(service: Service) -> None:
    notes, spend = Notes(), spend_v1(service)
    redeem = replace(service.redeem, audit=notes)
    redeem(spend)
    refused(redeem, spend)
    assert notes.events == ["redeemed", "replayed"]
    assert notes.notes[0][1]["by"] == "uploader"
    assert spend.credential["token"] not in str(notes.notes)


def test_a_spend_shows_no_credential(service: Service) -> None:
    spend = spend_v1(service)
    assert spend.credential["signature"] not in repr(spend)
    assert spend.credential["token"] not in repr(spend)


def test_the_same_key_of_the_same_caller_is_the_same_request(service: Service) -> None:
    spend = spend_v1(service, key="k1")
    assert service.redeem(spend) == service.redeem(spend)
    assert refused(service.redeem, replace(spend, key="k2")).code is Code.CREDENTIAL_REPLAYED
    assert refused(service.redeem, replace(spend, key=None)).code is Code.CREDENTIAL_REPLAYED


@pytest.mark.parametrize("change", [{"subject": "another"}, {"source": "another"}])
def test_the_same_key_of_another_caller_is_another_request(service: Service, change: dict[str, str]) -> None:
    spend = spend_v1(service, key="k1")
    service.redeem(spend)
    other = replace(BY, **change)  # type: ignore[arg-type] # each changes a text
    assert refused(service.redeem, replace(spend, by=other)).code is Code.CREDENTIAL_REPLAYED


def test_one_key_for_two_credentials_spends_both_once(service: Service) -> None:
    first, second = spend_v1(service, key="k"), spend_v1(service, key="k")
    service.redeem(first)
    service.redeem(second)
    assert refused(service.redeem, replace(first, key="other")).code is Code.CREDENTIAL_REPLAYED


@pytest.mark.parametrize("key", ["", " ", "a b", "ä", "x" * 256, "a\n"])
def test_a_key_that_is_none_is_refused_and_nothing_is_spent(service: Service, key: str) -> None:
    spend = spend_v1(service, key=key)
    assert refused(service.redeem, spend).code is Code.REQUEST_MALFORMED
    service.redeem(replace(spend, key="x" * 255))


def test_without_a_public_key_the_pair_that_signed_is_found(service: Service) -> None:
    """Among others, wherever it stands."""
    own = service.redeem.keys.pairs[0]
    other = KeyPair("other", "public_other", Secret("private_CANARYother0123"))
    for pairs in [(own, other), (other, own)]:
        credential = {name: text for name, text in service.credential().items() if name != "publicKey"}
        redeem = replace(service.redeem, keys=AcceptedKeys(pairs))
        assert redeem(Spend("v1", credential)).account == "default"


def test_without_a_public_key_a_retired_pair_is_not_found(service: Service) -> None:
    own = service.redeem.keys.pairs[0]
    credential = {name: text for name, text in service.credential().items() if name != "publicKey"}
    for accept_until, found in [(service.clock.now, False), (service.clock.now + 1, True)]:
        redeem = replace(service.redeem, keys=AcceptedKeys((replace(own, accept_until=accept_until),)))
        if found:
            redeem(Spend("v1", credential))
        else:
            assert refused(redeem, Spend("v1", credential)).code is Code.CREDENTIAL_INVALID


def test_without_a_public_key_a_forged_signature_is_refused(service: Service) -> None:
    credential = {**service.credential(), "publicKey": "", "signature": "0" * 40}
    assert refused(service.redeem, Spend("v1", credential)).code is Code.CREDENTIAL_INVALID


def test_a_credential_minted_elsewhere_is_spent_once_where_the_account_crosses_off(service: Service) -> None:
    credential = service.own_credential(new_request(), service.clock.now + 600)
    assert refused(service.redeem, Spend("v1", credential)).code is Code.CREDENTIAL_UNISSUED
    redeem = replace(service.redeem, cross_off=frozenset({"default"}))
    assert redeem(Spend("v1", credential)).note is None
    assert refused(redeem, Spend("v1", credential)).code is Code.CREDENTIAL_REPLAYED


def test_lost_replies_are_no_false_replay(valkey: Valkey, service: Service) -> None:
    """Each is spent by a first attempt that nobody heard of, and is a yes all the same."""
    valkey.command("SCRIPT", "LOAD", scripts.REDEEM.text)
    with FaultProxy(valkey.socket) as proxy, contextlib.closing(connect(proxy.url, connections=2)) as client:
        nonces = RedisNonces(client, chance=os.urandom, sleep=lambda _seconds: None, retry_share=3.0)
        nonces.ready()
        proxy.inject(Fault.DROP_REPLY, matching=b"EVALSHA", when=lambda k: k % 2 == 1)
        redeem = replace(service.redeem, nonces=nonces)
        for number in range(100):
            spend = spend_v1(service, key=f"k{number}" if number % 2 else None)
            assert redeem(spend).account == "default"
            assert refused(service.redeem, replace(spend, key=None)).code is Code.CREDENTIAL_REPLAYED
        assert proxy.injected == 100


def test_after_an_outage_the_same_key_is_told_that_it_was_spent(valkey: Valkey, service: Service) -> None:
    valkey.command("SCRIPT", "LOAD", scripts.REDEEM.text)
    with FaultProxy(valkey.socket) as proxy, contextlib.closing(connect(proxy.url, connections=2)) as client:
        nonces = RedisNonces(client, chance=os.urandom, sleep=lambda _seconds: None, retry_share=3.0)
        nonces.ready()
        redeem, spend = replace(service.redeem, nonces=nonces), spend_v1(service, key="k")
        proxy.inject(Fault.DROP_REPLY, matching=b"EVALSHA")
        with pytest.raises(Outage):
            redeem(spend)
        proxy.heal()
        assert redeem(spend).account == "default"
