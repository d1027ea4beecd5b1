"""Custom metadata fields: what each type takes, both sides of each limit, and what can be no field."""

from __future__ import annotations

from typing import Any

import pytest

from tokensvc.core.errors import Code, Refusal
from tokensvc.core.metadata import MetadataField, require_metadata

NOON = "2026-11-22T12:00:00Z"
TEXT = MetadataField("Text", min_length=2, max_length=3)
NUMBER = MetadataField("Number", min_value=-1, max_value=2.5)
DATE = MetadataField("Date", min_value=NOON, max_value="2026-11-23")
ONE = MetadataField("SingleSelect", options=("S", 1, True, 2.5))
SOME = MetadataField("MultiSelect", options=("S", 0))
BOOLEAN = MetadataField("Boolean")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((TEXT, value) for value in ("ab", "abc", "äö", "  ")),
        (MetadataField("Textarea"), ""),
        (MetadataField("Textarea"), "a\nb" * 1000),
        *((NUMBER, value) for value in (-1, 0, 2.5, 2)),
        (MetadataField("Number"), 1e300),
        *((DATE, value) for value in (NOON, "2026-11-22T14:00:00+02:00", "2026-11-22T12:00:00", "2026-11-23")),
        *((BOOLEAN, value) for value in (True, False)),
        *((ONE, value) for value in ("S", 1, True, 2.5)),
        *((SOME, value) for value in ([], ["S"], [0, "S"])),
        *((field, None) for field in (TEXT, NUMBER, DATE, BOOLEAN, ONE, SOME)),
    ],
)
def test_a_value_of_the_type_is_taken(field: MetadataField, value: Any) -> None:
    require_metadata({"f": field}, {"f": value})


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        (TEXT, "a", "has 1 characters; it needs 2"),
        (TEXT, "abcd", "has 4 characters; at most 3 are allowed"),
        (TEXT, 12, "is no text"),
        (MetadataField("Textarea"), ["a"], "is no text"),
        (NUMBER, -1.5, "is below -1"),
        (NUMBER, 3, "is above 2.5"),
        (NUMBER, "1", "is no number"),
        (NUMBER, True, "is no number"),
        (DATE, "2026-11-22T11:59:59Z", f"is below {NOON}"),
        (DATE, "2026-11-22T13:59:59+02:00", f"is below {NOON}"),
        (DATE, "2026-11-23T00:00:01Z", "is above 2026-11-23"),
        (DATE, "tomorrow", "is no date in ISO 8601, such as 2026-11-30T10:11:10Z"),
        (DATE, 1_795_000_000, "is no date in ISO 8601, such as 2026-11-30T10:11:10Z"),
        (BOOLEAN, "true", "is neither true nor false"),
        (BOOLEAN, 1, "is neither true nor false"),
        (ONE, "M", 'is none of "S", 1, true, 2.5'),
        (ONE, ["S"], 'is none of "S", 1, true, 2.5'),
        (ONE, "1", 'is none of "S", 1, true, 2.5'),
        (SOME, "S", "is no list of options"),
        (SOME, ["S", "M"], 'is none of "S", 0'),
        (SOME, [False], 'is none of "S", 0'),
    ],
)
def test_another_value_is_refused(field: MetadataField, value: Any, why: str) -> None:
    with pytest.raises(Refusal) as refused:
        require_metadata({"f": field}, {"f": value})
    assert (refused.value.code, refused.value.field) == (Code.PARAMETER_INVALID, "customMetadata")
    assert refused.value.detail == f"customMetadata: f {why}."


def test_what_is_not_declared_is_refused() -> None:
    with pytest.raises(Refusal) as refused:
        require_metadata({"f": BOOLEAN}, {"f": True, "x" * 100: None})
    assert refused.value.detail == f"customMetadata has '{'x' * 64}', which is no field of the account."


@pytest.mark.parametrize("values", [{}, {"b": True}, {"a": None, "b": True}])
def test_what_is_required_is_missed(values: dict[str, Any]) -> None:
    fields = {"a": MetadataField("Text", required=True), "b": BOOLEAN}
    with pytest.raises(Refusal) as refused:
        require_metadata(fields, values)
    assert refused.value.detail == "customMetadata lacks a."
    require_metadata(fields, {"a": ""})


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"type": "Number", "min_length": 1}, "min_length and max_length are for Text and Textarea"),
        ({"type": "Text", "max_value": 1}, "min_value and max_value are for Number and Date"),
        ({"type": "Number", "min_value": "1"}, "min_value is not a number"),
        ({"type": "Date", "max_value": 1}, "max_value is not a date in ISO 8601"),
        ({"type": "Text", "options": ("a",)}, "options are for SingleSelect and MultiSelect, which need some"),
        ({"type": "MultiSelect"}, "options are for SingleSelect and MultiSelect, which need some"),
        ({"type": "Text", "min_length": 2, "max_length": 1}, "no value is between its bounds"),
        ({"type": "Number", "min_value": 2, "max_value": 1}, "no value is between its bounds"),
        ({"type": "Date", "min_value": "2026-11-23", "max_value": NOON}, "no value is between its bounds"),
    ],
)
def test_what_could_take_no_value_is_no_field(values: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        MetadataField(**values)


def test_bounds_may_be_equal() -> None:
    assert MetadataField("Text", min_length=1, max_length=1).max_length == 1
    assert MetadataField("Number", min_value=1, max_value=1).max_value == 1
