from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tokensvc.core.params import CLIENT_CHOICES, PARAMETERS
from tokensvc.core.profiles import Limits, Profile, Rate
from tokensvc.core.rules import AllowAny, compile_rule

PROFILE = Profile("default", "default", ("backend",))


def test_a_profile_that_says_nothing_lets_clients_choose_what_is_harmless() -> None:
    assert dict(PROFILE.allow) == dict.fromkeys(CLIENT_CHOICES, AllowAny())
    assert not any(PARAMETERS[name].guarded for name in PROFILE.allow)
    assert (PROFILE.force, PROFILE.defaults, PROFILE.limits) == ({}, {}, Limits())


@pytest.mark.parametrize("lifetime", [0, 3601])
def test_a_profile_has_a_lifetime_of_an_hour_at_most(lifetime: int) -> None:
    with pytest.raises(ValueError, match="lifetime"):
        replace(PROFILE, lifetime=lifetime)


@pytest.mark.parametrize("table", ["allow", "force", "defaults"])
@pytest.mark.parametrize("name", ["filename", "file", "token", "expire", "iat", "jti", ""])
def test_a_profile_is_about_upload_parameters_only(table: str, name: str) -> None:
    changed: dict[str, Any] = {table: {name: AllowAny() if table == "allow" else "x"}}
    with pytest.raises(ValueError, match=f"not upload parameters: {name}"):
        replace(PROFILE, **changed)


@pytest.mark.parametrize("table", ["force", "defaults"])
@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("folder", "/a.b", "folder: folder may hold letters"),
        ("folder", "/{user}", "folder: {user} is not known"),
        ("folder", "/{claims.a}{subject}", "need a character between"),
        ("tags", "50%", "tags: tags holds a %"),
        ("isPrivateFile", "yes", "isPrivateFile: isPrivateFile is neither"),
        ("extensions", "[", "not good JSON"),
        ("extensions", '[{{"name":"x"}}]', "'x'"),
        ("checks", "file.size < 1", "cannot be read"),
        ("description", "a\nb", "description contains a control character"),
        ("description", "{subject}\u202e", "description contains a character that changes"),
    ],
)
def test_a_text_that_could_never_be_signed_is_told_when_the_profile_is_made(
    table: str, name: str, text: str, words: str
) -> None:
    changed: dict[str, Any] = {table: {name: text}}
    with pytest.raises(ValueError, match=words):
        replace(PROFILE, **changed)


def test_a_text_that_depends_on_the_caller_is_looked_at_once_it_is_filled() -> None:
    force = {"folder": "/{claims.team}/{subject}", "isPrivateFile": "{claims.private}", "tags": "by,{subject},{date}"}
    assert replace(PROFILE, force=force).force == force


def test_the_profiles_own_checks_are_read_when_it_is_made() -> None:
    assert replace(PROFILE, force={"checks": '"request.fileName" : "{subject}."'})
    with pytest.raises(ValueError, match="checks"):
        replace(PROFILE, force={"checks": '"request.fileName" : {subject}'})


def test_a_parameter_is_forced_or_has_a_default() -> None:
    with pytest.raises(ValueError, match="folder is forced"):
        replace(PROFILE, force={"folder": "/a"}, defaults={"folder": "/b"})


@pytest.mark.parametrize("spec", [["a"], ["/a", "/b/"], ["/a//b"], [""], ["{subject}"], "a/*", "{subject}/**", "[a]"])
def test_a_rule_for_folders_that_would_let_nothing_in_is_told(spec: Any) -> None:
    with pytest.raises(ValueError, match="folder"):
        replace(PROFILE, allow={"folder": compile_rule(spec)})


@pytest.mark.parametrize("spec", [["/"], ["/a", "/b/c"], ["/{subject}"], "/a/*", "**", "*/a", {"max_length": 9}, True])
def test_a_rule_for_folders_is_about_their_normal_form(spec: Any) -> None:
    assert replace(PROFILE, allow={"folder": compile_rule(spec)})


@pytest.mark.parametrize("name", ["max_bytes", "per_day", "outstanding"])
def test_a_limit_is_at_least_one(name: str) -> None:
    one: dict[str, Any] = {name: 1}
    none: dict[str, Any] = {name: 0}
    assert Limits(**one)
    with pytest.raises(ValueError, match=name):
        Limits(**none)


@pytest.mark.parametrize(("count", "seconds"), [(0, 60), (60, 0), (-1, 60)])
def test_a_rate_is_at_least_one_in_a_second(count: int, seconds: int) -> None:
    assert Rate(1, 1)
    with pytest.raises(ValueError, match="rate"):
        Rate(count, seconds)


@pytest.mark.parametrize("text", ["png", "image/", "image/*.png", "*/png", "image/png; q=1", ""])
def test_a_type_is_one_or_a_range(text: str) -> None:
    assert Limits(types=("image/*", "application/pdf", "*/*"))
    with pytest.raises(ValueError, match="MIME type"):
        Limits(types=("image/*", text))
