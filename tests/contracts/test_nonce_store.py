"""`ports.NonceStore`, over every adapter: what each verb answers in each state, and that a repeated call is harmless.

The waiting store runs as a user who may do nothing but what `APP_RIGHTS` says.
"""

from __future__ import annotations

import time

import pytest

from tests.support.nonces import new_nonce, new_request, soon
from tokensvc.core.grants import GrantNote
from tokensvc.core.uses import Uses
from tokensvc.core.watermarks import Origin, Watermark
from tokensvc.ports import NonceStore, Outcome, Redemption, Standing


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


@pytest.mark.parametrize("uses", [Uses(), Uses(2)], ids=["once", "twice"])
@pytest.mark.parametrize("ending", ["spent", "finished", "revoked"])
def test_what_is_refused_says_for_whom_it_was_issued(store: NonceStore, ending: str, uses: Uses) -> None:
    """Which is for the log: two answers that differ in it alone are the same."""
    nonce, request, grant = new_nonce(), new_request(), "3:for:u1"
    store.record(nonce, grant=grant, until=soon(), request=new_request(), uses=uses)
    if ending == "revoked":
        store.revoke(nonce, actor="ops:1")
    else:
        for _ in range(uses.count):
            store.redeem(nonce, request=(request := new_request()))
    if ending == "finished":
        store.finish(nonce, request=request, result="4:file")
        finished = store.redeem(nonce, request=request)
        assert finished == Redemption(Outcome.FINISHED, result="4:file")
        assert finished.on_record == grant
    refused = store.redeem(nonce, request=new_request())
    assert refused == Redemption(Outcome.REVOKED if ending == "revoked" else Outcome.REPLAYED)
    assert refused.on_record == grant


def test_what_is_held_says_for_whom_it_was_issued(store: NonceStore) -> None:
    nonce = new_nonce()
    store.record(nonce, grant="3:for:u1", until=soon(), request=new_request(), uses=Uses(1, "on-success"))
    store.redeem(nonce, request=new_request(), lease=60)
    held = store.redeem(nonce, request=new_request(), lease=60)
    assert (held.outcome, held.on_record) == (Outcome.HELD, "3:for:u1")


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


def a_grant(
    subject: str, issued_at: int, *, source: str = "web", profile: str = "default", account: str = "default"
) -> str:
    return GrantNote(account, profile, source, subject, issued_at).to_text()


@pytest.mark.parametrize("scope", ["subject", "subject of a source", "profile", "account"])
def test_what_was_issued_before_a_watermark_is_refused_and_what_was_issued_in_its_second_is_not(
    store: NonceStore, scope: str
) -> None:
    """By the time on record, whatever the credential says of it."""
    name, now = new_request(), int(time.time())
    subject, profile, account = (name if scope.startswith(each) else "other" for each in ("subject", "profile", "acc"))
    marks: dict[str, Watermark] = {
        "subject": Watermark("subject", name, now),
        "subject of a source": Watermark("subject", name, now, "web"),
        "profile": Watermark("profile", name, now),
        "account": Watermark("account", name, now),
    }
    origin = Origin(account, now + 5)
    earlier, later = new_nonce(), new_nonce()
    for nonce, issued_at in ((earlier, now - 1), (later, now)):
        grant = a_grant(subject, issued_at, profile=profile, account=account)
        store.record(nonce, grant=grant, until=soon(), request=new_request())
    assert store.look(earlier, origin=origin).refused is None
    store.revoke_before(marks[scope])
    assert store.look(earlier, origin=origin) == Standing(Outcome.REVOKED)
    assert store.look(later, origin=origin).refused is None
    assert store.redeem(earlier, request=new_request(), origin=origin) == Redemption(Outcome.REVOKED)
    assert store.redeem(later, request=new_request(), origin=origin).outcome is Outcome.SPENT
    assert store.revoke(earlier, actor="ops") is Outcome.REVOKED


def test_a_watermark_concerns_nobody_else(store: NonceStore) -> None:
    """A name is one in its scope and with its source only, wherever the parts of it end."""
    name, now = new_request(), int(time.time()) + 60
    for mark in (
        Watermark("subject", name, now, "web"),
        Watermark("subject", f"{name}2", now),
        Watermark("profile", f"{name}3", now),
        Watermark("account", f"{name}4", now),
        Watermark("subject", f"b{name}", now, "a"),
    ):
        store.revoke_before(mark)
    for source, subject, profile, account in (
        ("mobile", name, "default", "default"),
        ("web", f"{name}3", "default", "default"),
        ("web", f"{name}4", f"{name}2", "default"),
        (name, "web", "default", f"{name}3"),
        ("ab", name, f"{name}4", name),
    ):
        nonce = new_nonce()
        grant = a_grant(subject, now - 60, source=source, profile=profile, account=account)
        store.record(nonce, grant=grant, until=soon(), request=new_request())
        assert store.redeem(nonce, request=new_request()).outcome is Outcome.SPENT


def test_uses_that_are_left_and_claims_that_are_not_committed_are_revoked_too(store: NonceStore) -> None:
    """What is spent stays spent, and what is all spent is not called revoked."""
    name, now, first, second = new_request(), int(time.time()), new_request(), new_request()
    several, claimed, used_up = new_nonce(), new_nonce(), new_nonce()
    for nonce, uses in ((several, Uses(2)), (claimed, Uses(2, "on-success")), (used_up, Uses(2))):
        store.record(nonce, grant=a_grant(name, now - 1), until=soon(), request=new_request(), uses=uses)
    assert store.redeem(several, request=first).outcome is Outcome.SPENT
    assert store.redeem(claimed, request=first, lease=600).outcome is Outcome.CLAIMED
    assert store.commit(claimed, request=first) is Outcome.SPENT
    assert store.redeem(claimed, request=second, lease=600).outcome is Outcome.CLAIMED
    assert [store.redeem(used_up, request=new_request()).outcome for _ in range(2)] == [Outcome.SPENT] * 2
    store.revoke_before(Watermark("subject", name, now))
    assert store.redeem(several, request=new_request()).outcome is Outcome.REVOKED
    assert store.redeem(several, request=first).outcome is Outcome.SPENT
    assert store.commit(claimed, request=first) is Outcome.SPENT
    assert store.commit(claimed, request=second) is Outcome.REVOKED
    assert store.redeem(claimed, request=second, lease=600).outcome is Outcome.REVOKED
    assert store.redeem(used_up, request=new_request()).outcome is Outcome.REPLAYED
    standings = [store.look(nonce).refused for nonce in (several, claimed, used_up)]
    assert standings == [Outcome.REVOKED, Outcome.REVOKED, Outcome.REPLAYED]


def test_a_watermark_only_rises(store: NonceStore) -> None:
    name, now = new_request(), int(time.time())
    for second in (now, now - 100):
        store.revoke_before(Watermark("subject", name, second))
    nonce = new_nonce()
    store.record(nonce, grant=a_grant(name, now - 1), until=soon(), request=new_request())
    assert store.redeem(nonce, request=new_request()).outcome is Outcome.REVOKED
    store.revoke_before(Watermark("subject", name, now + 10))
    nonce = new_nonce()
    store.record(nonce, grant=a_grant(name, now + 9), until=soon(), request=new_request())
    assert store.redeem(nonce, request=new_request()).outcome is Outcome.REVOKED


def test_what_was_spent_before_a_watermark_stays_spent(store: NonceStore) -> None:
    """And the request that spent it is answered alike again."""
    name, now, nonce, request = new_request(), int(time.time()), new_nonce(), new_request()
    grant = a_grant(name, now - 1)
    store.record(nonce, grant=grant, until=soon(), request=new_request())
    store.redeem(nonce, request=request)
    store.revoke_before(Watermark("subject", name, now))
    assert store.redeem(nonce, request=request) == Redemption(Outcome.SPENT, grant=grant)
    assert store.redeem(nonce, request=new_request()).outcome is Outcome.REPLAYED
    assert store.look(nonce) == Standing(Outcome.REPLAYED)


def test_what_is_recorded_after_a_watermark_with_an_earlier_time_of_issue_is_revoked(store: NonceStore) -> None:
    """It was decided before: the answer of who revoked was not waited for."""
    name, now, nonce = new_request(), int(time.time()), new_nonce()
    store.revoke_before(Watermark("profile", name, now))
    store.record(nonce, grant=a_grant("u", now - 1, profile=name), until=soon(), request=new_request())
    assert store.redeem(nonce, request=new_request()).outcome is Outcome.REVOKED


def test_an_unknown_one_is_held_to_its_accounts_watermark_by_what_it_says(store: NonceStore) -> None:
    """And by no other: whom it was issued to is not known. Without an origin it is not a credential at all."""
    account, now = new_request(), int(time.time())
    store.revoke_before(Watermark("account", account, now))
    earlier, later = Origin(account, now - 1), Origin(account, now)
    nonce = new_nonce()
    assert store.look(nonce, origin=earlier) == Standing(Outcome.UNISSUED)
    assert store.look(nonce, origin=earlier, cross_off=True) == Standing(Outcome.REVOKED)
    assert store.look(nonce, origin=later, cross_off=True) == Standing(None, "", 1)
    assert store.redeem(nonce, request=new_request(), origin=earlier).outcome is Outcome.UNISSUED
    refused = store.redeem(nonce, request=new_request(), origin=earlier, cross_off_until=soon())
    assert refused == Redemption(Outcome.REVOKED)
    taken = store.redeem(nonce, request=new_request(), origin=later, cross_off_until=soon())
    assert taken == Redemption(Outcome.SPENT)
    ticket = store.redeem(new_nonce(), request=new_request(), cross_off_until=soon())
    assert ticket == Redemption(Outcome.SPENT)
