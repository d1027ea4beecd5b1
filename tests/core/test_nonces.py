"""The names of nonces: one by one and many together they are the same."""

from __future__ import annotations

import base64
import hashlib

from hypothesis import given
from hypothesis import strategies as st

from tokensvc.core.nonces import Version, nonce_id, nonce_ids


@given(st.sampled_from(["default", "other"]), st.sampled_from(["v1", "v2"]), st.lists(st.binary(max_size=99)))
def test_many_have_the_names_that_each_has_by_itself(account: str, version: Version, materials: list[bytes]) -> None:
    digests = [
        hashlib.sha256(b"\0".join([b"tokensvc", account.encode(), version.encode(), one])).digest() for one in materials
    ]
    expected = [base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode() for digest in digests]
    assert nonce_ids(account, version, materials) == expected
    assert [nonce_id(account, version, one) for one in materials] == expected
