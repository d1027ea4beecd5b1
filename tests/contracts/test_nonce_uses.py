"""`ports.NonceStore`, over every adapter: nonces with several uses, and uses that are claimed before they are spent."""

from __future__ import annotations

import time

import pytest

from tests.support.nonces import new_nonce, new_nonces, new_request, record_all, soon
from tokensvc.core.nonces import NonceId
from tokensvc.core.uses import MOST_USES, SpendMode, Uses
from tokensvc.ports import NonceStore, Outcome, Redemption, Standing

LONG, OVER = 600, 0
"""Leases in seconds: one that no test sees the end of, and one that has ended when it begins."""

MODES: list[SpendMode] = ["on-attempt", "on-success"]


@pytest.fixture
def store(nonce_store: NonceStore) -> NonceStore:
    return nonce_store


def recorded(store: NonceStore, count: int = 1, spend: SpendMode = "on-success", grant: str = "g") -> NonceId:
    nonce = new_nonce()
    assert store.record(nonce, grant=grant, until=soon(), request=new_request(), uses=Uses(count, spend)).recorded
    return nonce


def claimed(store: NonceStore, nonce: NonceId, lease: int = LONG) -> str:
    """The request of a new claim."""
    request = new_request()
    assert store.redeem(nonce, request=request, lease=lease).outcome is Outcome.CLAIMED
    return request


def outcome(store: NonceStore, nonce: NonceId, request: str | None = None, lease: int | None = LONG) -> Outcome:
    return store.redeem(nonce, request=request or new_request(), lease=lease).outcome


# Several uses


@pytest.mark.parametrize("spend", MODES)
@pytest.mark.parametrize("count", [2, 3, MOST_USES])
def test_so_many_uses_are_had_and_no_more(store: NonceStore, count: int, spend: SpendMode) -> None:
    nonce = recorded(store, count, spend, grant='{"a":1,"b":":ä,"}')
    for left in range(count, 0, -1):
        assert store.look(nonce) == Standing(None, '{"a":1,"b":":ä,"}', left)
        assert store.redeem(nonce, request=new_request()) == Redemption(Outcome.SPENT, grant='{"a":1,"b":":ä,"}')
    assert store.look(nonce) == Standing(Outcome.REPLAYED)
    for lease in (None, LONG):
        assert store.redeem(nonce, request=new_request(), lease=lease) == Redemption(Outcome.REPLAYED)


def test_the_same_request_has_one_use_however_often_it_asks(store: NonceStore) -> None:
    nonce, first, second = recorded(store, 2, "on-attempt"), new_request(), new_request()
    assert [outcome(store, nonce, first) for _ in range(3)] == [Outcome.SPENT] * 3
    assert [outcome(store, nonce, second) for _ in range(3)] == [Outcome.SPENT] * 3
    assert outcome(store, nonce) is Outcome.REPLAYED
    assert outcome(store, nonce, first) is Outcome.SPENT


def test_each_use_has_a_result_of_its_own(store: NonceStore) -> None:
    nonce, requests = recorded(store, 3, "on-attempt", grant="g,:C"), [new_request() for _ in range(3)]
    for request in requests:
        store.redeem(nonce, request=request)
    for number, request in enumerate(requests):
        store.finish(nonce, request=request, result=f"L1,2:{number}:ä")
        store.finish(nonce, request=request, result="later")
    store.finish(nonce, request=new_request(), result="somebody else's")
    for number, request in enumerate(requests):
        assert store.redeem(nonce, request=request) == Redemption(Outcome.FINISHED, result=f"L1,2:{number}:ä")


def test_a_grant_and_results_may_hold_any_text(store: NonceStore) -> None:
    grant, result = "M:x:2,a,9,:\r\n\0\U0001f600", "\0:,\r\nL1,1:\U0001f600"
    nonce, request = recorded(store, 2, "on-attempt", grant), new_request()
    assert store.redeem(nonce, request=request).grant == grant
    store.finish(nonce, request=request, result=result)
    assert store.redeem(nonce, request=request).result == result
    assert store.redeem(nonce, request=new_request()).grant == grant


def test_what_is_revoked_has_no_uses_left_and_keeps_those_that_were_had(store: NonceStore) -> None:
    nonce, had = recorded(store, 3, "on-attempt"), new_request()
    store.redeem(nonce, request=had)
    assert [store.revoke(nonce, actor=actor) for actor in ("ops:1,2", "another", "")] == [Outcome.REVOKED] * 3
    assert outcome(store, nonce) is Outcome.REVOKED
    assert store.look(nonce) == Standing(Outcome.REVOKED)
    assert outcome(store, nonce, had) is Outcome.SPENT
    store.finish(nonce, request=had, result="file")
    assert store.redeem(nonce, request=had).result == "file"


@pytest.mark.parametrize("actor", ["", "ops"])
def test_who_revokes_may_have_any_name(store: NonceStore, actor: str) -> None:
    nonce = recorded(store, 2)
    assert store.revoke(nonce, actor=actor) is Outcome.REVOKED
    assert outcome(store, nonce) is Outcome.REVOKED


@pytest.mark.parametrize("spend", MODES)
def test_what_has_had_its_last_use_cannot_be_revoked(store: NonceStore, spend: SpendMode) -> None:
    nonce = recorded(store, 2, spend)
    for _ in range(2):
        store.redeem(nonce, request=new_request())
    assert store.revoke(nonce, actor="ops") is Outcome.REPLAYED


@pytest.mark.parametrize("spend", MODES)
def test_to_record_again_with_the_same_request_is_to_have_recorded_and_gives_nothing_back(
    store: NonceStore, spend: SpendMode
) -> None:
    nonce, recorder = new_nonce(), new_request()
    for _ in range(3):
        assert store.record(nonce, grant="g", until=soon(), request=recorder, uses=Uses(2, spend)).recorded
        store.redeem(nonce, request=new_request())
    assert outcome(store, nonce) is Outcome.REPLAYED
    assert not store.record(nonce, grant="g", until=soon(), request=new_request(), uses=Uses(2, spend)).recorded
    assert outcome(store, nonce) is Outcome.REPLAYED


def test_a_batch_has_as_many_uses_each(store: NonceStore) -> None:
    nonces, request = new_nonces(3), new_request()
    for _ in range(2):
        assert record_all(store, nonces, request=request, uses=Uses(2)).recorded
    for nonce in nonces:
        outcomes = [store.redeem(nonce, request=new_request()) for _ in range(3)]
        assert outcomes == [Redemption(Outcome.SPENT, "g")] * 2 + [Redemption(Outcome.REPLAYED)]


@pytest.mark.parametrize("count", [0, -1, MOST_USES + 1])
def test_there_is_a_bound(count: int) -> None:
    Uses(1), Uses(MOST_USES)
    with pytest.raises(ValueError, match="from 1 to 100"):
        Uses(count)


# Claims


def test_a_claim_is_a_yes_for_its_request_and_a_wait_for_others(store: NonceStore) -> None:
    nonce, request = recorded(store, grant="g:1"), new_request()
    assert [store.redeem(nonce, request=request, lease=LONG) for _ in range(2)] == [
        Redemption(Outcome.CLAIMED, grant="g:1")
    ] * 2
    waiting = store.redeem(nonce, request=new_request(), lease=LONG)
    assert (waiting.outcome, waiting.grant) == (Outcome.HELD, "")
    assert LONG - 30 < waiting.retry_after <= LONG
    assert outcome(store, nonce, lease=None) is Outcome.HELD
    assert store.look(nonce) == Standing(Outcome.HELD)


def test_a_claim_that_is_committed_is_spent(store: NonceStore) -> None:
    nonce = recorded(store)
    request = claimed(store, nonce)
    assert [store.commit(nonce, request=request) for _ in range(2)] == [Outcome.SPENT] * 2
    assert outcome(store, nonce) is Outcome.REPLAYED
    assert store.redeem(nonce, request=request, lease=LONG) == Redemption(Outcome.SPENT, grant="g")
    store.finish(nonce, request=request, result="file")
    assert store.commit(nonce, request=request) is Outcome.SPENT
    assert store.redeem(nonce, request=request, lease=LONG) == Redemption(Outcome.FINISHED, result="file")


def test_a_claim_that_is_released_is_free_for_anybody(store: NonceStore) -> None:
    nonce = recorded(store, grant="g:1")
    first = claimed(store, nonce)
    for _ in range(2):
        store.release(nonce, request=first)
    assert store.look(nonce) == Standing(None, "g:1", 1)
    second = claimed(store, nonce)
    store.release(nonce, request=first)
    assert outcome(store, nonce, first) is Outcome.HELD
    store.release(nonce, request=second)
    assert outcome(store, nonce, first) is Outcome.CLAIMED


@pytest.mark.parametrize("done", [False, True])
def test_what_is_spent_is_never_released(store: NonceStore, done: bool) -> None:
    """Whoever asks: the request that spent it, another, and the one that recorded it."""
    nonce, recorder = new_nonce(), new_request()
    store.record(nonce, grant="g", until=soon(), request=recorder, uses=Uses(1, "on-success"))
    request = claimed(store, nonce)
    store.commit(nonce, request=request)
    if done:
        store.finish(nonce, request=request, result="file")
    for one in (request, recorder, new_request()):
        store.release(nonce, request=one)
        assert outcome(store, nonce) is Outcome.REPLAYED


@pytest.mark.parametrize("uses", [Uses(), Uses(2)])
def test_what_the_attempt_spends_is_not_claimed_nor_released(store: NonceStore, uses: Uses) -> None:
    nonce, request = new_nonce(), new_request()
    store.record(nonce, grant="g", until=soon(), request=new_request(), uses=uses)
    for _ in range(uses.count):
        assert outcome(store, nonce, request) is Outcome.SPENT
        store.release(nonce, request=request)
        assert outcome(store, nonce, request) is Outcome.SPENT
        request = new_request()
    assert outcome(store, nonce) is Outcome.REPLAYED


def test_without_a_lease_a_use_is_spent_at_once_a_claimed_one_too(store: NonceStore) -> None:
    nonce = recorded(store, 2)
    assert outcome(store, nonce, lease=None) is Outcome.SPENT
    request = claimed(store, nonce)
    assert outcome(store, nonce, request, lease=None) is Outcome.SPENT
    store.release(nonce, request=request)
    assert outcome(store, nonce) is Outcome.REPLAYED


def test_only_the_request_that_has_a_claim_commits_finishes_or_releases_it(store: NonceStore) -> None:
    nonce = recorded(store)
    request, other = claimed(store, nonce), new_request()
    assert store.commit(nonce, request=other) is Outcome.HELD
    store.release(nonce, request=other)
    store.finish(nonce, request=other, result="file")
    assert outcome(store, nonce) is Outcome.HELD
    store.finish(nonce, request=request, result="too early")
    assert store.commit(nonce, request=request) is Outcome.SPENT
    assert store.redeem(nonce, request=request).result == ""


def test_a_claim_that_was_given_back_is_not_committed_any_more(store: NonceStore) -> None:
    """A commit that comes late, on another connection, must not take what its request has been told is free."""
    nonce = recorded(store)
    request = claimed(store, nonce)
    store.release(nonce, request=request)
    assert store.commit(nonce, request=request) is Outcome.HELD
    assert outcome(store, nonce) is Outcome.CLAIMED


# The end of a lease


def test_a_claim_is_free_for_another_when_its_lease_has_ended_and_not_before(store: NonceStore) -> None:
    nonce, began = recorded(store), time.monotonic()
    claimed(store, nonce, lease=1)
    while outcome(store, nonce) is Outcome.HELD:
        assert time.monotonic() - began < 30
        time.sleep(0.01)
    assert time.monotonic() - began >= 0.99
    assert outcome(store, nonce) is Outcome.HELD


def test_a_late_commit_is_taken_if_nobody_else_has_claimed_it(store: NonceStore) -> None:
    nonce = recorded(store)
    request = claimed(store, nonce, lease=OVER)
    assert store.look(nonce) == Standing(None, "g", 1)
    assert store.commit(nonce, request=request) is Outcome.SPENT
    assert outcome(store, nonce) is Outcome.REPLAYED


@pytest.mark.parametrize("then", ["claimed", "committed", "released", "over"])
def test_a_late_commit_is_refused_if_another_has_claimed_it(store: NonceStore, then: str) -> None:
    """Whatever has become of the other: this one's claim is gone."""
    nonce = recorded(store)
    late = claimed(store, nonce, lease=OVER)
    other = claimed(store, nonce, lease=OVER if then == "over" else LONG)
    if then == "committed":
        store.commit(nonce, request=other)
    if then == "released":
        store.release(nonce, request=other)
    assert store.commit(nonce, request=late) is (Outcome.REPLAYED if then == "committed" else Outcome.HELD)
    store.release(nonce, request=late)
    assert store.commit(nonce, request=other) is (Outcome.HELD if then == "released" else Outcome.SPENT)


def test_to_claim_again_with_the_same_request_begins_the_lease_anew(store: NonceStore) -> None:
    nonce = recorded(store)
    request = claimed(store, nonce, lease=OVER)
    assert outcome(store, nonce, request) is Outcome.CLAIMED
    assert outcome(store, nonce) is Outcome.HELD


def test_of_several_claims_the_one_that_ended_first_makes_room(store: NonceStore) -> None:
    """And none does while there is a free use."""
    nonce = recorded(store, 3)
    kept, first = claimed(store, nonce), claimed(store, nonce, lease=OVER)
    second = claimed(store, nonce, lease=OVER)
    claimed(store, nonce)
    assert store.commit(nonce, request=first) is Outcome.HELD
    assert store.commit(nonce, request=second) is Outcome.SPENT
    assert store.commit(nonce, request=kept) is Outcome.SPENT
    assert outcome(store, nonce) is Outcome.HELD


def test_claims_and_spent_uses_are_together_no_more_than_there_are(store: NonceStore) -> None:
    nonce = recorded(store, 3)
    spent, first, second = (claimed(store, nonce) for _ in range(3))
    store.commit(nonce, request=spent)
    assert outcome(store, nonce) is Outcome.HELD
    store.release(nonce, request=first)
    assert store.look(nonce) == Standing(None, "g", 1)
    third = claimed(store, nonce)
    assert [store.commit(nonce, request=one) for one in (second, third, first)] == [
        Outcome.SPENT,
        Outcome.SPENT,
        Outcome.REPLAYED,
    ]


def test_what_is_revoked_while_it_is_claimed_is_not_committed(store: NonceStore) -> None:
    nonce = recorded(store)
    request = claimed(store, nonce)
    assert store.revoke(nonce, actor="ops") is Outcome.REVOKED
    assert store.commit(nonce, request=request) is Outcome.REVOKED
    assert outcome(store, nonce, request) is Outcome.REVOKED
    store.release(nonce, request=request)
    assert outcome(store, nonce) is Outcome.REVOKED


def test_to_commit_or_release_what_is_not_there_leaves_nothing_there(store: NonceStore) -> None:
    nonce, request = new_nonce(), new_request()
    assert store.commit(nonce, request=request) is Outcome.UNISSUED
    store.release(nonce, request=request)
    assert store.redeem(nonce, request=request, lease=LONG) == Redemption(Outcome.UNISSUED)


def test_to_commit_what_has_no_claims_spends_nothing(store: NonceStore) -> None:
    issued, revoked, request = new_nonce(), new_nonce(), new_request()
    for nonce in (issued, revoked):
        store.record(nonce, grant="g", until=soon(), request=request)
    store.revoke(revoked, actor="ops")
    assert store.commit(issued, request=request) is Outcome.REPLAYED
    assert store.commit(revoked, request=request) is Outcome.REVOKED
    assert outcome(store, issued) is Outcome.SPENT


@pytest.mark.parametrize("lease", [-1, 10**10])
def test_a_lease_that_is_none_is_an_error_of_the_caller(store: NonceStore, lease: int) -> None:
    with pytest.raises(ValueError, match="lease"):
        store.redeem(new_nonce(), request=new_request(), lease=lease)
