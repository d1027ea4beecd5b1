from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokensvc.core.checks import Expression, Facts, Junction, Media, evaluate, parse
from tokensvc.core.checks.evaluation import first_unmet
from tokensvc.core.checks.fields import FLAG_DEFAULTS
from tokensvc.core.errors import Code, Refusal

from .generated import FORMS, SENT_MIMES, expressions

FORM = {
    "fileName": "photo.jpg",
    "folder": "/users/u1",
    "tags": "sale, summer",
    "customCoordinates": "10,10,20,20",
    "webhookUrl": "https://app.example/hook",
    "isPrivateFile": "true",
    "customMetadata": '{"colour": "red", "stars": 4, "ratio": 0.1, "active": true, "bought": "2024-01-01T12:00:00",'
    ' "sizes": ["M", 40, true], "none": null}',
}
VIDEO = Media(width=640, height=480, duration=5.1, bit_rate=9000, video_codec="h264", audio_codec="aac")


def holds(text: str, form: dict[str, str] = FORM, **file: Any) -> bool:
    known: dict[str, Any] = {"size": 1000, "mime": "image/png", "media": VIDEO}
    return evaluate(parse(text), Facts.of(form, **known | file))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        # texts
        ('"request.fileName" = "photo.jpg"', True),
        ('"request.fileName" = "photo"', False),
        ('"request.fileName" = "Photo.jpg"', False),
        ('"request.fileName" NOT = "photo.jpg"', False),
        ('"request.fileName" NOT = "photo"', True),
        ('"request.fileName" : "photo"', True),
        ('"request.fileName" : "hoto"', False),
        ('"request.fileName" : ""', True),
        ('"request.fileName" IN ["a", "photo.jpg"]', True),
        ('"request.fileName" IN ["a", "photo"]', False),
        ('"request.fileName" NOT IN ["a", "photo.jpg"]', False),
        ('"request.fileName" NOT IN ["a"]', True),
        ('"request.customCoordinates" = "10,10,20,20"', True),
        ('"request.webhookUrl" : "https://"', True),
        ('"request.webhookUrl" : "http://"', False),
        # flags
        ('"request.isPrivateFile" = true', True),
        ('"request.isPrivateFile" = false', False),
        ('"request.isPrivateFile" NOT = true', False),
        ('"request.isPrivateFile" NOT = false', True),
        # tags
        ('"request.tags" IN ["summer", "x"]', True),
        ('"request.tags" IN ["x"]', False),
        ('"request.tags" IN ["sum"]', False),
        ('"request.tags" NOT IN ["x"]', True),
        ('"request.tags" NOT IN ["x", "sale"]', False),
        ('"request.tags" HAS "sale"', True),
        ('"request.tags" HAS "x"', False),
        ('"request.tags" HAS ["x", "sale"]', True),
        ('"request.tags" NOT HAS "sale"', False),
        ('"request.tags" NOT HAS ["x", "y"]', True),
        # size, both sides of each limit
        ('"file.size" = 1000', True),
        ('"file.size" = 1001', False),
        ('"file.size" = "1kb"', True),
        ('"file.size" < 1000', False),
        ('"file.size" < 1001', True),
        ('"file.size" <= 1000', True),
        ('"file.size" <= 999', False),
        ('"file.size" <= "1kb"', True),
        ('"file.size" < "1kb"', False),
        ('"file.size" > 999', True),
        ('"file.size" > 1000', False),
        ('"file.size" >= 1000', True),
        ('"file.size" >= 1001', False),
        ('"file.size" > "0b"', True),
        ('"file.size" < 1000.5', True),
        # type
        ('"file.mime" : "image/"', True),
        ('"file.mime" : "image"', True),
        ('"file.mime" : "video/"', False),
        ('"file.mime" IN ["image/png"]', True),
        ('"file.mime" NOT = "image/png"', False),
        # media
        ('"mediaMetadata.width" = 640', True),
        ('"mediaMetadata.width" > 640', False),
        ('"mediaMetadata.height" <= 480', True),
        ('"mediaMetadata.duration" = 5.1', True),
        ('"mediaMetadata.duration" > 5', True),
        ('"mediaMetadata.duration" > 5.1', False),
        ('"mediaMetadata.bitRate" < 10000', True),
        ('"mediaMetadata.videoCodec" = "h264"', True),
        ('"mediaMetadata.videoCodec" NOT IN ["vp8", "vp9"]', True),
        ('"mediaMetadata.audioCodec" : "aa"', True),
        # custom metadata by the type of the value that was sent
        ('"request.customMetadata.colour" = "red"', True),
        ('"request.customMetadata.colour" NOT = "red"', False),
        ('"request.customMetadata.colour" : "re"', True),
        ('"request.customMetadata.colour" IN ["blue", "red"]', True),
        ('"request.customMetadata.colour" > "blue"', False),
        ('"request.customMetadata.colour" = 4', False),
        ('"request.customMetadata.stars" = 4', True),
        ('"request.customMetadata.stars" = 4.0', True),
        ('"request.customMetadata.stars" = "4"', False),
        ('"request.customMetadata.stars" >= 4', True),
        ('"request.customMetadata.stars" > 4', False),
        ('"request.customMetadata.stars" > "2024-01-01"', False),
        ('"request.customMetadata.stars" : "4"', False),
        ('"request.customMetadata.stars" IN [3, 4]', True),
        ('"request.customMetadata.stars" NOT IN [3, 4]', False),
        ('"request.customMetadata.ratio" = 0.1', True),
        ('"request.customMetadata.active" = true', True),
        ('"request.customMetadata.active" = 1', False),
        ('"request.customMetadata.active" NOT = 1', True),
        ('"request.customMetadata.active" > 0', False),
        ('"request.customMetadata.bought" > "2024-01-01"', True),
        ('"request.customMetadata.bought" > "2024-01-01T12:00:00"', False),
        ('"request.customMetadata.bought" >= "2024-01-01T12:00:00Z"', True),
        ('"request.customMetadata.bought" = "2024-01-01T13:00:00+01:00"', True),
        ('"request.customMetadata.bought" < "2024-13-01"', False),
        ('"request.customMetadata.bought" : "2024"', True),
        ('"request.customMetadata.sizes" IN ["S", "M"]', True),
        ('"request.customMetadata.sizes" IN [40]', True),
        ('"request.customMetadata.sizes" IN [1]', False),
        ('"request.customMetadata.sizes" NOT IN [true]', False),
        ('"request.customMetadata.sizes" = "M"', False),
        ('"request.customMetadata.sizes" NOT = "M"', False),
        ('"request.customMetadata.sizes" : "M"', False),
        # AND, OR, parentheses
        ('"file.size" = 1 OR "file.size" = 1000', True),
        ('"file.size" = 1 OR "file.size" = 2', False),
        ('"file.size" = 1000 AND "file.size" = 1', False),
        ('"file.size" = 1000 OR "file.size" = 1 AND "file.size" = 2', True),
        ('("file.size" = 1000 OR "file.size" = 1) AND "file.size" = 2', False),
    ],
)
def test_each_operator_says_what_the_table_says(text: str, answer: bool) -> None:
    assert holds(text) is answer


@pytest.mark.parametrize("folder", ["marketing", "/marketing", "marketing/", "//marketing//"])
@pytest.mark.parametrize(
    ("check", "answer"),
    [
        ('= "marketing"', True),
        ('= "/marketing/"', True),
        ('= "market"', False),
        ('NOT = "marketing"', False),
        ('IN ["/sales", "/marketing"]', True),
        ('NOT IN ["marketing"]', False),
        (': "marketing/"', True),
        (': "/marketing"', True),
        (': "/"', True),
        (': "market"', True),
        (': "market/"', False),
        (': "marketing/summer"', False),
    ],
)
def test_a_folder_is_the_same_however_its_slashes_are_written(folder: str, check: str, answer: bool) -> None:
    assert holds(f'"request.folder" {check}', {"folder": folder}) is answer


@pytest.mark.parametrize(
    ("folder", "answer"),
    [
        ("marketing", True),
        ("marketing/a/b", True),
        ("marketing2", False),
        ("x/marketing", False),
        ("", False),
        ("/", False),
    ],
)
def test_a_folder_with_a_closing_slash_means_it_and_what_is_in_it(folder: str, answer: bool) -> None:
    assert holds('"request.folder" : "marketing/"', {"folder": folder}) is answer


def test_a_folder_is_compared_in_one_unicode_form() -> None:
    assert holds('"request.folder" = "/\u00e9t\u00e9"', {"folder": "/e\u0301te\u0301"})


@pytest.mark.parametrize("name", FLAG_DEFAULTS)
@pytest.mark.parametrize("sent", [{}, "", "null", "undefined"])
def test_a_flag_that_is_left_out_has_imagekits_default(name: str, sent: str | dict[str, str]) -> None:
    form = {name: sent} if isinstance(sent, str) else sent
    default = name != "isPrivateFile"
    assert holds(f'"request.{name}" = {str(default).lower()}', form)
    assert not holds(f'"request.{name}" = {str(not default).lower()}', form)


def test_a_flag_that_is_neither_is_refused_by_name() -> None:
    with pytest.raises(Refusal) as refused:
        holds('"file.size" = 1', {"isPublished": "True"})
    assert (refused.value.code, refused.value.field) == (Code.PARAMETER_INVALID, "isPublished")


@pytest.mark.parametrize("field", ["fileName", "customCoordinates", "webhookUrl", "folder"])
def test_a_text_that_is_left_out_is_empty(field: str) -> None:
    assert holds(f'"request.{field}" = ""', {})
    assert holds(f'"request.{field}" NOT = "x"', {})
    assert not holds(f'"request.{field}" : "x"', {})


@pytest.mark.parametrize("tags", [{}, {"tags": ""}, {"tags": " , "}])
def test_without_tags_none_is_in_a_list(tags: dict[str, str]) -> None:
    assert not holds('"request.tags" IN ["a", ""]', tags)
    assert holds('"request.tags" NOT IN ["a", ""]', tags)


@pytest.mark.parametrize("metadata", [{}, {"customMetadata": ""}, FORM])
def test_metadata_that_was_not_sent_equals_nothing(metadata: dict[str, str]) -> None:
    for check in ('= "x"', ': ""', 'IN ["x"]', "> 0", "<= 0"):
        assert not holds(f'"request.customMetadata.none" {check}', metadata)
    for check in ('NOT = "x"', 'NOT IN ["x"]'):
        assert holds(f'"request.customMetadata.none" {check}', metadata)


@pytest.mark.parametrize(
    "text",
    ["[]", "x", '{"a": {}}', '{"a": [[1]]}', '{"a": [null]}', '{"a": NaN}', '{"a": 1e999}', '{"a": 1, "a": 2}', '"a"'],
)
def test_metadata_that_cannot_be_read_is_refused_by_name(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        holds('"file.size" = 1000', {"customMetadata": text})
    assert (refused.value.code, refused.value.field) == (Code.PARAMETER_INVALID, "customMetadata")


@pytest.mark.parametrize(
    "check",
    [
        *(
            f'"mediaMetadata.{name}" {op} 0'
            for name in ("width", "height", "duration", "bitRate")
            for op in ("=", ">=", "<=")
        ),
        *(
            f'"{name}" {check}'
            for name in ("mediaMetadata.videoCodec", "mediaMetadata.audioCodec", "file.mime")
            for check in ('= "x"', 'NOT = "x"', ': ""', 'IN ["x"]', 'NOT IN ["x"]')
        ),
    ],
)
def test_what_is_unknown_of_a_file_satisfies_nothing(check: str) -> None:
    assert not holds(check, media=Media(), mime=None)


def test_a_duration_that_is_no_number_is_unknown() -> None:
    assert not holds('"mediaMetadata.duration" >= 0', media=Media(duration=float("nan")))
    assert not holds('"mediaMetadata.duration" >= 0', media=Media(duration=float("inf")))


@pytest.mark.parametrize("mime", ["Image/PNG", "image/png; x=y", "image/png;"])
def test_a_type_is_compared_without_its_parameters_in_small_letters(mime: str) -> None:
    assert holds('"file.mime" = "image/png"', mime=mime)


def test_numbers_are_compared_exactly() -> None:
    """2**53 and 2**53 + 1 are one floating-point number."""
    assert not holds(f'"file.size" < {2**53 + 1}', size=2**53 + 1)
    assert holds(f'"file.size" < {2**53 + 1}', size=2**53)


@given(expressions(), FORMS, SENT_MIMES, st.integers(0, 10**10), st.sampled_from([Media(), VIDEO]))
@settings(max_examples=300, deadline=None)
def test_every_expression_has_an_answer_and_names_what_it_fails_on(
    expression: Expression, form: dict[str, str], mime: str, size: int, media: Media
) -> None:
    facts = Facts.of(form, size=size, mime=mime, media=media)
    if not evaluate(expression, facts):
        unmet = first_unmet(expression, facts)
        assert not evaluate(unmet, facts)
        assert not isinstance(unmet, Junction) or unmet.word == "OR"


DATES = st.sampled_from(
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2024-02-30",
        "2024-01-01T",
        "2024-01-01T24:00:00",
        "2024-01-01",
        "x",
        "2024-01-01T00:00:00Z",
        "2024-01-01T01:00+01:00",
        "2024-01-01T999999999999999999999999999999",
    ]
)


@given(DATES, DATES, st.sampled_from(["<", "<=", ">", ">=", "=", "NOT ="]))
def test_odd_dates_have_an_answer(sent: str, wanted: str, operator: str) -> None:
    holds(f'"request.customMetadata.d" {operator} "{wanted}"', {"customMetadata": f'{{"d": "{sent}"}}'})
