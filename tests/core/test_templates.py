from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokensvc.core.callers import Caller
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.templates import compile_template, fill, values_for

from .conftest import NOW

CALLER = Caller("web", "u1", claims={"org": "acme", "https://id.example/team": "t-2", "empty": "", "odd": "a/b"})


def filled(text: str, caller: Caller = CALLER, now: int = NOW) -> str:
    return fill(compile_template(text), values_for(caller, now, "folder"))


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", ""),
        ("/users", "/users"),
        ("/users/{subject}", "/users/u1"),
        ("{subject}", "u1"),
        ("/{claims.org}/{subject}/x", "/acme/u1/x"),
        ("/{claims.https://id.example/team}", "/t-2"),
        ("/{date}", "/2023-11-14"),
        ("/{date}{subject}", "/2023-11-14u1"),
        ('{{"by":"{subject}"}}', '{"by":"u1"}'),
        ("{{subject}}", "{subject}"),
        ("{{{subject}}}", "{u1}"),
    ],
)
def test_places_are_filled_and_double_braces_are_braces(text: str, result: str) -> None:
    assert filled(text) == result


@pytest.mark.parametrize(("now", "day"), [(1_699_999_999, "2023-11-14"), (1_700_006_399, "2023-11-14")])
def test_the_date_is_that_of_utc(now: int, day: str) -> None:
    assert filled("{date}", now=now) == day
    assert filled("{date}", now=1_700_006_400) == "2023-11-15"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{user}", "not known"),
        ("{}", "not known"),
        ("{ subject }", "not known"),
        ("{Subject}", "not known"),
        ("{claims}", "not known"),
        ("{claims.}", "not known"),
        ("{claims.a b}", "not known"),
        ("{subject.__class__}", "not known"),
        ("{subject!r}", "not known"),
        ("{", "stands alone"),
        ("a}", "stands alone"),
        ("{subject", "stands alone"),
        ("{{subject}", "stands alone"),
    ],
)
def test_an_unknown_place_or_a_lone_brace_is_told_at_the_start(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compile_template(text)


@pytest.mark.parametrize(
    "text",
    [
        "{claims.org}{subject}",
        "{claims.org}-{subject}",
        "/{claims.org}_x1_{subject}",
        "/{claims.org}{date}{subject}",
        "{subject}{subject}",
    ],
)
def test_two_values_that_could_run_into_each_other_are_told_at_the_start(text: str) -> None:
    """`{claims.org}-{subject}` would be one folder for org a-b with subject c, and for org a with subject b-c."""
    with pytest.raises(ValueError, match="need a character between them"):
        compile_template(text)


@pytest.mark.parametrize("separator", ["/", ".", ",", " ", "-/-", "é", "{{"])
def test_two_values_may_stand_beside_a_character_that_none_can_hold(separator: str) -> None:
    assert compile_template(f"{{claims.org}}{separator}{{subject}}")


SAFE = st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True)


@given(st.tuples(SAFE, SAFE), st.tuples(SAFE, SAFE), st.sampled_from(["/", "-/", "/a", "-.-", ",", "1 "]))
def test_no_two_callers_are_given_the_same_text(one: tuple[str, str], two: tuple[str, str], between: str) -> None:
    def text(caller: tuple[str, str]) -> str:
        return filled(f"x{{claims.org}}{between}{{subject}}y", Caller("web", caller[1], claims={"org": caller[0]}))

    assert (text(one) == text(two)) == (one == two)


@pytest.mark.parametrize(
    "subject",
    [
        *("", "../x", "..", ".", "a/b", "/", "a b", "a.b", "u@x", "a%2fb", "a\\b", "a\0", "a\n", "\n", "é", "u\u0301"),
        *("１", "a{b}", "{subject}", "*", "a,b", "~", " u1", "u1 "),
    ],
)
def test_a_subject_that_is_not_path_safe_is_refused_and_not_rewritten(subject: str) -> None:
    with pytest.raises(Refusal) as refused:
        filled("/users/{subject}", Caller("web", subject))
    assert (refused.value.code, refused.value.field) == (Code.CALLER_FORBIDDEN, "folder")
    reason = "holds more than letters, digits, _ and -" if subject else "is missing or empty"
    assert refused.value.detail == f"folder is made with {{subject}}, and the caller's {reason}."


@pytest.mark.parametrize("subject", ["a", "-", "_", "A-z_0", "0" * 200])
def test_letters_digits_and_the_two_marks_are_path_safe(subject: str) -> None:
    assert filled("/users/{subject}", Caller("web", subject)) == f"/users/{subject}"


@pytest.mark.parametrize("claim", ["none", "empty", "odd"])
def test_a_claim_that_is_missing_empty_or_unsafe_is_refused_by_name(claim: str) -> None:
    with pytest.raises(Refusal) as refused:
        filled(f"/{{claims.{claim}}}")
    assert refused.value.code is Code.CALLER_FORBIDDEN
    assert f"{{claims.{claim}}}" in refused.value.detail
    assert "a/b" not in refused.value.detail
