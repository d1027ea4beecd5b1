from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tokensvc.core import strict_json
from tokensvc.core.callers import Caller
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.policy import AskV1, AskV2, decide
from tokensvc.core.profiles import Profile
from tokensvc.core.rules import AllowAny
from tokensvc.core.window import Window

from .conftest import NOW

CALLER = Caller("backend", "ci")
PROFILE = Profile("default", "default", ("backend",))


def refused(profile: Profile, ask: AskV1 | AskV2, caller: Caller = CALLER) -> Refusal:
    with pytest.raises(Refusal) as caught:
        decide(profile, caller, ask, NOW)
    return caught.value


def test_a_v1_grant_says_who_what_and_until_when() -> None:
    grant = decide(PROFILE, CALLER, AskV1(), NOW)
    assert (grant.version, grant.window, grant.token, dict(grant.parameters)) == (
        "v1",
        Window(NOW, NOW + 1800),
        None,
        {},
    )
    assert strict_json.loads(grant.to_text().encode()) == {
        "profile": "default",
        "source": "backend",
        "subject": "ci",
        "issued_at": NOW,
    }


def test_a_clients_token_and_expire_are_honoured() -> None:
    grant = decide(PROFILE, CALLER, AskV1("my-token", str(NOW + 60)), NOW)
    assert (grant.token, grant.window) == ("my-token", Window(NOW, NOW + 60))


def test_a_caller_of_another_source_is_refused() -> None:
    assert refused(PROFILE, AskV1(), replace(CALLER, source="web")).code is Code.CALLER_FORBIDDEN


def test_a_caller_that_may_not_issue_is_refused() -> None:
    assert refused(PROFILE, AskV1(), replace(CALLER, may=frozenset({"redeem"}))).code is Code.CALLER_FORBIDDEN


@pytest.mark.parametrize(("only", "ask"), [("v1", AskV2({})), ("v2", AskV1())])
def test_a_version_that_the_profile_does_not_issue_is_refused(only: Any, ask: AskV1 | AskV2) -> None:
    assert refused(replace(PROFILE, versions=frozenset({only})), ask).code is Code.VERSION_FORBIDDEN


@pytest.mark.parametrize("name", ["iat", "exp", "nbf", "jti", "file", "token", "signature", "publicKey", "expire"])
def test_a_payload_may_not_hold_the_credentials_own_members(name: str) -> None:
    refusal = refused(PROFILE, AskV2({"fileName": "a.jpg", name: "x"}))
    assert (refusal.code, refusal.field) == (Code.PARAMETER_INVALID, name)


def test_an_unknown_parameter_is_named() -> None:
    assert "'filename'" in refused(PROFILE, AskV2({"filename": "a.jpg"})).detail


def test_a_parameter_that_the_profile_does_not_allow_is_refused_by_name() -> None:
    refusal = refused(PROFILE, AskV2({"folder": "/admin"}))
    assert (refusal.code, refusal.field) == (Code.PARAMETER_FORBIDDEN, "folder")
    assert decide(replace(PROFILE, allow={"folder": AllowAny()}), CALLER, AskV2({"folder": "/a"}), NOW).parameters == {
        "folder": "/a"
    }


@pytest.mark.parametrize(
    "name", ["extensions", "transformation", "webhookUrl", "overwriteFile", "isPublished", "checks"]
)
def test_what_costs_money_or_overwrites_is_not_the_clients_to_choose_by_default(name: str) -> None:
    assert refused(PROFILE, AskV2({name: "x"})).code is Code.PARAMETER_FORBIDDEN


@pytest.mark.parametrize(
    ("payload", "texts"),
    [
        ({"fileName": "a b.jpg"}, {"fileName": "a b.jpg"}),
        ({"useUniqueFileName": True}, {"useUniqueFileName": "true"}),
        ({"useUniqueFileName": False}, {"useUniqueFileName": "false"}),
        ({"tags": ["a", "b"]}, {"tags": "a,b"}),
        ({"tags": "'a', 'b'"}, {"tags": "'a', 'b'"}),
        ({"customMetadata": {"a": [1, "é"]}}, {"customMetadata": '{"a":[1,"é"]}'}),
        ({"customMetadata": '{"a": 1}'}, {"customMetadata": '{"a": 1}'}),
        ({"fileName": 7}, {"fileName": "7"}),
    ],
)
def test_values_become_the_text_of_the_form_field(payload: dict[str, Any], texts: dict[str, str]) -> None:
    profile = replace(
        PROFILE, allow=dict.fromkeys(("fileName", "useUniqueFileName", "tags", "customMetadata"), AllowAny())
    )
    assert decide(profile, CALLER, AskV2(payload), NOW).parameters == texts


@pytest.mark.parametrize(
    "payload",
    [
        {"fileName": None},
        {"fileName": 1.5},
        {"tags": [1]},
        {"tags": ["a,b"]},
        {"tags": {"a": 1}},
        {"useUniqueFileName": 1},
        {"fileName": "a\nb"},
        {"fileName": "x" * 4097},
    ],
)
def test_a_value_that_has_no_such_text_is_refused_by_name(payload: dict[str, Any]) -> None:
    assert refused(PROFILE, AskV2(payload)).field == next(iter(payload))


def test_a_value_of_4096_characters_is_the_longest() -> None:
    profile = replace(PROFILE, allow={"description": AllowAny()})
    assert decide(profile, CALLER, AskV2({"description": "x" * 4096}), NOW)
    assert refused(profile, AskV2({"description": "x" * 4097})).code is Code.PARAMETER_INVALID


@pytest.mark.parametrize("expire", ["60", 60.0, True, [60]])
def test_a_v2_expire_that_is_no_whole_number_is_refused(expire: object) -> None:
    assert refused(PROFILE, AskV2({}, expire)).code is Code.EXPIRE_INVALID


def test_a_v2_expire_within_the_profiles_lifetime_is_honoured() -> None:
    assert decide(PROFILE, CALLER, AskV2({}, 60), NOW).window == Window(NOW, NOW + 60)


@pytest.mark.parametrize("lifetime", [0, 3601])
def test_a_profile_has_a_lifetime_of_an_hour_at_most(lifetime: int) -> None:
    with pytest.raises(ValueError, match="lifetime"):
        replace(PROFILE, lifetime=lifetime)
