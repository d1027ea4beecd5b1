from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tokensvc.core import strict_json
from tokensvc.core.callers import Caller
from tokensvc.core.checks import Restrictions
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.grants import GrantNote
from tokensvc.core.metadata import MetadataField
from tokensvc.core.params import PARAMETERS
from tokensvc.core.policy import AskV1, AskV2, decide
from tokensvc.core.profiles import Limits, Profile
from tokensvc.core.rules import AllowAny, compile_rule
from tokensvc.core.uses import Uses
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
        "account": "default",
        "profile": "default",
        "source": "backend",
        "subject": "ci",
        "issued_at": NOW,
    }


def test_a_clients_token_and_expire_are_honoured() -> None:
    grant = decide(PROFILE, CALLER, AskV1("my-token", str(NOW + 60)), NOW)
    assert (grant.token, grant.window) == ("my-token", Window(NOW, NOW + 60))


@pytest.mark.parametrize("fields", [{}, {"b": MetadataField("Text")}])
def test_metadata_that_one_account_takes_is_not_taken_for_good_at_another(fields: dict[str, MetadataField]) -> None:
    takes_any, ask = replace(PROFILE, allow={"customMetadata": AllowAny()}), AskV2({"customMetadata": '{"a":1}'})
    assert decide(takes_any, CALLER, ask, NOW).parameters == ask.payload
    assert refused(replace(takes_any, metadata=fields), ask).field == "customMetadata"


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
        (
            {"useUniqueFileName": False, "overwriteFile": False},
            {"useUniqueFileName": "false", "overwriteFile": "false"},
        ),
        ({"tags": ["a", "b"]}, {"tags": "a,b"}),
        ({"tags": "'a', 'b'"}, {"tags": "'a', 'b'"}),
        ({"customMetadata": {"a": [1, "é"]}}, {"customMetadata": '{"a":[1,"é"]}'}),
        ({"customMetadata": '{"a": 1}'}, {"customMetadata": '{"a": 1}'}),
        ({"fileName": 7}, {"fileName": "7"}),
    ],
)
def test_values_become_the_text_of_the_form_field(payload: dict[str, Any], texts: dict[str, str]) -> None:
    profile = replace(
        PROFILE,
        allow=dict.fromkeys(("fileName", "useUniqueFileName", "overwriteFile", "tags", "customMetadata"), AllowAny()),
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


@pytest.mark.parametrize("expire", ["60", 60.5, True, [60]])
def test_a_v2_expire_that_is_no_whole_number_is_refused(expire: object) -> None:
    assert refused(PROFILE, AskV2({}, expire)).code is Code.EXPIRE_INVALID


def test_a_v2_expire_within_the_profiles_lifetime_is_honoured() -> None:
    assert decide(PROFILE, CALLER, AskV2({}, 60), NOW).window == Window(NOW, NOW + 60)


USER = Caller("web", "u1", claims={"org": "acme"})
USERS = Profile("users", "default", ("web",), allow={"fileName": AllowAny()}, force={"folder": "/users/{subject}"})


def allowing(profile: Profile = PROFILE, **specs: Any) -> Profile:
    return replace(profile, allow={name: compile_rule(spec) for name, spec in specs.items()})


def texts(profile: Profile, payload: dict[str, Any], caller: Caller = CALLER) -> dict[str, str]:
    return dict(decide(profile, caller, AskV2(payload), NOW).parameters)


@pytest.mark.parametrize("folder", [{}, {"folder": "/admin"}, {"folder": "/users/u1"}, {"folder": "../../x"}])
def test_what_is_forced_is_set_whatever_the_client_says(folder: dict[str, str]) -> None:
    granted = texts(USERS, {"fileName": "a.jpg", **folder}, USER)
    assert granted.pop("checks") == '"request.folder" IN ["/users/u1", "users/u1"]'
    assert granted == {"fileName": "a.jpg", "folder": "/users/u1"}


def test_what_is_forced_wins_over_what_is_allowed() -> None:
    profile = replace(USERS, allow={"folder": compile_rule(["/shared"])})
    for folder in ("/shared", "/admin", "/a.b"):
        assert texts(profile, {"folder": folder}, USER)["folder"] == "/users/u1"


@pytest.mark.parametrize("ask", [AskV1(), AskV2({})])
@pytest.mark.parametrize("subject", ["../x", "", "a/b", "192.0.2.7"])
def test_a_subject_that_could_leave_its_folder_gets_nothing(ask: AskV1 | AskV2, subject: str) -> None:
    refusal = refused(USERS, ask, replace(USER, subject=subject))
    assert (refusal.code, refusal.field) == (Code.CALLER_FORBIDDEN, "folder")


def test_a_filled_text_must_be_one_that_imagekit_takes() -> None:
    refusal = refused(USERS, AskV2({}), replace(USER, subject="x" * 256))
    assert (refusal.code, refusal.field) == (Code.PARAMETER_INVALID, "folder")
    profile = replace(USERS, force={"description": "{claims.org}/{claims.org}"})
    assert refused(profile, AskV2({}), replace(USER, claims={"org": "x" * 2048})).field == "description"
    assert texts(profile, {}, replace(USER, claims={"org": "x" * 2047}))


def test_a_default_is_set_where_the_client_says_nothing() -> None:
    profile = replace(allowing(tags=["a", "b"]), defaults={"tags": "misc", "isPrivateFile": "false"})
    assert texts(profile, {}) == {"tags": "misc", "isPrivateFile": "false"}
    assert texts(profile, {"tags": "a"}) == {"tags": "a", "isPrivateFile": "false"}
    assert texts(profile, {"tags": "misc", "isPrivateFile": False}) == {"tags": "misc", "isPrivateFile": "false"}


def test_a_default_is_not_the_clients_to_change_unless_it_is_allowed_too() -> None:
    profile = replace(PROFILE, defaults={"isPrivateFile": "false"})
    refusal = refused(profile, AskV2({"isPrivateFile": True}))
    assert (refusal.code, refusal.field) == (Code.PARAMETER_FORBIDDEN, "isPrivateFile")
    assert refusal.detail == "isPrivateFile: 'true' is not 'false', which profile default sets."


@pytest.mark.parametrize(
    ("name", "spec", "value", "detail"),
    [
        ("tags", ["summer", "dress"], "summer,x", "tags: 'x' is not one of summer, dress."),
        ("tags", ["a"], ["a", "x"], "tags: 'x' is not one of a."),
        ("tags", ["a"], "a,", "tags: '' is not one of a."),
        ("tags", {"max_length": 3}, "abc,abcd", "tags: 'abcd' has more than 3 characters."),
        ("fileName", "*.jpg", "a.png", "fileName: 'a.png' is not like *.jpg."),
        ("fileName", {"regex": "[a-z]+"}, "A", "fileName: 'A' does not match [a-z]+."),
        ("fileName", {"max_length": 64}, "x" * 65, f"fileName: '{'x' * 64}…' has more than 64 characters."),
        ("responseFields", ["tags"], "tags,metadata", "responseFields: 'metadata' is not one of tags."),
        ("overwriteFile", ["false"], True, "overwriteFile: 'true' is not one of false."),
        ("folder", "/shared/*", "/admin", "folder: '/admin' is not like /shared/*."),
    ],
)
def test_a_choice_is_refused_by_name_with_the_rule_that_refused_it(
    name: str, spec: Any, value: Any, detail: str
) -> None:
    refusal = refused(allowing(**{name: spec}), AskV2({name: value}))
    assert (refusal.code, refusal.field, refusal.detail) == (Code.PARAMETER_FORBIDDEN, name, detail)


@pytest.mark.parametrize(
    ("name", "spec", "text"),
    [
        ("tags", ["a", "b"], "'a', 'b'"),
        ("tags", ["a", "b"], "a, b"),
        ("tags", ["a"], ""),
        ("folder", ["/a/b"], "a//b/"),
        ("folder", "/a/*", "a/b"),
        ("folder", ["/été"], "/e\u0301te\u0301"),
        ("extensions", True, '[ {"name" : "remove-bg"} ]'),
    ],
)
def test_a_choice_is_compared_as_imagekit_reads_it_and_signed_as_it_came(name: str, spec: Any, text: str) -> None:
    assert texts(allowing(**{name: spec}), {name: text}) == {name: text}


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"tags": "50%"}, "tags"),
        ({"folder": "/a.b"}, "folder"),
        ({"customCoordinates": "1,2"}, "customCoordinates"),
        ({"transformation": {"pre": ""}}, "transformation"),
        ({"fileName": ""}, "fileName"),
    ],
)
def test_what_imagekit_would_refuse_is_not_signed(payload: dict[str, Any], field: str) -> None:
    refusal = refused(replace(PROFILE, allow=dict.fromkeys(payload, AllowAny())), AskV2(payload))
    assert (refusal.code, refusal.field) == (Code.PARAMETER_INVALID, field)


@pytest.mark.parametrize("name", [name for name, parameter in PARAMETERS.items() if parameter.guarded])
def test_a_guarded_parameter_must_be_allowed_by_name(name: str) -> None:
    text = {
        "extensions": '[{"name":"remove-bg"}]',
        "transformation": '{"pre":"w-1"}',
        "webhookUrl": "https://app.example/",
    }.get(name, "true")
    every_other = replace(PROFILE, allow={other: AllowAny() for other in PARAMETERS if other != name})
    assert refused(every_other, AskV2({name: text})).detail == f"Profile default does not let clients choose {name}."
    assert texts(replace(PROFILE, allow={name: AllowAny()}), {name: text}) == {name: text}
    assert name in texts(replace(PROFILE, force={name: text.replace("{", "{{").replace("}", "}}")}), {})


@pytest.mark.parametrize("spec", [["/a"], "/a/**", {"regex": "/a.*"}, "/users/{subject}/**"])
@pytest.mark.parametrize("payload", [{}, {"folder": ""}, {"folder": "/"}, {"folder": "//"}])
def test_a_caller_restricted_to_folders_cannot_upload_to_the_root(spec: Any, payload: dict[str, str]) -> None:
    refusal = refused(allowing(folder=spec), AskV2(payload))
    assert (refusal.code, refusal.field) == (Code.PARAMETER_FORBIDDEN, "folder")
    assert "'/'" in refusal.detail


@pytest.mark.parametrize("spec", [True, ["/", "/a"], "/**", {"max_length": 9}])
def test_a_caller_that_may_use_the_root_need_not_name_it(spec: Any) -> None:
    assert texts(allowing(folder=spec), {}) == {}


def test_a_default_folder_stands_for_the_root() -> None:
    assert texts(replace(allowing(folder="/a/**"), defaults={"folder": "/a/misc"}), {}) == {"folder": "/a/misc"}


@pytest.mark.parametrize("folder", ["/users/u1", "/users/u1/2024/may"])
def test_a_caller_may_be_given_a_folder_and_all_below_it(folder: str) -> None:
    profile = replace(USERS, force={}, allow={"folder": compile_rule("/users/{subject}/**")})
    assert texts(profile, {"folder": folder}, USER) == {"folder": folder}
    for other in ("/users/u2", "/users/u12", "/users", "/users/u1x/a"):
        assert refused(profile, AskV2({"folder": other}), USER).code is Code.PARAMETER_FORBIDDEN


def test_a_caller_with_a_list_of_folders_creates_none_below_them() -> None:
    assert refused(allowing(folder=["/a"]), AskV2({"folder": "/a/b"})).code is Code.PARAMETER_FORBIDDEN


LIMITED = Limits(max_bytes=1000, types=("image/*",))
LIMITED_CHECKS = '"file.size" <= 1000 AND "file.mime" : "image/"'


def test_limits_become_checks_in_every_v2_grant() -> None:
    assert texts(replace(PROFILE, limits=LIMITED), {"fileName": "a"}) == {"fileName": "a", "checks": LIMITED_CHECKS}


def test_a_clients_checks_are_joined_to_the_profiles_and_cannot_replace_them() -> None:
    profile = replace(allowing(checks=True), limits=LIMITED)
    joined = texts(profile, {"checks": '"file.size" > 0 OR "file.size" >= 0'})["checks"]
    assert joined == f'({LIMITED_CHECKS}) AND ("file.size" > 0 OR "file.size" >= 0)'
    forced = replace(profile, force={"checks": '"file.size" > 5'})
    ours = f'{LIMITED_CHECKS} AND "file.size" > 5'
    assert texts(forced, {"checks": '"file.size" < 9'})["checks"] == f'({ours}) AND "file.size" < 9'
    assert texts(replace(forced, allow={}), {"checks": '"file.size" < 9'})["checks"] == ours


def test_a_clients_checks_are_verbatim_if_the_profile_has_none() -> None:
    assert texts(allowing(checks=True), {"checks": "'file.size'<9"}) == {"checks": "'file.size'<9"}
    assert refused(allowing(checks=True), AskV2({"checks": "size<9"})).field == "checks"


@pytest.mark.parametrize("ask", [AskV1(), AskV2({"fileName": "a"})])
def test_the_record_holds_an_upload_to_what_was_forced_and_limited(ask: AskV1 | AskV2) -> None:
    grant = decide(replace(USERS, limits=LIMITED), USER, ask, NOW)
    restrictions = Restrictions(1000, ("image/*",), {"folder": "/users/u1"})
    assert grant.restrictions == restrictions
    assert GrantNote.from_text(grant.to_text()).restrictions == restrictions
    assert GrantNote.from_text(grant.to_text()) == GrantNote("default", "users", "web", "u1", NOW, restrictions)
    assert grant.to_text() == (
        f'{{"account":"default","profile":"users","source":"web","subject":"u1","issued_at":{NOW},'
        '"forced":{"folder":"/users/u1"},"max_bytes":1000,"types":["image/*"]}'
    )


def test_a_record_of_before_restrictions_has_none() -> None:
    text = '{"account":"a","profile":"p","source":"s","subject":"u","issued_at":1}'
    assert GrantNote.from_text(text).restrictions == Restrictions()


@pytest.mark.parametrize(
    "text",
    [
        *("x", "[]", "{}", '{"forced":{}}'),
        '{"account":"a","profile":"p","source":"s","subject":"u","issued_at":"1"}',
        '{"account":"a","profile":"p","source":"s","subject":1,"issued_at":1}',
        '{"account":"a","profile":"p","source":"s","subject":"u","issued_at":1,"max_bytes":"9"}',
        '{"account":"a","profile":"p","source":"s","subject":"u","issued_at":1,"max_bytes":true}',
        '{"account":"a","profile":"p","source":"s","subject":"u","issued_at":1,"types":"image/*"}',
        '{"account":"a","profile":"p","source":"s","subject":"u","issued_at":1,"types":[1]}',
        '{"account":"a","profile":"p","source":"s","subject":"u","issued_at":1,"forced":[]}',
        '{"account":"a","profile":"p","source":"s","subject":"u","issued_at":1,"forced":{"folder":1}}',
        '{"account":"a","profile":"p","source":"s","subject":"u","issued_at":1,"limits":{}}',
    ],
)
def test_a_record_that_is_no_grant_never_means_no_restrictions(text: str) -> None:
    with pytest.raises(ValueError, match=r"not"):
        GrantNote.from_text(text)


def note_text(subject: str) -> str:
    return GrantNote("a", "p", "s", subject, 1, Restrictions(forced={"folder": "/u"})).to_text()


def test_equal_texts_are_one_note_and_others_are_others() -> None:
    note = GrantNote.from_text(note_text("one"))
    assert GrantNote.from_text(note_text("one")) is note
    assert GrantNote.from_text(note_text("other")).subject == "other"


def test_who_got_a_note_cannot_change_it_for_others() -> None:
    forced: Any = GrantNote.from_text(note_text("one")).restrictions.forced
    with pytest.raises(TypeError, match="does not support item assignment"):
        forced["folder"] = "/admin"
    assert GrantNote.from_text(note_text("one")).restrictions.forced == {"folder": "/u"}


def test_a_text_that_is_no_note_is_refused_each_time() -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="not one"):
            GrantNote.from_text("{}")


def test_of_many_texts_the_last_are_remembered_and_no_more() -> None:
    first, second = (GrantNote.from_text(note_text(name)) for name in ("first", "second"))
    for number in range(511):
        GrantNote.from_text(note_text(f"u{number}"))
    assert GrantNote.from_text(note_text("second")) is second
    assert GrantNote.from_text(note_text("first")) is not first
    assert GrantNote.from_text(note_text("first")) == first


def test_a_trace_has_a_line_for_each_rule() -> None:
    trace: list[str] = []
    profile = replace(allowing(USERS, tags=["a", "b"]), defaults={"isPrivateFile": "false"}, limits=Limits(max_bytes=9))
    decide(profile, USER, AskV2({"tags": "a", "folder": "/admin"}, 60), NOW, trace=trace)
    assert trace == [
        "caller: 'u1' of web may have v2 of profile users",
        "lifetime: 60 s, as asked; at most 1800 s",
        "tags: 'a' is allowed, as one of a, b is by profile users",
        "folder: '/admin' of the client is set aside",
        "isPrivateFile: set to 'false' by default of profile users",
        "folder: forced to '/users/u1' by profile users",
        'checks: "file.size" <= 9 AND "request.folder" IN ["/users/u1", "users/u1"], by the limits and what is forced',
    ]


def test_a_grant_has_the_uses_of_its_profile_and_the_trace_tells_them_unless_they_are_the_usual() -> None:
    trace: list[str] = []
    for uses in (Uses(), Uses(3, "on-success")):
        for ask in (AskV1(), AskV2({})):
            assert decide(replace(PROFILE, uses=uses), CALLER, ask, NOW, trace=trace).uses == uses
    said = "uses: 3, each spent on-success, where this service is asked"
    assert [line for line in trace if line.startswith("uses")] == [said] * 2


def test_a_trace_ends_where_the_refusal_was_decided() -> None:
    trace: list[str] = []
    with pytest.raises(Refusal):
        decide(allowing(tags=["a"]), CALLER, AskV2({"tags": "x"}), NOW, trace=trace)
    assert trace == [
        "caller: 'ci' of backend may have v2 of profile default",
        "lifetime: 1800 s, by profile default",
    ]


def test_a_trace_says_that_v1_binds_nothing_at_imagekit() -> None:
    trace: list[str] = []
    decide(USERS, USER, AskV1(), NOW, trace=trace)
    assert trace[-1] == "folder: forced to '/users/u1', at the own upload endpoint only"


# A name that is not made unique can be another file's, which it then replaces.

KEPT_NAME = {"fileName": "a.jpg", "useUniqueFileName": "false"}


@pytest.mark.parametrize("value", ["false", False])
def test_by_default_no_client_can_replace_anothers_file(value: object) -> None:
    """At ImageKit an absent overwriteFile means true, so the name alone would do it."""
    refusal = refused(PROFILE, AskV2({"fileName": "a.jpg", "useUniqueFileName": value}))
    assert (refusal.code, refusal.field) == (Code.PARAMETER_FORBIDDEN, "useUniqueFileName")
    assert refusal.detail == (
        "useUniqueFileName: 'false' lets a file replace another of that name, "
        "and profile default does not name overwriteFile."
    )
    assert "defaults" in refusal.remedy
    assert texts(PROFILE, {"fileName": "a.jpg", "useUniqueFileName": "true"})["useUniqueFileName"] == "true"


@pytest.mark.parametrize("spec", [True, ["false"], ["true"]])
def test_a_client_that_may_not_name_overwriting_cannot_have_it_by_saying_nothing(spec: Any) -> None:
    """A list without "true" refuses the absence, too; and the remedy is to say what is allowed."""
    profile = allowing(fileName=True, useUniqueFileName=True, overwriteFile=spec)
    if spec == ["false"]:
        refusal = refused(profile, AskV2(KEPT_NAME))
        assert (refusal.code, refusal.field) == (Code.PARAMETER_FORBIDDEN, "useUniqueFileName")
        assert "is not one of false" in refusal.detail
        assert texts(profile, {**KEPT_NAME, "overwriteFile": "false"})["overwriteFile"] == "false"
    else:
        assert texts(profile, KEPT_NAME) == KEPT_NAME


@pytest.mark.parametrize("table", ["force", "defaults"])
@pytest.mark.parametrize("text", ["true", "false"])
def test_what_the_profile_says_of_overwriting_is_its_word(table: str, text: str) -> None:
    said: dict[str, Any] = {table: {"overwriteFile": text}}
    profile = replace(PROFILE, **said)
    granted = texts(profile, KEPT_NAME)
    assert (granted["useUniqueFileName"], granted["overwriteFile"]) == ("false", text)


@pytest.mark.parametrize("table", ["force", "defaults"])
def test_a_profile_that_itself_keeps_names_is_obeyed(table: str) -> None:
    said: dict[str, Any] = {table: {"useUniqueFileName": "false"}}
    profile = replace(PROFILE, **said)
    assert texts(profile, KEPT_NAME)["useUniqueFileName"] == "false"
    assert texts(profile, {"fileName": "a.jpg"})["useUniqueFileName"] == "false"


@pytest.mark.parametrize(
    ("folder", "own"),
    [
        ("/users/{subject}", True),
        ("/{claims.org}/{subject}/a", True),
        ("/{claims.org}", False),
        ("/{date}", False),
        ("/all", False),
    ],
)
def test_in_a_folder_of_its_own_a_caller_may_replace_its_files(folder: str, own: bool) -> None:
    """One that others have too, such as an organisation's, is not its own."""
    profile = replace(USERS, force={"folder": folder}, allow=allowing(fileName=True, useUniqueFileName=True).allow)
    if own:
        assert texts(profile, KEPT_NAME, USER)["useUniqueFileName"] == "false"
    else:
        assert refused(profile, AskV2(KEPT_NAME), USER).field == "useUniqueFileName"


@pytest.mark.parametrize(("allowed", "own"), [({}, True), ({"folder": True}, False)])
def test_a_default_folder_is_a_callers_own_if_it_cannot_leave_it(allowed: dict[str, Any], own: bool) -> None:
    profile = allowing(replace(USERS, force={}), fileName=True, useUniqueFileName=True, **allowed)
    profile = replace(profile, defaults={"folder": "/users/{subject}"})
    if own:
        assert texts(profile, KEPT_NAME, USER)["folder"] == "/users/u1"
    else:
        assert refused(profile, AskV2(KEPT_NAME), USER).field == "useUniqueFileName"
