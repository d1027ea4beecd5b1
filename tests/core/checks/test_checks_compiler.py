from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokensvc.core.checks import (
    ChecksSyntax,
    Comparison,
    Expression,
    Facts,
    Junction,
    Restrictions,
    compile_checks,
    evaluate,
    parse,
    write,
)
from tokensvc.core.checks.fields import FLAG_DEFAULTS
from tokensvc.core.errors import Code, Refusal

from .generated import FORMS, RESTRICTIONS, SENT_MIMES, expressions

NOTHING = Restrictions()
OURS = '"file.size" <= 9 AND ("file.mime" : "image/" OR "file.mime" = "text/plain") AND "request.isPublished" = false'
THEIRS = '"file.size" > 1 OR ("file.size" = 0 AND "request.isPrivateFile" = true)'
A_QUOTE = "a text holds a quote, and how ImageKit reads one there is not published"
CLIENT = '"request.tags" IN ["a"]'


@pytest.mark.parametrize(
    ("limits", "forced", "client", "compiled"),
    [
        (NOTHING, {}, None, None),
        (NOTHING, {}, "", None),
        (Restrictions(types=("*/*",)), {}, None, None),
        (Restrictions(types=("image/*", "*/*")), {}, None, None),
        (NOTHING, {"tags": "a", "fileName": 'it"s'}, None, None),
        (Restrictions(max_bytes=25_000_000), {}, None, '"file.size" <= 25000000'),
        (Restrictions(max_bytes=0), {}, None, '"file.size" <= 0'),
        (Restrictions(types=("image/*",)), {}, None, '"file.mime" : "image/"'),
        (Restrictions(types=("image/PNG",)), {}, None, '"file.mime" = "image/png"'),
        (Restrictions(types=("image/png", "image/svg+xml")), {}, None, '"file.mime" IN ["image/png", "image/svg+xml"]'),
        (Restrictions(types=("image/png", "IMAGE/png")), {}, None, '"file.mime" = "image/png"'),
        (
            Restrictions(types=("text/plain", "image/*", "video/*", "application/pdf")),
            {},
            None,
            '"file.mime" : "image/" OR "file.mime" : "video/" OR "file.mime" IN ["text/plain", "application/pdf"]',
        ),
        (NOTHING, {"folder": "/users/u1"}, None, '"request.folder" IN ["/users/u1", "users/u1"]'),
        (NOTHING, {"folder": "users/u1/"}, None, '"request.folder" IN ["users/u1/", "/users/u1", "users/u1"]'),
        (NOTHING, {"folder": "/"}, None, '"request.folder" IN ["/", ""]'),
        (NOTHING, {"overwriteFile": "false"}, None, '"request.overwriteFile" = false'),
        (
            NOTHING,
            {"overwriteFile": "false", "useUniqueFileName": "true"},
            None,
            '"request.useUniqueFileName" = true AND "request.overwriteFile" = false',
        ),
        (NOTHING, {}, CLIENT, CLIENT),
        (NOTHING, {}, "'request.tags'IN['a']\n", CLIENT),
        (NOTHING, {"checks": "'file.size' > 1"}, None, '"file.size" > 1'),
        (
            Restrictions(max_bytes=9),
            {"checks": '"file.size" > 1 OR "file.size" = 0'},
            None,
            '"file.size" <= 9 AND ("file.size" > 1 OR "file.size" = 0)',
        ),
        (Restrictions(max_bytes=9), {}, CLIENT, '"file.size" <= 9 AND "request.tags" IN ["a"]'),
        (
            Restrictions(max_bytes=9, types=("image/*", "text/plain")),
            {"isPublished": "false"},
            '"file.size" > 1 OR "file.size" = 0 AND "request.isPrivateFile" = true',
            f"({OURS}) AND ({THEIRS})",
        ),
    ],
)
def test_limits_and_forced_parameters_become_one_expression(
    limits: Restrictions, forced: dict[str, str], client: str | None, compiled: str | None
) -> None:
    assert compile_checks(limits, forced, client) == compiled


@pytest.mark.parametrize("name", FLAG_DEFAULTS)
def test_every_forced_flag_is_compiled(name: str) -> None:
    assert compile_checks(NOTHING, {name: "true"}) == f'"request.{name}" = true'
    with pytest.raises(ValueError, match=name):
        compile_checks(NOTHING, {name: "yes"})


@pytest.mark.parametrize(
    ("client", "sentence"),
    [
        (
            '"file.size" > 0) OR ("file.size" > 0',
            "checks cannot be read at character 16: ) stands where AND, OR or the end is expected.",
        ),
        ("file.size > 0", 'checks cannot be read at character 1: the name of a field goes in quotes: "file.size".'),
        ('"file.mime" = "', "checks cannot be read at character 15: this quote is never closed."),
        ('"file.mime" = "a\\" OR "', "checks cannot be read at character 17: a text cannot hold a backslash."),
        (
            '"file.size" > 0 AND "request.fileName" NOT = \'" OR "\'',
            f"checks cannot be read at character 21: {A_QUOTE}.",
        ),
        (
            '"request.tags" NOT IN ["it\'s"]',
            f"checks cannot be read at character 1: {A_QUOTE}.",
        ),
        (
            "'request.customMetadata.\"' = 1",
            f"checks cannot be read at character 1: {A_QUOTE}.",
        ),
        (" ", "checks cannot be read at character 1: it is empty."),
    ],
)
@pytest.mark.parametrize("limits", [NOTHING, Restrictions(max_bytes=9)])
def test_a_client_expression_cannot_leave_its_place(limits: Restrictions, client: str, sentence: str) -> None:
    with pytest.raises(Refusal) as refused:
        compile_checks(limits, {}, client)
    assert (refused.value.code, refused.value.field) == (Code.PARAMETER_INVALID, "checks")
    assert refused.value.detail == sentence


def test_a_client_expression_that_no_longer_fits_beside_ours_is_refused() -> None:
    client = "(" * 15 + '"file.size" > 1 OR "file.size" = 0' + ")" * 15
    deep = '"file.size" = 0 OR "file.size" = 2'
    for level in range(16):
        deep = f'({deep}) {("AND", "OR")[level % 2]} "file.size" = 1'
    assert compile_checks(Restrictions(max_bytes=9), {}, client) is not None
    assert compile_checks(NOTHING, {}, deep) is not None
    long = '"request.fileName" = "' + "x" * (4096 - 23) + '"'
    assert compile_checks(NOTHING, {}, long) == long
    for text in (deep, long):
        with pytest.raises(Refusal) as refused:
            compile_checks(Restrictions(max_bytes=9, types=("image/*",)), {}, text)
        assert (refused.value.code, refused.value.field) == (Code.PARAMETER_INVALID, "checks")
        assert refused.value.detail.startswith("checks cannot be joined to those of the profile: together, ")


@pytest.mark.parametrize("folder", ['/a"b', "/a'b", "/a', \"b", "/a\\b", "/a\nb", "/" + "a" * 5000])
def test_a_forced_folder_that_cannot_be_written_is_a_fault_of_the_profile(folder: str) -> None:
    with pytest.raises(ValueError, match="the profile's"):
        compile_checks(NOTHING, {"folder": folder}, CLIENT)


@pytest.mark.parametrize("text", ["file.size", '"request.fileName" = \'"\'', ""])
def test_forced_checks_that_cannot_be_joined_are_a_fault_of_the_profile(text: str) -> None:
    with pytest.raises(ValueError, match=r"the profile's (checks|folder)"):
        compile_checks(NOTHING, {"checks": text})


def test_a_negative_limit_is_a_fault_of_the_profile() -> None:
    with pytest.raises(ValueError, match="negative"):
        compile_checks(Restrictions(max_bytes=-1), {})


@pytest.mark.parametrize("text", ["image", "*", "*/png", "image/", "/png", "image/p*", 'image/"', "image/png;q=1", ""])
def test_what_is_no_media_type_is_a_fault_of_the_profile(text: str) -> None:
    with pytest.raises(ValueError, match="is not a MIME type"):
        compile_checks(Restrictions(types=(text,)), {})


def conjuncts(expression: Expression) -> list[Expression]:
    if isinstance(expression, Junction) and expression.word == "AND":
        return [each for part in expression.parts for each in conjuncts(part)]
    return [expression]


def has_quote(expression: Expression) -> bool:
    return "'" in write(expression)


@given(RESTRICTIONS, expressions(), FORMS, SENT_MIMES, st.integers(0, 45))
@settings(max_examples=300, deadline=None)
def test_what_is_compiled_says_ours_and_the_clients_and_is_its_own_spelling(
    limits: Restrictions, client: Expression, form: dict[str, str], mime: str, size: int
) -> None:
    ours = compile_checks(limits, limits.forced)
    if has_quote(client):
        with pytest.raises(Refusal):
            compile_checks(limits, limits.forced, write(client))
        return
    text = compile_checks(limits, limits.forced, write(client))
    assert text is not None
    assert write(parse(text)) == text
    assert compile_checks(NOTHING, {}, text) == text
    facts = Facts.of(form, size=size, mime=mime)
    assert evaluate(parse(text), facts) == ((ours is None or evaluate(parse(ours), facts)) and evaluate(client, facts))
    if ours is not None:
        assert all(part in conjuncts(parse(text)) for part in conjuncts(parse(ours)))


@given(st.text(alphabet="\"'()[], =<:\\ANDOR1\nfile.sz", max_size=40))
@settings(max_examples=1000, deadline=None)
def test_no_text_of_a_client_loosens_the_limit(client: str) -> None:
    """Whatever a client appends, the file of 10 bytes is over the limit of 9."""
    try:
        text = compile_checks(Restrictions(max_bytes=9), {}, client)
    except Refusal:
        return
    assert text is not None
    assert not evaluate(parse(text), Facts.of({}, size=10, mime="image/png"))


def test_an_expression_is_never_pasted() -> None:
    """Only what our own writer emits leaves: straight double quotes, no line ends, explicit parentheses."""
    text = compile_checks(Restrictions(max_bytes=9), {}, "'file.size'>1\nOR\t'file.size'=0")
    assert text == '"file.size" <= 9 AND ("file.size" > 1 OR "file.size" = 0)'
    assert isinstance(parse(text), Junction)
    assert not isinstance(parse(text), Comparison)


def test_a_fault_is_told_with_its_place_in_words() -> None:
    assert str(ChecksSyntax(3, "it is odd")) == "at character 3: it is odd"
