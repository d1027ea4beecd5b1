from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokensvc.core import strict_json

NESTED = b"[" * 17 + b"]" * 17


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "UTF-8"),
        (b'{"a":1,"a":1}', "twice"),
        (b'{"a":{"b":1,"b":2}}', "twice"),
        (b"NaN", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"1e999", "too large"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\udc00":1}', "surrogate"),
        (b'{"\\udc00":"x"}', "surrogate"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b"[" * 18 + b"]" * 18, "nested"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 17 + b'"x"' + b"}" * 17, "nested"),
        (b"9" * 5000, "too large"),
    ],
)
def test_what_is_not_plain_json_is_refused_with_the_reason(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        strict_json.loads(data)


def test_sixteen_levels_below_the_top_are_read() -> None:
    assert strict_json.loads(NESTED)
    assert strict_json.loads(b'{"a":' * 16 + b'"x"' + b"}" * 16)


@pytest.mark.parametrize("data", [b"[]", b"1", b'"x"', b"null", b"true"])
def test_an_object_is_an_object(data: bytes) -> None:
    with pytest.raises(ValueError, match="not an object"):
        strict_json.loads_object(data)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)


@given(values)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert strict_json.loads(strict_json.dumps(value)) == value


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_reason(data: bytes) -> None:
    try:
        strict_json.loads(data)
    except ValueError as exc:
        assert str(exc)
