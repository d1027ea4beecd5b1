"""A sibling Flask app's session cookie: whom it names, and what is none. The app is a real one."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import TimestampSigner, URLSafeTimedSerializer

from tests.support.callers import SiblingApp, cookie_in, refusal_of, request_with
from tokensvc.adapters.callers.session import MAX_AGE_SECONDS, FlaskSession
from tokensvc.core.callers import Caller
from tokensvc.core.keys import Secret

NOW = 1_790_000_000
OLD_KEY, NEW_KEY, OTHER_KEY = "old-key-0123456789abcdef", "new-key-0123456789abcdef", "other-key-0123456789abcdef"
FORGED, TOO_OLD = "The session cookie is not genuine.", "The session cookie is too old."


def source_of(*keys: str, **options: Any) -> FlaskSession:
    return FlaskSession("web", [Secret(key) for key in keys or (NEW_KEY,)], clock=lambda: NOW, **options)


def at(second: int) -> time_machine.travel:
    return time_machine.travel(datetime.fromtimestamp(second, UTC), tick=False)


def signed_in(*, app: SiblingApp | None = None, when: int = NOW, **entries: Any) -> str:
    with at(when):
        return (app or SiblingApp(NEW_KEY)).sign_in(**entries)


@pytest.mark.parametrize(
    ("user", "subject"),
    [
        ("u1", "u1"),
        (7, "7"),
        (0, "0"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("José", "José"),
        ("x" * 128, "x" * 128),
    ],
)
def test_the_entry_of_the_session_names_the_caller(user: object, subject: str) -> None:
    assert source_of().identify(cookie_in(signed_in(user_id=user))) == Caller("web", subject)


def test_the_entry_and_the_cookie_are_those_configured() -> None:
    cookie = signed_in(app=SiblingApp(NEW_KEY, cookie="shop"), sub="u1", user_id="u2")
    source = source_of(cookie="shop", subject="sub")
    assert source.identify(cookie_in(cookie, "shop")) == Caller("web", "u1")
    assert source.identify(cookie_in(cookie, "session")) is None


def test_a_large_session_is_compressed_and_read() -> None:
    cookie = signed_in(user_id="u1", basket=["the same thing"] * 200)
    assert cookie.startswith(".")
    assert source_of().identify(cookie_in(cookie)) == Caller("web", "u1")


def test_further_entries_are_claims_only_if_configured() -> None:
    cookie = signed_in(user_id="u1", team="blue", floor=3, csrf_token="c")
    assert source_of(claims=["team", "floor", "absent"]).identify(cookie_in(cookie)) == Caller(
        "web", "u1", claims={"team": "blue", "floor": "3"}
    )


def test_a_claim_that_is_no_text_is_refused() -> None:
    cookie = signed_in(user_id="u1", team=["blue"])
    assert refusal_of(source_of(claims=["team"]), cookie_in(cookie)) == (
        "The session's team is neither a text nor a number."
    )


@pytest.mark.parametrize("entries", [{"basket": 1}, {"user_id": None}, {"user_id": ""}])
def test_the_session_of_a_visitor_who_is_not_signed_in_is_no_evidence(entries: dict[str, Any]) -> None:
    assert source_of().identify(cookie_in(signed_in(**entries))) is None


def test_no_cookie_and_an_empty_one_are_no_evidence() -> None:
    assert source_of().identify(request_with()) is None
    assert source_of().identify(cookie_in("")) is None
    assert source_of().identify(cookie_in(signed_in(user_id="u1"), "session2")) is None


@pytest.mark.parametrize(
    "user", [True, False, 1.5, ["u1"], ("u1",), {"id": "u1"}, b"u1", datetime(2026, 1, 1, tzinfo=UTC)]
)
def test_an_entry_that_is_neither_text_nor_number_is_refused(user: object) -> None:
    assert refusal_of(source_of(), cookie_in(signed_in(user_id=user))) == (
        "The session's user_id is neither a text nor a number."
    )


@pytest.mark.parametrize("user", ["x" * 129, "u\n1", "u\0", " u1", "u1 ", "\u202eu"])
def test_a_name_that_cannot_be_used_is_refused(user: str) -> None:
    assert refusal_of(source_of(), cookie_in(signed_in(user_id=user))) == "The caller's name cannot be used."


def test_a_session_that_is_no_table_is_refused() -> None:
    app = SiblingApp(NEW_KEY).app
    interface = app.session_interface
    assert isinstance(interface, SecureCookieSessionInterface)
    serializer = interface.get_signing_serializer(app)
    assert serializer is not None
    with at(NOW):
        cookie = serializer.dumps(["user_id"])
    assert "neither" in refusal_of(source_of(), cookie_in(cookie))


def test_after_the_key_was_rotated_old_and_new_sessions_are_accepted() -> None:
    """As the app itself does it: SECRET_KEY is new, and the old one is among SECRET_KEY_FALLBACKS."""
    before, after = SiblingApp(OLD_KEY), SiblingApp(NEW_KEY, fallbacks=[OLD_KEY])
    old, new = signed_in(app=before, user_id="u1"), signed_in(app=after, user_id="u2")
    with at(NOW):
        assert after.knows(old)
        assert after.knows(new)
    rotated = source_of(NEW_KEY, OLD_KEY)
    assert rotated.identify(cookie_in(old)) == Caller("web", "u1")
    assert rotated.identify(cookie_in(new)) == Caller("web", "u2")


def test_when_the_old_key_is_gone_its_sessions_are_refused() -> None:
    old = signed_in(app=SiblingApp(OLD_KEY), user_id="u1")
    with at(NOW):
        assert not SiblingApp(NEW_KEY).knows(old)
    assert refusal_of(source_of(NEW_KEY), cookie_in(old)) == FORGED


def forgeries() -> dict[str, str]:
    good = signed_in(user_id="u1")
    payload, stamp, signature = good.rsplit(".", 2)
    other, _, _ = signed_in(user_id="admin").rsplit(".", 2)
    _, later, _ = signed_in(when=NOW + 1, user_id="u1").rsplit(".", 2)
    return {
        "another user": f"{other}.{stamp}.{signature}",
        "another time": f"{payload}.{later}.{signature}",
        "another signature": f"{payload}.{stamp}.{'A' * len(signature)}",
        "no signature": f"{payload}.{stamp}.",
        "no time": f"{payload}.{signature}",
        "only a payload": payload,
        "bare JSON": '{"user_id":"u1"}',
        "cut": good[:-1],
        "a longer one": good + "A",
        "a line break": good + "%0A",
        "not ASCII": good + "é",
        "quoted": f'"{good}\\054"',
        "huge": good + "A" * 9000,
        "a dot": ".",
        "another key": signed_in(app=SiblingApp(OTHER_KEY), user_id="u1"),
        "another purpose": URLSafeTimedSerializer(NEW_KEY, salt="cookie").dumps({"user_id": "u1"}),
        "two joined": f"{good},{good}",
    }


@pytest.mark.parametrize("name", forgeries())
def test_a_forged_session_is_refused(name: str) -> None:
    assert refusal_of(source_of(), cookie_in(forgeries()[name])) == FORGED


def test_a_session_signed_at_a_time_that_is_in_no_calendar_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: 10**15)
    cookie = SiblingApp(NEW_KEY).sign_in(user_id="u1")
    assert refusal_of(source_of(), cookie_in(cookie)) == FORGED


@pytest.mark.parametrize("max_age", [60, MAX_AGE_SECONDS])
def test_a_session_is_good_until_it_is_older_than_its_longest_age(max_age: int) -> None:
    source = source_of(max_age=max_age)
    last, late = (signed_in(when=NOW - age, user_id="u1") for age in (max_age, max_age + 1))
    assert source.identify(cookie_in(last)) == Caller("web", "u1")
    assert refusal_of(source, cookie_in(late)) == TOO_OLD


def test_the_longest_age_is_flasks_own() -> None:
    assert SiblingApp(NEW_KEY).app.permanent_session_lifetime.total_seconds() == MAX_AGE_SECONDS


def test_a_clock_that_is_a_little_ahead_is_forgiven() -> None:
    ahead, too_far = (signed_in(when=NOW + seconds, user_id="u1") for seconds in (5, 6))
    assert source_of().identify(cookie_in(ahead)) == Caller("web", "u1")
    assert refusal_of(source_of(), cookie_in(too_far)) == "The session cookie is from the future."


def test_two_cookies_of_that_name_are_refused_unless_they_are_the_same() -> None:
    own, planted = signed_in(user_id="u1"), signed_in(user_id="u2")
    for first, second in ((own, planted), (planted, own), (own, ""), ("", own), (own, "x")):
        shown = request_with(("Cookie", f"a=b; session={first};session={second}"))
        assert refusal_of(source_of(), shown) == "The cookie session comes twice, with different values."
    shown = request_with(("Cookie", f"session={own}; session2=x; session={own}"))
    assert source_of().identify(shown) == Caller("web", "u1")


@pytest.mark.parametrize("keys", [[], [""], [NEW_KEY, ""]])
def test_a_source_without_a_key_is_a_fault(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="SECRET_KEY"):
        FlaskSession("web", [Secret(key) for key in keys], clock=lambda: NOW)
