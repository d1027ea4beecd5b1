"""The adapters that the suites run over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.nonces import store_on
from tests.support.valkey import Valkey
from tokensvc.ports import NonceStore


@pytest.fixture(params=["rotate", "wait", "buckets"])
def nonce_store(request: pytest.FixtureRequest, valkey: Valkey) -> Iterator[NonceStore]:
    buckets = 64 if request.param == "buckets" else 1
    with store_on(valkey, buckets=buckets, with_least_rights=request.param == "wait") as made:
        yield made
