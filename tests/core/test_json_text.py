"""Text as `json.dumps` makes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokensvc.core.json_text import text_maker

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner)))
def test_it_is_what_json_dumps_makes(value: Any) -> None:
    assert text_maker()(value) == json.dumps(value)


def test_what_json_has_no_word_for_is_as_the_default_says_or_an_error() -> None:
    assert text_maker(default=repr)({"a": {1}}) == json.dumps({"a": "{1}"})
    with pytest.raises(TypeError, match="set"):
        text_maker()({"a": {1}})
