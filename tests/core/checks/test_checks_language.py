from __future__ import annotations

import time
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokensvc.core.checks import ChecksSyntax, Comparison, Expression, Junction, parse, write
from tokensvc.core.checks.fields import FIELDS, FLAG_DEFAULTS, OPERATORS, FieldKind, Operator, bytes_of
from tokensvc.core.checks.language import MAX_CHARACTERS, MAX_DEPTH
from tokensvc.core.params import PARAMETERS, Kind

from .generated import expressions

TEXTS = (
    "request.fileName",
    "request.folder",
    "request.customCoordinates",
    "request.webhookUrl",
    "file.mime",
    "mediaMetadata.videoCodec",
    "mediaMetadata.audioCodec",
)
FLAGS = tuple(f"request.{name}" for name in FLAG_DEFAULTS)
NUMBERS = ("mediaMetadata.width", "mediaMetadata.height", "mediaMetadata.duration", "mediaMetadata.bitRate")
METADATA = ("request.customMetadata.colour", "request.customMetadata.with blank", "request.customMetadata.a.b")

# Written out once more on purpose: this is the documented table, and the code's must agree with it.
TAKES = {
    TEXTS: ("=", "NOT =", ":", "IN", "NOT IN"),
    FLAGS: ("=", "NOT ="),
    ("request.tags",): ("IN", "NOT IN", "HAS", "NOT HAS"),
    ("file.size",): ("=", ">", ">=", "<", "<="),
    NUMBERS: ("=", ">", ">=", "<", "<="),
    METADATA: ("=", "NOT =", ":", "IN", "NOT IN", ">", ">=", "<", "<="),
}
ALL = ("=", "NOT =", ":", "IN", "NOT IN", ">", ">=", "<", "<=", "HAS", "NOT HAS")


A_SIZE = 'a number of bytes, or a text such as "10kb" or "1mb"'
A_FLAG = "true or false, without quotes"


def value_for(field: str, operator: str) -> str:
    one = "true" if field in FLAGS else "5" if field in (*NUMBERS, "file.size") else '"a"'
    return f"[{one}]" if operator.endswith("IN") else one


@pytest.mark.parametrize(
    ("field", "operator", "taken"),
    [(field, op, op in taken) for fields, taken in TAKES.items() for field in fields for op in ALL],
)
def test_each_field_takes_its_own_operators_only(field: str, operator: str, taken: bool) -> None:
    text = f'"{field}" {operator} {value_for(field, operator)}'
    if taken:
        read = parse(text)
        assert isinstance(read, Comparison)
        assert (read.field, read.operator) == (field, operator)
    else:
        with pytest.raises(ChecksSyntax) as fault:
            parse(text)
        assert fault.value.position == len(field) + 4
        assert f"does not take {operator};" in fault.value.reason


def test_every_field_of_the_table_is_in_the_cases_above() -> None:
    assert {field for fields in TAKES for field in fields} - set(METADATA) == FIELDS.keys()


def test_the_flags_are_the_upload_parameters_that_are_flags() -> None:
    assert FLAG_DEFAULTS.keys() == {name for name, parameter in PARAMETERS.items() if parameter.kind is Kind.FLAG}


@pytest.mark.parametrize("kind", FieldKind)
def test_every_kind_of_field_has_operators(kind: FieldKind) -> None:
    """Two kinds with one description would be one member of the enumeration."""
    assert OPERATORS[kind]
    assert len(OPERATORS) == 6


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"file.size" < 1024', 1024),
        ('"file.size" < 0', 0),
        ('"file.size" < "10kb"', "10kb"),
        ('"file.size" < "1.5 MB"', "1.5 MB"),
        ('"mediaMetadata.duration" > 0.5', Decimal("0.5")),
        ('"mediaMetadata.duration" > -1', -1),
        ("'file.mime' = 'image/png'", "image/png"),
        ("'file.mime' = \"image/png\"", "image/png"),
        ('"request.fileName" = "it\'s"', "it's"),
        ('"request.fileName" = ""', ""),
        ('"request.fileName" = ") OR ("', ") OR ("),
        ('"request.isPublished" = false', False),
        ('"request.tags" IN ["a"]', ("a",)),
        ('"request.tags" NOT IN ["a","b" , "c"]', ("a", "b", "c")),
        ('"request.tags" HAS "a"', "a"),
        ('"request.tags" HAS ["a", "b"]', ("a", "b")),
        ('"request.customMetadata.rating" IN [3, "four", true, 5.5]', (3, "four", True, Decimal("5.5"))),
        ('"request.folder":"marketing/"\n', "marketing/"),
        ('\t"request.folder"\r\n:  "x"', "x"),
        ('"request.folder" NOT   = "x"', "x"),
        ('(((("file.size" < 7))))', 7),
    ],
)
def test_a_comparison_is_read_with_its_value(text: str, value: object) -> None:
    read = parse(text)
    assert isinstance(read, Comparison)
    assert read.value == value
    assert type(read.value) is type(value)


A, B, C = (Comparison("file.size", Operator.EQUALS, n) for n in (1, 2, 3))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("A AND B AND C", Junction("AND", (A, B, C))),
        ("A OR B OR C", Junction("OR", (A, B, C))),
        ("A OR B AND C", Junction("OR", (A, Junction("AND", (B, C))))),
        ("A AND B OR C", Junction("OR", (Junction("AND", (A, B)), C))),
        ("(A OR B) AND C", Junction("AND", (Junction("OR", (A, B)), C))),
        ("A AND (B AND C)", Junction("AND", (A, Junction("AND", (B, C))))),
        ("((A) AND (B))", Junction("AND", (A, B))),
    ],
)
def test_and_binds_closer_than_or_and_parentheses_closest(text: str, read: Expression) -> None:
    for letter, number in zip("ABC", "123", strict=True):  # AND and OR hold none of the three as a word of their own
        text = " ".join(f'"file.size" = {number}' if word == letter else word for word in spaced(text))
    assert parse(text) == read


def spaced(text: str) -> list[str]:
    return text.replace("(", " ( ").replace(")", " ) ").split()


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 1, "it is empty"),
        (" \n\t", 1, "it is empty"),
        ("file.size < 5", 1, 'the name of a field goes in quotes: "file.size"'),
        ('"file.size" < 5 AND request.tags IN ["a"]', 21, 'the name of a field goes in quotes: "request.tags"'),
        ("size < 5", 1, "size stands where the quoted name of a field is expected"),
        ('"file.name" = "a"', 1, 'there is no field "file.name"'),
        ('"File.size" = 1', 1, 'there is no field "File.size"'),
        ('"request.customMetadata." = 1', 1, 'there is no field "request.customMetadata."'),
        ('"request.customMetadata" = 1', 1, 'there is no field "request.customMetadata"'),
        ('"" = 1', 1, 'there is no field ""'),
        ('"file.size', 1, "this quote is never closed"),
        ('"file.mime" = "image/png\'', 15, "this quote is never closed"),
        ('"file.mime" = "a" "', 19, "this quote is never closed"),
        ('"file.mime" = \u201ca\u201d', 15, "this is not a straight quote, \" or '"),
        ('"file.mime" = `a`', 15, "this is not a straight quote, \" or '"),
        ('"file.mime" = "a\\"', 17, "a text cannot hold a backslash"),
        ('"file.mime" = "a\x00"', 15, "this text contains a control character"),
        ('"file.mime" = "\u202e"', 15, "this text contains a character that changes the direction of text"),
        ('"file.size"', 12, "the end stands where an operator is expected"),
        ('"file.size" 5', 13, "5 stands where an operator is expected"),
        ('"file.size" == 5', 14, f"= stands where {A_SIZE} is expected"),
        ('"file.size" != 5', 13, "this character has no meaning outside of quotes"),
        ('"file.size" < ', 15, f"the end stands where {A_SIZE} is expected"),
        (
            '"file.size" < 10kb',
            15,
            f"10kb stands where {A_SIZE} is expected",
        ),
        (
            '"file.size" < "10xb"',
            15,
            f'the text "10xb" stands where {A_SIZE} is expected',
        ),
        (
            '"file.size" < "10"',
            15,
            f'the text "10" stands where {A_SIZE} is expected',
        ),
        (
            '"file.size" < true',
            15,
            f"true stands where {A_SIZE} is expected",
        ),
        ('"file.size" < [5]', 15, f"[ stands where {A_SIZE} is expected"),
        ('"file.size" < 1e3', 15, f"1e3 stands where {A_SIZE} is expected"),
        ('"file.size" < .5', 15, f".5 stands where {A_SIZE} is expected"),
        ('"file.size" < 111111111111111111111', 15, "this number has more than 20 digits"),
        (
            '"file.size" < \u0665',
            15,
            "this character has no meaning outside of quotes",
        ),
        ('"mediaMetadata.width" > "5"', 25, 'the text "5" stands where a number, without quotes is expected'),
        (
            '"request.isPublished" = "true"',
            25,
            f'the text "true" stands where {A_FLAG} is expected',
        ),
        ('"request.isPublished" = 1', 25, f"1 stands where {A_FLAG} is expected"),
        ('"request.isPublished" = True', 25, f"True stands where {A_FLAG} is expected"),
        ('"file.mime" = 5', 15, "5 stands where a text in quotes is expected"),
        ('"file.mime" : image', 15, "image stands where a text in quotes is expected"),
        ('"request.customMetadata.a" : 5', 30, "5 stands where a text in quotes is expected"),
        ('"file.mime" IN "a"', 16, 'the text "a" stands where a list such as ["a", "b"] is expected'),
        ('"file.mime" IN []', 17, "] stands where a text in quotes is expected"),
        ('"file.mime" IN ["a",]', 21, "] stands where a text in quotes is expected"),
        ('"file.mime" IN ["a" "b"]', 21, 'the text "b" stands where a comma or a closing bracket is expected'),
        ('"file.mime" IN ["a", 5]', 22, "5 stands where a text in quotes is expected"),
        ('"file.mime" IN ["a"', 16, "this list is never closed"),
        ('"file.mime" IN ["a", ["b"]]', 22, "[ stands where a text in quotes is expected"),
        ('"request.tags" HAS 5', 20, "5 stands where a tag in quotes is expected"),
        ('"request.tags" NOT "a"', 20, 'the text "a" stands where =, IN or HAS is expected'),
        ('"file.mime" NOT : "a"', 17, ": stands where =, IN or HAS is expected"),
        ('"file.mime" NOT', 16, "the end stands where =, IN or HAS is expected"),
        ('"file.mime" in ["a"]', 13, "in stands where an operator is expected"),
        ('"file.mime" "IN" ["a"]', 13, 'the text "IN" stands where an operator is expected'),
        ('"file.mime" NOT "=" "a"', 17, 'the text "=" stands where =, IN or HAS is expected'),
        ('NOT "file.size" < 5', 1, "NOT stands where the quoted name of a field is expected"),
        ('"file.size" < 5 "file.size" > 1', 17, 'the text "file.size" stands where AND, OR or the end is expected'),
        ('"file.size" < 5 and "file.size" > 1', 17, "and stands where AND, OR or the end is expected"),
        ('"file.size" < 5 AND', 20, "the end stands where the quoted name of a field is expected"),
        ('AND "file.size" < 5', 1, "AND stands where the quoted name of a field is expected"),
        ('"file.size" < 5)', 16, ") stands where AND, OR or the end is expected"),
        ('"file.size" < 5;', 16, "this character has no meaning outside of quotes"),
        ('"file.size" < 5 -- x', 17, "-- stands where AND, OR or the end is expected"),
        ('("file.size" < 5', 1, "this parenthesis is never closed"),
        ('("file.size" < 5]', 17, "] stands where AND, OR or a closing parenthesis is expected"),
        ("()", 2, ") stands where the quoted name of a field is expected"),
        ('"' + "x" * 100 + '" = 1', 1, 'there is no field "' + "x" * 64 + '"'),
        ("x" * 100, 1, "x" * 40 + "… stands where the quoted name of a field is expected"),
    ],
)
def test_what_is_not_an_expression_is_told_with_place_and_reason(text: str, position: int, reason: str) -> None:
    with pytest.raises(ChecksSyntax) as fault:
        parse(text)
    assert (fault.value.position, fault.value.reason) == (position, reason)


def test_the_position_is_where_the_field_stands() -> None:
    read = parse('"file.size" = 1 AND ("file.size" = 2)')
    assert isinstance(read, Junction)
    assert [part.position for part in read.parts if isinstance(part, Comparison)] == [1, 22]


def test_parentheses_may_be_16_deep_and_no_deeper() -> None:
    def nested(depth: int) -> str:
        return "(" * depth + '"file.size" = 1' + ")" * depth

    assert parse(nested(MAX_DEPTH)) == A
    with pytest.raises(ChecksSyntax) as fault:
        parse(nested(MAX_DEPTH + 1))
    assert (fault.value.position, fault.value.reason) == (17, "parentheses are nested more than 16 levels deep")


def test_a_text_may_have_4096_characters_and_no_more() -> None:
    text = '"file.size" = 1'
    parse(text.ljust(MAX_CHARACTERS))
    with pytest.raises(ChecksSyntax) as fault:
        parse(text.ljust(MAX_CHARACTERS + 1))
    assert (fault.value.position, fault.value.reason) == (4097, "it is longer than 4096 characters")


@pytest.mark.parametrize(
    "piece", ["(", '"', "'", "[", '"file.size" = 1 AND ', '"file.mime" IN ["a",', "NOT ", " ", "1", "\\"]
)
def test_no_text_takes_long_to_read(piece: str) -> None:
    """Twenty readings of a hard text of full length; a quadratic reader would need minutes."""
    text = (piece * MAX_CHARACTERS)[:MAX_CHARACTERS]
    started = time.process_time()
    for _ in range(20):
        with suppress(ChecksSyntax):
            parse(text)
    assert time.process_time() - started < 4


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0b", 0),
        ("1b", 1),
        ("10kb", 10_000),
        ("1mb", 1_000_000),
        ("1MB", 1_000_000),
        ("1 mb", 1_000_000),
        ("1.5mb", 1_500_000),
        ("4.35kb", 4350),
        ("2gb", 2_000_000_000),
        ("999999999999999gb", 999_999_999_999_999_000_000_000),
    ],
)
def test_a_size_in_words_is_decimal_and_exact(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "mb", "1", "1tb", "-1kb", "1e3kb", " 1kb", "1kb ", "1  kb", "1k", "1kib", "٣kb"])
def test_what_is_not_a_size_is_none(text: str) -> None:
    assert bytes_of(text) is None


@given(st.text(max_size=60) | st.text(alphabet="\"'()[],=<>: ANDORNTIHS.\\filesze5", max_size=60))
@settings(max_examples=2000, deadline=None)
def test_any_text_is_an_expression_or_a_fault_within_it(text: str) -> None:
    try:
        read = parse(text)
    except ChecksSyntax as fault:
        assert 1 <= fault.position <= len(text) + 1
        assert fault.reason
    else:
        assert parse(write(read)) == read


PIECES = ['"file.size"', "'request.tags'", '"request.isPublished"', "IN", "NOT", "HAS", "=", "<=", ":", "AND", "OR"]
PIECES += ["(", ")", "[", "]", ",", '"a"', "'1mb'", "5", "-0.50", "true", "false", " "]


@given(st.lists(st.sampled_from(PIECES), max_size=12))
@settings(max_examples=1000, deadline=None)
def test_any_row_of_good_pieces_is_an_expression_or_a_fault(pieces: list[str]) -> None:
    text = " ".join(pieces)
    try:
        read = parse(text)
    except ChecksSyntax as fault:
        assert 1 <= fault.position <= len(text) + 1
    else:
        assert parse(write(read)) == read


@given(expressions())
@settings(max_examples=300, deadline=None)
def test_what_is_written_is_read_back_and_written_alike(expression: Expression) -> None:
    text = write(expression)
    assert parse(text) == expression
    assert write(parse(text)) == text
