"""`ports.NonceStore`, over every adapter: what each verb answers in each state, and that a repeated call is harmless.

The waiting store runs as a user who may do nothing but what `APP_RIGHTS` says.
"""

from __future__ import annotations

import pytest

from tests.support.nonces import new_nonce, new_request, soon
from tokensvc.ports import NonceStore, Outcome, Redemption


@pytest.fixture
def store(nonce_store: NonceStore) -> NonceStore:
    return nonce_store


def test_what_was_recorded_is_redeemed_once_with_its_grant(store: NonceStore) -> None:
    nonce = new_nonce()
    assert store.record(nonce, grant='{"folder":"/ä:b"}', until=soon(), request=new_request()).recorded is True
    assert store.redeem(nonce, request=new_request()) == Redemption(Outcome.SPENT, grant='{"folder":"/ä:b"}')
    assert store.redeem(nonce, request=new_request()) == Redemption(Outcome.REPLAYED)


def test_what_was_not_recorded_is_refused(store: NonceStore) -> None:
    assert store.redeem(new_nonce(), request=new_request()) == Redemption(Outcome.UNISSUED)


def test_an_empty_grant_is_a_grant(store: NonceStore) -> None:
    nonce = new_nonce()
    assert store.record(nonce, grant="", until=soon(), request=new_request()).recorded is True
    assert store.redeem(nonce, request=new_request()) == Redemption(Outcome.SPENT, grant="")


def test_a_grant_may_hold_any_text(store: NonceStore) -> None:
    nonce, grant = new_nonce(), "C:x:y:z\r\n\0*1\r\n$8\r\nFLUSHALL\r\n\U0001f600"
    assert store.record(nonce, grant=grant, until=soon(), request=new_request()).recorded is True
    assert store.redeem(nonce, request=new_request()).grant == grant


def test_one_nonce_is_recorded_once(store: NonceStore) -> None:
    """The second request is told so, and the first one's grant stays."""
    nonce = new_nonce()
    assert store.record(nonce, grant="first", until=soon(), request=new_request()).recorded is True
    assert store.record(nonce, grant="second", until=soon(), request=new_request()).recorded is False
    assert store.redeem(nonce, request=new_request()).grant == "first"


def test_to_record_again_with_the_same_request_is_to_have_recorded(store: NonceStore) -> None:
    nonce, request = new_nonce(), new_request()
    assert [store.record(nonce, grant="g", until=soon(), request=request).recorded for _ in range(3)] == [True] * 3


@pytest.mark.parametrize("ending", ["spent", "finished", "revoked"])
def test_record_leads_nothing_back_to_issued(store: NonceStore, ending: str) -> None:
    """Not even with the request that recorded it, or with the one that spent it."""
    nonce, recorder, redeemer = new_nonce(), new_request(), new_request()
    assert store.record(nonce, grant="g", until=soon(), request=recorder).recorded
    if ending == "revoked":
        assert store.revoke(nonce, actor="ops") is Outcome.REVOKED
    else:
        assert store.redeem(nonce, request=redeemer).outcome is Outcome.SPENT
    if ending == "finished":
        store.finish(nonce, request=redeemer, result="file")
    assert not store.record(nonce, grant="g", until=soon(), request=recorder).recorded
    assert not store.record(nonce, grant="g", until=soon(), request=redeemer).recorded
    refused = Outcome.REVOKED if ending == "revoked" else Outcome.REPLAYED
    assert store.redeem(nonce, request=new_request()) == Redemption(refused)


def test_to_redeem_again_with_the_same_request_is_answered_alike(store: NonceStore) -> None:
    nonce, request = new_nonce(), new_request()
    store.record(nonce, grant="g", until=soon(), request=new_request())
    answers = [store.redeem(nonce, request=request) for _ in range(3)]
    assert answers == [Redemption(Outcome.SPENT, grant="g")] * 3


def test_a_finished_redemption_answers_its_request_with_the_result_and_nobody_else(store: NonceStore) -> None:
    nonce, request = new_nonce(), new_request()
    store.record(nonce, grant="g", until=soon(), request=new_request())
    store.redeem(nonce, request=request)
    store.finish(nonce, request=request, result="file:1")
    store.finish(nonce, request=request, result="file:2")
    assert store.redeem(nonce, request=request) == Redemption(Outcome.FINISHED, result="file:1")
    assert store.redeem(nonce, request=new_request()) == Redemption(Outcome.REPLAYED)


def test_only_the_request_that_holds_a_redemption_finishes_it(store: NonceStore) -> None:
    nonce, request = new_nonce(), new_request()
    store.record(nonce, grant="g", until=soon(), request=new_request())
    store.redeem(nonce, request=request)
    store.finish(nonce, request=new_request(), result="somebody else's")
    assert store.redeem(nonce, request=request) == Redemption(Outcome.SPENT, grant="g")


def test_what_is_only_issued_cannot_be_finished(store: NonceStore) -> None:
    """Not even by the request that recorded it."""
    nonce, request = new_nonce(), new_request()
    store.record(nonce, grant="g", until=soon(), request=request)
    store.finish(nonce, request=request, result="file")
    assert store.redeem(nonce, request=new_request()) == Redemption(Outcome.SPENT, grant="g")


def test_to_finish_what_is_not_there_leaves_nothing_there(store: NonceStore) -> None:
    nonce, request = new_nonce(), new_request()
    store.finish(nonce, request=request, result="file")
    assert store.redeem(nonce, request=request) == Redemption(Outcome.UNISSUED)


def test_what_is_revoked_is_refused(store: NonceStore) -> None:
    """Also to the request that recorded it, whose id the record still carries."""
    nonce, recorder = new_nonce(), new_request()
    store.record(nonce, grant="g", until=soon(), request=recorder)
    assert [store.revoke(nonce, actor=actor) for actor in ("ops", "ops", "another")] == [Outcome.REVOKED] * 3
    assert store.redeem(nonce, request=new_request()) == Redemption(Outcome.REVOKED)
    assert store.redeem(nonce, request=recorder) == Redemption(Outcome.REVOKED)


def test_what_is_spent_cannot_be_revoked(store: NonceStore) -> None:
    nonce, request = new_nonce(), new_request()
    store.record(nonce, grant="g", until=soon(), request=new_request())
    store.redeem(nonce, request=request)
    assert store.revoke(nonce, actor="ops") is Outcome.REPLAYED
    store.finish(nonce, request=request, result="file")
    assert store.revoke(nonce, actor="ops") is Outcome.REPLAYED
    assert store.redeem(nonce, request=request) == Redemption(Outcome.FINISHED, result="file")


def test_to_revoke_what_is_not_there_says_so(store: NonceStore) -> None:
    nonce = new_nonce()
    assert store.revoke(nonce, actor="ops") is Outcome.UNISSUED
    assert store.record(nonce, grant="g", until=soon(), request=new_request()).recorded is True


def test_an_unknown_nonce_is_crossed_off_once(store: NonceStore) -> None:
    """With an empty grant; the same request is answered alike; afterwards it is replayed, asked either way."""
    nonce, request = new_nonce(), new_request()
    answers = [store.redeem(nonce, request=request, cross_off_until=soon()) for _ in range(2)]
    assert answers == [Redemption(Outcome.SPENT, grant="")] * 2
    assert store.redeem(nonce, request=new_request(), cross_off_until=soon()) == Redemption(Outcome.REPLAYED)
    assert store.redeem(nonce, request=new_request()) == Redemption(Outcome.REPLAYED)


def test_what_is_crossed_off_can_be_finished(store: NonceStore) -> None:
    nonce, request = new_nonce(), new_request()
    store.redeem(nonce, request=request, cross_off_until=soon())
    store.finish(nonce, request=request, result="file")
    again = store.redeem(nonce, request=request, cross_off_until=soon())
    assert again == Redemption(Outcome.FINISHED, result="file")


def test_a_nonce_on_record_is_redeemed_as_such_where_unknown_ones_are_crossed_off(store: NonceStore) -> None:
    nonce = new_nonce()
    store.record(nonce, grant="g", until=soon(), request=new_request())
    redemption = store.redeem(nonce, request=new_request(), cross_off_until=soon())
    assert redemption == Redemption(Outcome.SPENT, grant="g")


def test_a_revoked_nonce_is_not_crossed_off(store: NonceStore) -> None:
    nonce = new_nonce()
    store.record(nonce, grant="g", until=soon(), request=new_request())
    store.revoke(nonce, actor="ops")
    assert store.redeem(nonce, request=new_request(), cross_off_until=soon()) == Redemption(Outcome.REVOKED)


def test_a_store_that_answers_is_ready(store: NonceStore) -> None:
    store.ready()
