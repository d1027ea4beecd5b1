from __future__ import annotations

import time
from typing import Any

import pytest

from tokensvc.core.callers import Caller
from tokensvc.core.errors import Refusal
from tokensvc.core.rules import AllowAny, AllowGlob, AllowLength, AllowList, AllowPattern, compile_rule
from tokensvc.core.templates import values_for

from .conftest import NOW


def objection(spec: object, value: str, subject: str = "u1") -> str | None:
    return compile_rule(spec).objection(value, values_for(Caller("web", subject), NOW, "folder"))


@pytest.mark.parametrize(
    ("spec", "rule", "words"),
    [
        (True, AllowAny(), "anything"),
        (["a", "b"], AllowList(("a", "b")), "one of a, b"),
        ("a*", AllowGlob("a*"), "like a*"),
        ({"regex": "a+"}, AllowPattern("a+"), "whatever matches a+"),
        ({"max_length": 64}, AllowLength(64), "at most 64 characters"),
    ],
)
def test_each_way_to_write_a_rule(spec: object, rule: object, words: str) -> None:
    assert compile_rule(spec) == rule
    assert str(compile_rule(spec)) == words


@pytest.mark.parametrize(
    "spec",
    [
        *(False, None, 1, 1.5, [], "", [1], ["a", None], {}, {"regex": 1}, {"max_length": True}, {"max_length": "3"}),
        *(
            {"max_length": 0},
            {"max_length": 4097},
            {"regex": "a", "max_length": 3},
            {"glob": "a"},
            ["{user}"],
            "{user}",
        ),
    ],
)
def test_any_other_way_is_told_in_words(spec: object) -> None:
    with pytest.raises(ValueError, match=r"^[^<]{15,}$"):
        compile_rule(spec)


@pytest.mark.parametrize(
    ("spec", "good", "bad", "why"),
    [
        (
            ["summer", "dress"],
            ["summer", "dress"],
            ["Summer", "summer ", "", "summe", "summer,dress"],
            "is not one of summer, dress",
        ),
        ({"max_length": 3}, ["", "abc", "äöü"], ["abcd"], "has more than 3 characters"),
        ({"regex": "[a-z]+[.]jpg"}, ["a.jpg"], ["xa.jpg1", "A.jpg", "a.jpg\n", "/a.jpg", "a.jpg "], "does not match"),
        ({"regex": "a|ab"}, ["a", "ab"], ["abb", "b"], "does not match"),
        ({"regex": "^a$"}, ["a"], ["a\n", "ba"], "does not match"),
        ({"regex": "(?i)a"}, ["A", "a"], ["aa"], "does not match"),
    ],
)
def test_a_rule_holds_for_the_whole_value(spec: Any, good: list[str], bad: list[str], why: str) -> None:
    assert [value for value in good if objection(spec, value) is not None] == []
    assert [value for value in bad if not (objection(spec, value) or "").startswith(why)] == []


def test_a_long_list_is_quoted_in_part() -> None:
    assert objection([f"v{n}" for n in range(11)], "x") == f"is not one of {', '.join(f'v{n}' for n in range(10))}, …"


@pytest.mark.parametrize(
    ("glob", "good", "bad"),
    [
        ("*", ["", "a", "a.b"], ["/", "a/b", "/a"]),
        ("/users/*", ["/users/u1", "/users/"], ["/users", "/users/u1/x", "/users/u1/", "/admin", "x/users/u1"]),
        ("/users/*/in", ["/users/u1/in"], ["/users/u1/x/in", "/users/in"]),
        ("/users/**", ["/users", "/users/u1", "/users/u1/x/y"], ["/users2", "/", "/user", "/x/users/u1"]),
        ("/a/**/b", ["/a/b", "/a/x/b", "/a/x/y/b"], ["/a/xb", "/ab", "/a/x/b/c", "/a"]),
        ("/**", ["/", "/a", "/a/b", ""], ["a"]),
        ("**", ["", "/", "a", "/a/b"], []),
        ("a**z", ["az", "a/x/z"], ["bz"]),
        ("?.jpg", ["a.jpg", "é.jpg"], ["ab.jpg", ".jpg", "/.jpg"]),
        ("[a-c][!x].png", ["ab.png", "c-.png"], ["dx.png", "ax.png", "a/.png", "ab-png"]),
        ("[^0]", ["1"], ["0", "/", ""]),
        ("[]a]", ["]", "a"], ["b"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("[[]x[*][?]", ["[x*?"], ["[xab"]),
        ("a.b+(c)", ["a.b+(c)"], ["axb+(c)", "a.bb(c)"]),
        (r"a\*", [r"a\b"], ["a*"]),
        ("{{x}}", ["{x}"], ["x"]),
        ("写?", ["写真"], ["写"]),
    ],
)
def test_a_glob_keeps_to_its_level_unless_it_has_two_stars(glob: str, good: list[str], bad: list[str]) -> None:
    assert [value for value in good if objection(glob, value) is not None] == []
    assert [value for value in bad if objection(glob, value) != f"is not like {glob}"] == []


@pytest.mark.parametrize("glob", ["[", "a[b", "[]", "[!]", "[/]", "[+-9]", "[z-a]", "[{subject}]"])
def test_a_set_of_characters_is_closed_ascending_and_without_slash(glob: str) -> None:
    with pytest.raises(ValueError, match=r"holds|has no|runs backwards"):
        compile_rule(glob)


def test_a_rule_may_be_about_the_caller() -> None:
    assert objection("/users/{subject}/**", "/users/u1/a") is None
    assert objection("/users/{subject}/**", "/users/u1") is None
    assert objection("/users/{subject}/**", "/users/u12") == "is not like /users/{subject}/**"
    assert objection("/users/{subject}/**", "/users/u2/a") == "is not like /users/{subject}/**"
    assert objection(["/users/{subject}", "/shared"], "/shared") is None
    assert objection(["/users/{subject}"], "/users/u1") is None
    assert objection(["/users/{subject}"], "/users/{subject}") == "is not one of /users/{subject}"


def test_a_subject_that_fits_no_folder_may_still_choose_what_is_for_everybody() -> None:
    assert objection(["/users/{subject}", "/shared"], "/shared", subject="192.0.2.7") is None
    with pytest.raises(Refusal):
        objection(["/users/{subject}", "/shared"], "/users/192.0.2.7", subject="192.0.2.7")


def test_a_caller_cannot_bring_a_wildcard_along() -> None:
    with pytest.raises(Refusal):
        objection("/users/{subject}/**", "/users/u2/a", subject="*")


@pytest.mark.parametrize(
    "glob",
    [
        "/users/{subject}*",
        "/users/*{subject}",
        "/users/{subject}-*",
        "/u/{subject}?",
        "/u/{subject}[0-9]",
        "**{subject}",
    ],
)
def test_a_wildcard_cannot_go_on_where_a_subject_ends(glob: str) -> None:
    """`/users/{subject}*` would let u1 into the folder of u12."""
    with pytest.raises(ValueError, match="and a wildcard need a character between them"):
        compile_rule(glob)


@pytest.mark.parametrize(
    "glob", ["/u/{subject}/*", "/*/{subject}", "/**/{subject}", "/u/{subject}/**/x", "{subject}.*"]
)
def test_a_wildcard_may_stand_past_a_character_that_no_subject_can_hold(glob: str) -> None:
    assert compile_rule(glob)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("(a+)+", "a" * 4095 + "!"),
        ("(a|a)*", "a" * 4095 + "!"),
        ("(a|aa)+", "a" * 4095 + "!"),
        ("([a-zA-Z]+)*", "a" * 4095 + "!"),
        ("(.*a){25}", "a" * 24 + "b" * 4000),
        (r"(\w+\s?)*", "x " * 2047 + "!"),
        ("(?:a?){30}a{30}", "a" * 29),
    ],
)
def test_a_pattern_takes_time_by_the_length_of_the_value_only(pattern: str, value: str) -> None:
    """Each of these keeps a backtracking engine busy for years; the whole budget here is generous."""
    started = time.process_time()
    assert objection({"regex": pattern}, value) == f"does not match {pattern}"
    assert time.process_time() - started < 1


def test_a_glob_of_many_stars_does_not_backtrack() -> None:
    started = time.process_time()
    assert objection("*a" * 50 + "b", "a" * 4000) is not None
    assert time.process_time() - started < 1


def test_a_name_of_any_script_can_be_described() -> None:
    assert objection({"regex": r"[\pL\pN ._-]{1,100}"}, "été 写真.jpg") is None


@pytest.mark.parametrize(
    "pattern", ["(a)\\1", "(?=a)b", "(?<!a)b", "(?>a+)", "[", "(", "a\\Z", "a{1001}", "((a{99}){99}){99}", r"\pL{999}"]
)
def test_a_pattern_that_would_take_more_is_told_at_the_start(pattern: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="is not a pattern of RE2"):
        compile_rule({"regex": pattern})
    assert capfd.readouterr() == ("", "")
