from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.nonces import new_nonce, new_request, soon
from tests.support.processes import until
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces.breaker import JITTER_SECONDS, LATELY, OPEN_SECONDS, OUTAGES_IN_A_ROW, Breaker
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client.line import Lined
from tokensvc.core.errors import Outage
from tokensvc.core.nonces import NonceId
from tokensvc.ports import Outcome

STALLED_EXCHANGES = 3
"""The one before the stall, and two that no answer came to."""


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Hand) -> Breaker:
    breaker = Breaker(clock)
    for _ in range(OUTAGES_IN_A_ROW):
        breaker.failed()
    return breaker


def test_four_outages_in_a_row_are_let_pass() -> None:
    breaker = Breaker(Hand())
    for _ in range(OUTAGES_IN_A_ROW - 1):
        breaker.failed()
    assert breaker.lets_through()


def test_an_answer_in_between_starts_the_count_again() -> None:
    breaker = Breaker(Hand())
    for _ in range(OUTAGES_IN_A_ROW - 1):
        breaker.failed()
    breaker.answered()
    breaker.failed()
    assert breaker.lets_through()


def test_the_fifth_opens_it_for_a_second() -> None:
    clock = Hand()
    breaker = opened(clock)
    assert not breaker.lets_through()
    clock.now += OPEN_SECONDS - 0.001
    assert not breaker.lets_through()


def test_after_that_one_tries_and_the_others_wait_for_its_luck() -> None:
    clock = Hand()
    breaker = opened(clock)
    clock.now += OPEN_SECONDS
    assert breaker.lets_through()
    assert not breaker.lets_through()
    breaker.answered()
    assert breaker.lets_through()


def test_if_the_one_fails_the_next_tries_a_second_later() -> None:
    clock = Hand()
    breaker = opened(clock)
    clock.now += OPEN_SECONDS
    assert breaker.lets_through()
    breaker.failed()
    assert not breaker.lets_through()
    clock.now += OPEN_SECONDS
    assert breaker.lets_through()


def test_a_store_that_answers_every_second_question_is_given_up_after_twenty() -> None:
    """Ten outages of twenty, never two in a row."""
    breaker = Breaker(Hand())
    for number in range(LATELY - 1):
        assert breaker.lets_through()
        if number % 2:
            assert not breaker.failed()
        else:
            breaker.answered()
    assert breaker.failed()
    assert not breaker.lets_through()


def test_fewer_outages_than_half_are_let_pass() -> None:
    breaker = Breaker(Hand())
    for number in range(3 * LATELY):
        if number % 20 in {0, 2, 4, 6, 8, 10, 12, 14, 16}:
            assert not breaker.failed()
        else:
            breaker.answered()
    assert breaker.lets_through()


def test_once_it_is_closed_old_outages_do_not_count() -> None:
    clock = Hand()
    breaker = Breaker(clock)
    for number in range(LATELY):
        (breaker.failed if number % 2 else breaker.answered)()
    assert not breaker.lets_through()
    clock.now += OPEN_SECONDS
    assert breaker.lets_through()
    breaker.answered()
    for _ in range(LATELY):
        assert not breaker.failed()
        for _ in range(2):
            breaker.answered()
    assert breaker.lets_through()


def test_workers_do_not_all_try_in_the_same_moment() -> None:
    clock = Hand()
    breaker = Breaker(clock, lambda count: b"\x80" * count)
    for _ in range(OUTAGES_IN_A_ROW):
        breaker.failed()
    clock.now += OPEN_SECONDS + JITTER_SECONDS / 2 - 0.001
    assert not breaker.lets_through()
    clock.now += 0.001
    assert breaker.lets_through()


def test_what_failed_together_is_one_outage() -> None:
    breaker, together = Breaker(Hand()), object()
    for _ in range(3 * LATELY):
        assert not breaker.failed(together)
    for _ in range(OUTAGES_IN_A_ROW - 2):
        assert not breaker.failed()
    assert breaker.lets_through()
    assert breaker.failed()


@pytest.mark.alone
def test_a_stall_within_the_budget_is_an_outage_for_none_of_those_who_wait_together() -> None:
    """A disk may not sync for longer than two time-outs take, which is shorter than what a request may take."""
    with Valkey() as own, ThreadPoolExecutor(32) as crowd:
        client = own.client(connections=32)
        assert isinstance(client, Lined)
        store = RedisNonces(client, chance=os.urandom)
        store.ready()
        nonces = [new_nonce() for _ in range(32)]

        def record(nonce: NonceId) -> bool:
            return store.record(nonce, grant="g", until=soon(), request=new_request()).recorded

        exchanges: set[object] = {client.line._hold_up}
        own.pause()
        recorded = [crowd.submit(record, nonce) for nonce in nonces]

        def is_third_under_way() -> bool:
            exchanges.add(client.line._hold_up)
            return len(exchanges) > STALLED_EXCHANGES

        until(is_third_under_way)
        own.resume()
        assert all(each.result() for each in recorded)
        assert all(store.redeem(nonce, request=new_request()).outcome is Outcome.SPENT for nonce in nonces)


def test_a_store_that_hangs_does_not_hold_a_crowd_one_behind_the_other() -> None:
    """64 callers over 4 connections, a second each, would be 16 s; and once it runs again all is well."""
    with Valkey() as own:
        store = RedisNonces(own.client(connections=4), chance=lambda n: b"\x07" * n)
        store.ready()
        refused: list[Outage] = []

        def ask() -> None:
            with pytest.raises(Outage) as outage:
                store.redeem(new_nonce(), request=new_request())
            refused.append(outage.value)

        own.pause()
        crowd = [threading.Thread(target=ask) for _ in range(64)]
        for one in crowd:
            one.start()
        for one in crowd:
            one.join(8)
        assert len(refused) == 64
        own.resume()


def test_a_full_store_does_not_open_it() -> None:
    """A store that says it is full answers: what was issued can still be spent."""
    with Valkey(maxmemory="1mb", maxmemory_policy="noeviction") as own:
        store = RedisNonces(own.client(connections=2), chance=lambda n: b"\x07" * n)
        for _ in range(OUTAGES_IN_A_ROW + 1):
            with pytest.raises(Outage, match="full"):
                store.record(new_nonce(), grant="g", until=soon(), request=new_request())
        assert store.redeem(new_nonce(), request=new_request()).outcome == "unissued"
