"""What we assume of itsdangerous, which signs the demo's cookie."""

from __future__ import annotations

import datetime as dt
import string

import pytest
import time_machine
from hypothesis import given, settings
from hypothesis import strategies as st
from itsdangerous import BadData, BadSignature, BadTimeSignature, SignatureExpired, URLSafeTimedSerializer

KEY = "k" * 40
BEGIN = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
COOKIE_LETTERS = string.ascii_letters + string.digits + "-_."


def serializer(key: str = KEY, salt: str = "a purpose") -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(key, salt=salt)


def test_the_salt_keeps_purposes_apart() -> None:
    text = serializer().dumps("demo")
    assert serializer().loads(text) == "demo"
    for other in (serializer(salt="another purpose"), serializer(key="K" * 40)):
        with pytest.raises(BadSignature):
            other.loads(text)


@pytest.mark.parametrize(("age", "good"), [(0, True), (60, True), (61, False)])
def test_the_greatest_age_is_included(age: int, *, good: bool) -> None:
    with time_machine.travel(BEGIN, tick=False) as clock:
        text = serializer().dumps("demo")
        clock.shift(age)
        if good:
            assert serializer().loads(text, max_age=60) == "demo"
        else:
            with pytest.raises(SignatureExpired):
                serializer().loads(text, max_age=60)


def test_what_is_from_the_future_is_refused() -> None:
    with time_machine.travel(BEGIN, tick=False) as clock:
        text = serializer().dumps("demo")
        clock.shift(-1)
        with pytest.raises(SignatureExpired):
            serializer().loads(text, max_age=60)


def test_without_a_greatest_age_nothing_is_too_old() -> None:
    """`max_age` is not optional in any call of ours."""
    with time_machine.travel(BEGIN, tick=False) as clock:
        text = serializer().dumps("demo")
        clock.shift(10**9)
        assert serializer().loads(text) == "demo"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text(COOKIE_LETTERS, max_size=60))
def test_whatever_was_not_signed_is_a_bad_signature(text: str) -> None:
    """The demo's sign-in catches no other error, though there is one above it."""
    with pytest.raises(BadSignature):
        serializer().loads(text, max_age=60)
    assert issubclass(SignatureExpired, BadTimeSignature)
    assert issubclass(BadTimeSignature, BadSignature)
    assert issubclass(BadSignature, BadData)


def test_one_signature_has_several_spellings() -> None:
    """So its text is never the name under which something is kept: four last characters, and padding, are one."""
    text = serializer().dumps("demo")
    letters = string.ascii_letters + string.digits + "-_"
    spellings = [text[:-1] + last for last in letters] + [text + "=", text[:-1] + "=="]
    accepted = []
    for spelling in spellings:
        try:
            serializer().loads(spelling, max_age=60)
        except BadSignature:
            continue
        accepted.append(spelling)
    assert len(accepted) > 1
    assert text in accepted


def test_the_payload_is_not_encrypted() -> None:
    """Nothing secret may be put into a cookie."""
    assert serializer().dumps("demo").startswith("ImRlbW8i.")
