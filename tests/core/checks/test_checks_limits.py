from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokensvc.core.checks import (
    Facts,
    Media,
    Restrictions,
    compile_checks,
    evaluate,
    parse,
    require_checks,
    require_limits,
)
from tokensvc.core.checks.fields import FLAG_DEFAULTS
from tokensvc.core.errors import Code, Refusal

from .generated import RESTRICTIONS, upload_near

NO_FORM: Final[Mapping[str, str]] = {}


def refused(
    restrictions: Restrictions, form: Mapping[str, str] = NO_FORM, *, size: int = 1, mime: str = "image/png"
) -> Refusal | None:
    try:
        require_limits(restrictions, size=size, mime=mime, fields=form)
    except Refusal as refusal:
        return refusal
    return None


def satisfied(
    restrictions: Restrictions, form: Mapping[str, str] = NO_FORM, *, size: int = 1, mime: str = "image/png"
) -> bool:
    text = compile_checks(restrictions, restrictions.forced)
    return text is None or evaluate(parse(text), Facts.of(form, size=size, mime=mime))


def test_a_file_of_the_most_bytes_is_kept_and_one_more_is_refused_with_both_numbers() -> None:
    limits = Restrictions(max_bytes=25_000_000)
    assert refused(limits, size=25_000_000) is None
    refusal = refused(limits, size=25_000_001)
    assert refusal is not None
    assert (refusal.code, refusal.field) == (Code.TOO_LARGE, "file")
    assert refusal.detail == "The file has 25,000,001 bytes; at most 25,000,000 are allowed."


@pytest.mark.parametrize(
    ("types", "mime", "kept"),
    [
        ((), "anything/else", True),
        (("image/*",), "image/svg+xml", True),
        (("image/*",), "IMAGE/PNG", True),
        (("image/*",), "image/png; x=y", True),
        (("image/*",), "imagex/png", False),
        (("image/*",), "image", False),
        (("image/*",), "application/image/png", False),
        (("image/png",), "image/png", True),
        (("image/png",), "image/png2", False),
        (("image/svg",), "image/svg+xml", False),
        (("TEXT/plain",), "text/plain;charset=utf-8", True),
        (("image/*", "text/plain"), "text/html", False),
        (("image/png", "*/*"), "text/html", True),
    ],
)
def test_a_type_is_in_a_range_or_is_refused_by_both_enforcers(types: tuple[str, ...], mime: str, kept: bool) -> None:
    refusal = refused(Restrictions(types=types), mime=mime)
    assert (refusal is None) is kept
    assert satisfied(Restrictions(types=types), mime=mime) is kept
    if refusal is not None:
        assert (refusal.code, refusal.field) == (Code.PARAMETER_INVALID, "file")
        assert refusal.detail == f"The file is {mime}; allowed is {', '.join(types)}."


@pytest.mark.parametrize(
    ("forced", "sent", "kept"),
    [
        ("/users/u1", "/users/u1", True),
        ("/users/u1", "users/u1/", True),
        ("/users/u1", "/users//u1", True),
        ("/users/u1", "/users/u10", False),
        ("/users/u1", "/users/u1/x", False),
        ("/users/u1", "/Users/u1", False),
        ("/users/u1", "/", False),
        ("/users/u1", "/admin/../users/u1", False),
        ("/", "", True),
        ("", "/", True),
        ("/", "/a", False),
    ],
)
def test_a_forced_folder_is_held_by_both_enforcers(forced: str, sent: str, kept: bool) -> None:
    restrictions = Restrictions(forced={"folder": forced})
    refusal = refused(restrictions, {"folder": sent})
    assert (refusal is None) is kept
    assert satisfied(restrictions, {"folder": sent}) is kept
    if refusal is not None:
        assert (refusal.code, refusal.field) == (Code.PARAMETER_FORBIDDEN, "folder")
        assert refusal.detail == f"folder is not the client's to choose; it must be {forced!r}."


@pytest.mark.parametrize("name", FLAG_DEFAULTS)
@pytest.mark.parametrize("forced", ["true", "false"])
@pytest.mark.parametrize("sent", ["true", "false", None])
def test_a_forced_flag_is_held_by_both_enforcers(name: str, forced: str, sent: str | None) -> None:
    means = sent or ("false" if name == "isPrivateFile" else "true")
    restrictions, form = Restrictions(forced={name: forced}), {} if sent is None else {name: sent}
    refusal = refused(restrictions, form)
    assert (refusal is None) is (means == forced)
    assert satisfied(restrictions, form) is (means == forced)
    if refusal is not None:
        assert (refusal.code, refusal.field) == (Code.PARAMETER_FORBIDDEN, name)


def test_another_forced_parameter_is_held_to_the_text() -> None:
    """ImageKit is not asked to check these: a v2 credential binds them."""
    restrictions = Restrictions(forced={"tags": "a,b"})
    assert refused(restrictions, {"tags": "a,b"}) is None
    for form in ({"tags": "b,a"}, {}):
        refusal = refused(restrictions, form)
        assert refusal is not None
        assert (refusal.code, refusal.field) == (Code.PARAMETER_FORBIDDEN, "tags")


def test_a_forced_expression_is_not_a_forced_text() -> None:
    assert refused(Restrictions(forced={"checks": '"file.size" > 1'})) is None


@given(RESTRICTIONS, st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_one_policy_has_two_enforcers_that_agree(restrictions: Restrictions, seed: int) -> None:
    """300 policies with 20 uploads each."""
    random = Random(seed)
    for upload in (upload_near(restrictions, random) for _ in range(20)):
        kept = satisfied(restrictions, upload.form, size=upload.size, mime=upload.mime)
        assert kept is (refused(restrictions, upload.form, size=upload.size, mime=upload.mime) is None), upload


def test_the_generated_uploads_fall_on_both_sides() -> None:
    """Were all refused, the test above would show nothing about what is let in."""
    strict = Restrictions(20, ("image/*", "text/plain"), {"folder": "/users/u1", "overwriteFile": "false"})
    random = Random(1)
    uploads = [upload_near(strict, random) for _ in range(500)]
    codes = Counter(
        refusal and (refusal.code, refusal.field)
        for refusal in (refused(strict, upload.form, size=upload.size, mime=upload.mime) for upload in uploads)
    )
    assert codes.keys() == {
        None,
        (Code.TOO_LARGE, "file"),
        (Code.PARAMETER_INVALID, "file"),
        (Code.PARAMETER_FORBIDDEN, "folder"),
        (Code.PARAMETER_FORBIDDEN, "overwriteFile"),
    }
    assert min(codes.values()) > 10


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ('"file.size" < 10', 'checks is not satisfied: "file.size" < 10 does not hold; it is 10.'),
        (
            '"file.mime" : "image/" AND ("file.size" > 10 OR "file.size" < "1b")',
            'checks is not satisfied: "file.size" > 10 OR "file.size" < "1b" does not hold.',
        ),
        (
            '"mediaMetadata.duration" < 60',
            'checks is not satisfied: "mediaMetadata.duration" < 60 does not hold; it is not known of this file.',
        ),
        (
            '"request.folder" = "/a"',
            'checks is not satisfied: "request.folder" = "/a" does not hold.',
        ),
    ],
)
def test_a_check_that_does_not_hold_is_named(text: str, detail: str) -> None:
    with pytest.raises(Refusal) as caught:
        require_checks(text, Facts.of({}, size=10, mime="image/png", media=Media(width=5)))
    assert (caught.value.code, caught.value.field) == (Code.PARAMETER_FORBIDDEN, "checks")
    assert caught.value.detail == detail


def test_a_check_that_holds_lets_the_upload_in() -> None:
    require_checks(
        '"file.size" < 10 OR "mediaMetadata.width" = 5', Facts.of({}, size=10, mime=None, media=Media(width=5))
    )


def test_a_check_that_cannot_be_read_is_another_refusal() -> None:
    with pytest.raises(Refusal) as caught:
        require_checks("file.size < 10", Facts.of({}, size=10, mime="image/png"))
    assert (caught.value.code, caught.value.field) == (Code.PARAMETER_INVALID, "checks")
    assert (
        caught.value.detail == 'checks cannot be read at character 1: the name of a field goes in quotes: "file.size".'
    )
    assert caught.value.remedy


def test_a_long_refusal_is_cut_short() -> None:
    with pytest.raises(Refusal) as caught:
        require_checks('"file.mime" = "' + "x" * 4000 + '"', Facts.of({}, size=10, mime="image/png"))
    assert len(caught.value.detail) < 300
