"""The tokens of v1 that are ours."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from tokensvc.service.tokens import new_token, new_tokens


@given(st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=5))
def test_each_is_the_uuid_of_its_bytes(drawn: list[bytes]) -> None:
    """Of version 4, as Python's own makes them: 122 of its bits are random."""
    expected = [str(uuid.UUID(bytes=each, version=4)) for each in drawn]
    assert new_tokens(lambda _count: b"".join(drawn), len(drawn)) == expected
    assert new_token(lambda _count: drawn[0]) == expected[0]
