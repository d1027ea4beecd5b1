"""Lost replies, hangs, refusals of the server: never a false answer, and an outage in bounded time."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Iterator

import pytest
from redis import exceptions as redis_errors

from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.nonces import new_nonce, new_request, soon
from tests.support.valkey import APP_RIGHTS, Valkey
from tokensvc.adapters.nonces import scripts
from tokensvc.adapters.nonces.attempts import BUDGET_SECONDS, ONE_ATTEMPT_SECONDS, Attempts, Fenced
from tokensvc.adapters.nonces.retries import MOST_SAVED, RETRY_SHARE, RetryBudget
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core.errors import Outage, Unanswered
from tokensvc.core.nonces import NonceId
from tokensvc.ports import Outcome, Redemption

pytestmark = pytest.mark.alone

HANG_SECONDS = 5


@pytest.fixture
def proxy(valkey: Valkey) -> Iterator[FaultProxy]:
    for script in (scripts.RECORD, scripts.REDEEM, scripts.FINISH, scripts.REVOKE):
        valkey.command("SCRIPT", "LOAD", script.text)
    with FaultProxy(valkey.socket) as proxy:
        yield proxy


@pytest.fixture
def store(proxy: FaultProxy) -> Iterator[RedisNonces]:
    with contextlib.closing(connect(proxy.url, connections=2)) as client:
        store = RedisNonces(client, chance=os.urandom, sleep=lambda _seconds: None, retry_share=1.0)
        store.ready()
        yield store


def test_a_thousand_lost_replies_are_no_false_answer(proxy: FaultProxy, store: RedisNonces) -> None:
    """Each record and each redeem was done by a first attempt that nobody heard of."""
    proxy.inject(Fault.DROP_REPLY, matching=b"EVALSHA", when=lambda k: k % 2 == 1)
    for _ in range(500):
        nonce = new_nonce()
        assert store.record(nonce, grant="g", until=soon(), request=new_request()).recorded is True
        assert store.redeem(nonce, request=new_request()) == Redemption(Outcome.SPENT, grant="g")
    assert proxy.injected == 1000


ANSWERED = {Fault.SLICE, Fault.LATENCY}
"""After these there is an answer, or there may be; after the others the command is put again."""


@pytest.mark.parametrize("fault", Fault)
def test_every_verb_survives_every_fault(proxy: FaultProxy, store: RedisNonces, fault: Fault) -> None:
    proxy.inject(fault, matching=b"EVALSHA", when=lambda k: k % 2 == 1)
    spent, revoked, request = new_nonce(), new_nonce(), new_request()
    assert store.record(spent, grant="g", until=soon(), request=new_request()).recorded is True
    assert store.redeem(spent, request=request) == Redemption(Outcome.SPENT, grant="g")
    store.finish(spent, request=request, result="file")
    assert store.redeem(spent, request=request) == Redemption(Outcome.FINISHED, result="file")
    assert store.record(revoked, grant="g", until=soon(), request=new_request()).recorded is True
    assert store.revoke(revoked, actor="ops") is Outcome.REVOKED
    assert store.redeem(revoked, request=request) == Redemption(Outcome.REVOKED)
    crossed_off = new_nonce()
    assert store.redeem(crossed_off, request=request, cross_off_until=soon()).outcome is Outcome.SPENT
    assert store.redeem(crossed_off, request=new_request(), cross_off_until=soon()).outcome is Outcome.REPLAYED
    assert proxy.injected == 9 if fault not in ANSWERED else proxy.injected >= 5


def test_when_no_reply_comes_at_all_it_is_an_outage_and_can_be_asked_again(
    proxy: FaultProxy, store: RedisNonces
) -> None:
    """Three attempts, no more. The nonce was spent by the first, for the request that asks again."""
    nonce, request = new_nonce(), new_request()
    store.record(nonce, grant="g", until=soon(), request=new_request())
    proxy.inject(Fault.DROP_REPLY, matching=b"EVALSHA")
    with pytest.raises(Outage, match="cannot be reached"):
        store.redeem(nonce, request=request)
    assert proxy.injected == 3
    proxy.heal()
    assert store.redeem(nonce, request=new_request()) == Redemption(Outcome.REPLAYED)
    assert store.redeem(nonce, request=request) == Redemption(Outcome.SPENT, grant="g")


@pytest.mark.parametrize("on_fence", ["rotate", "wait"])
def test_a_hung_server_is_an_outage(on_fence: str) -> None:
    """Not the minute that redis-py's defaults would take; the bound here is only a guard against that."""
    with Valkey() as own, contextlib.closing(own.client()) as client:
        RedisNonces(client, chance=os.urandom).ready()
        store = RedisNonces(client, chance=os.urandom, on_fence="wait" if on_fence == "wait" else "rotate")
        nonce = new_nonce()
        store.record(nonce, grant="g", until=soon(), request=new_request())
        own.pause()
        started = time.monotonic()
        with pytest.raises(Outage, match="did not answer in time") as caught:
            store.redeem(nonce, request=new_request())
        assert time.monotonic() - started < HANG_SECONDS
        assert 1 <= caught.value.retry_after <= 5
        own.resume()


def test_a_server_that_is_gone_is_an_outage() -> None:
    with Valkey() as own, contextlib.closing(own.client()) as client:
        store = RedisNonces(client, chance=os.urandom)
        own.kill()
        with pytest.raises(Outage, match="cannot be reached"):
            store.redeem(new_nonce(), request=new_request())
        with pytest.raises(Outage, match="cannot be reached"):
            store.ready()


def fill(store: RedisNonces) -> list[NonceId]:
    """Record until the store refuses, and return what it took."""
    recorded = []
    for size in (50_000, 500, 1):
        with pytest.raises(Outage, match="is full"):  # noqa: PT012 - one of them meets the end of the room
            for _ in range(10_000):
                nonce = new_nonce()
                store.record(nonce, grant="x" * size, until=soon(), request=new_request())
                recorded.append(nonce)
    return recorded


def test_a_full_store_refuses_to_record_and_does_all_else() -> None:
    with Valkey(maxmemory="12mb", maxmemory_policy="noeviction") as own, contextlib.closing(own.client()) as client:
        store = RedisNonces(client, chance=os.urandom)
        small = new_nonce()
        store.record(small, grant="", until=soon(), request=new_request())
        issued = fill(store)
        assert len(issued) > 10
        with pytest.raises(Outage, match="is full"):
            store.ready()
        assert store.revoke(small, actor="") is Outcome.REVOKED
        request = new_request()
        assert {store.redeem(nonce, request=request).outcome for nonce in issued} == {Outcome.SPENT}
        assert {store.redeem(nonce, request=new_request()).outcome for nonce in issued} == {Outcome.REPLAYED}
        fill(store)
        store.finish(issued[0], request=request, result="file")
        assert store.redeem(issued[0], request=request) == Redemption(Outcome.FINISHED, result="file")
        fill(store)
        own.command("DEL", "ik{00}:e")
        assert store.redeem(issued[0], request=request) == Redemption(Outcome.STALE)


def test_a_store_that_may_evict_is_not_ready() -> None:
    with Valkey(maxmemory_policy="volatile-ttl") as own, contextlib.closing(own.client()) as client:
        store = RedisNonces(client, chance=os.urandom)
        with pytest.raises(Outage, match="maxmemory-policy has to be noeviction"):
            store.ready()
        own.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        store.ready()


@pytest.mark.parametrize(
    ("password", "rights", "reason"),
    [
        ("wrong-PASSWORD", APP_RIGHTS, "does not accept our user and password"),
        ("right-PASSWORD", APP_RIGHTS.replace("+evalsha", ""), "does not let our user do what it has to"),
        ("right-PASSWORD", APP_RIGHTS.replace("~ik*", "~other*"), "does not let our user do what it has to"),
    ],
)
def test_a_store_that_does_not_let_us_in_is_an_outage_at_once(
    valkey: Valkey, password: str, rights: str, reason: str
) -> None:
    """There is no pause, because nothing gets better by itself; and nothing quotes the password."""

    def no_pause(_seconds: float) -> None:
        raise AssertionError("paused")

    valkey.command("ACL", "SETUSER", "limited", "reset", "on", ">right-PASSWORD", *rights.split())
    with contextlib.closing(connect(valkey.url_as("limited", password), connections=1)) as client:
        store = RedisNonces(client, chance=os.urandom, sleep=no_pause)
        with pytest.raises(Outage, match=reason) as caught:
            store.redeem(new_nonce(), request=new_request())
        assert "PASSWORD" not in "".join(traceback.format_exception(caught.value))


AGAIN = [
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.BusyLoadingError,
    redis_errors.ReadOnlyError,
    redis_errors.ClusterDownError,
    redis_errors.MasterDownError,
    Fenced,
]
AT_ONCE = [
    redis_errors.AuthenticationError,
    redis_errors.AuthorizationError,
    redis_errors.NoPermissionError,
    redis_errors.OutOfMemoryError,
    redis_errors.ResponseError,
    redis_errors.DataError,
    redis_errors.RedisError,
]
PASSES_SOON = {redis_errors.ConnectionError, redis_errors.BusyLoadingError, Fenced}


def test_an_outage_does_not_multiply_the_load(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 questions at a store that drops every reply: what was saved up is tried again, and a tenth of the rest."""
    with contextlib.closing(connect(proxy.url, connections=2)) as client:
        store = RedisNonces(client, chance=os.urandom, sleep=lambda _seconds: None)
        store.ready()
        breaker = store._questions._lanes.to_owner_of("").breaker
        monkeypatch.setattr(breaker, "lets_through", lambda: True)  # it stays closed
        proxy.inject(Fault.DROP_REPLY, matching=b"EVALSHA")
        for _ in range(100):
            with pytest.raises(Unanswered, match="cannot be reached"):
                store.redeem(new_nonce(), request=new_request())
        assert 100 < proxy.injected <= 100 + MOST_SAVED + 100 * RETRY_SHARE
        proxy.heal()
        store.ready()


def test_what_failed_together_is_put_again_for_one_of_what_was_saved_up() -> None:
    budget, together = RetryBudget(), object()
    assert all(budget.take(together) for _ in range(100))
    apart = [budget.take(object()) for _ in range(int(MOST_SAVED))]
    assert apart == [True] * (int(MOST_SAVED) - 1) + [False]


class Time:
    """A clock that only sleeping and asking move."""

    def __init__(self, *, patient: bool, chance: int = 0xFF, ask_takes: float = 0.0) -> None:
        self.now = 1000.0
        self.asked = 0
        self.pauses: list[float] = []
        self._takes = ask_takes
        self.attempts = Attempts(
            lambda count: bytes([chance]) * count, patient=patient, sleep=self.sleep, monotonic=lambda: self.now
        )

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def fail_with(self, kind: type[Exception]) -> Outage:
        def ask() -> None:
            self.asked += 1
            self.now += self._takes
            raise kind("ask elsewhere")

        with pytest.raises(Outage) as caught:
            self.attempts.make(ask)
        return caught.value


@pytest.mark.parametrize("kind", AGAIN)
def test_what_may_pass_is_asked_three_times(kind: type[Exception]) -> None:
    time_ = Time(patient=False)
    time_.fail_with(kind)
    assert time_.asked == 3
    assert len(time_.pauses) == 2


@pytest.mark.parametrize("patient", [False, True])
@pytest.mark.parametrize("kind", AT_ONCE)
def test_what_does_not_pass_is_asked_once(kind: type[Exception], patient: bool) -> None:
    time_ = Time(patient=patient)
    time_.fail_with(kind)
    assert time_.asked == 1


@pytest.mark.parametrize("kind", AGAIN)
def test_a_patient_store_asks_about_a_restart_until_the_budget_ends(kind: type[Exception]) -> None:
    time_ = Time(patient=True, chance=0)
    time_.fail_with(kind)
    if kind in PASSES_SOON:
        assert time_.asked > 30
        assert time_.now == pytest.approx(1000 + BUDGET_SECONDS - ONE_ATTEMPT_SECONDS)
    else:
        assert time_.asked == 3


@pytest.mark.parametrize("patient", [False, True])
@pytest.mark.parametrize("ask_takes", [0.0, 0.01, 0.25])
@pytest.mark.parametrize("kind", AGAIN)
def test_the_budget_is_kept(kind: type[Exception], ask_takes: float, patient: bool) -> None:
    time_ = Time(patient=patient, ask_takes=ask_takes)
    time_.fail_with(kind)
    assert time_.now <= 1000 + BUDGET_SECONDS + 1e-9


@pytest.mark.parametrize(("chance", "shortest", "longest"), [(0, 0.02, 0.02), (0xFF, 0.199, 0.2)])
def test_a_pause_is_from_20_to_200_ms(chance: int, shortest: float, longest: float) -> None:
    time_ = Time(patient=False, chance=chance)
    time_.fail_with(redis_errors.TimeoutError)
    assert all(shortest <= pause <= longest for pause in time_.pauses)


@pytest.mark.parametrize(("chance", "seconds"), [(0, 1), (4, 5), (5, 1), (255, 1)])
def test_callers_are_asked_to_come_back_after_one_to_five_seconds(chance: int, seconds: int) -> None:
    assert Time(patient=False, chance=chance).fail_with(redis_errors.TimeoutError).retry_after == seconds
    assert Time(patient=False, chance=chance).fail_with(redis_errors.OutOfMemoryError).retry_after == seconds


def test_who_may_not_try_again_is_told_at_once() -> None:
    time_, asked = Time(patient=False), []

    def ask() -> None:
        asked.append(1)
        raise redis_errors.TimeoutError

    with pytest.raises(Unanswered, match="in time"):
        time_.attempts.make(ask, lambda _: False)
    assert (len(asked), time_.pauses) == (1, [])


def test_who_waits_for_a_store_of_its_own_uses_up_no_budget() -> None:
    time_, asked = Time(patient=True), []

    def ask() -> str:
        asked.append(1)
        if len(asked) < 4:
            raise Fenced
        return "answer"

    assert time_.attempts.make(ask, lambda _: False) == "answer"


def test_what_is_answered_at_last_is_the_answer() -> None:
    time_, answers = Time(patient=False), iter([redis_errors.TimeoutError(), redis_errors.ReadOnlyError()])

    def ask() -> str:
        for error in answers:
            raise error
        return "answer"

    assert time_.attempts.make(ask) == "answer"
