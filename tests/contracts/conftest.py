"""The adapters that the suites run over."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from tests.support.valkey import APP_RIGHTS, Valkey
from tokensvc.adapters.nonces import RedisNonces, fence
from tokensvc.adapters.redis_client import connect
from tokensvc.ports import NonceStore


@pytest.fixture(params=["rotate", "wait", "buckets"])
def nonce_store(request: pytest.FixtureRequest, valkey: Valkey) -> Iterator[NonceStore]:
    if request.param != "wait":
        with contextlib.closing(valkey.client()) as client:
            yield RedisNonces(client, chance=os.urandom, buckets=64 if request.param == "buckets" else 1)
        return
    valkey.command("ACL", "SETUSER", "app", "reset", "on", ">app-password", *APP_RIGHTS.split())
    with contextlib.closing(valkey.client()) as operator:
        fence.initialise(operator, 0, "epoch-00")
    with contextlib.closing(connect(valkey.url_as("app", "app-password"), connections=4)) as client:
        yield RedisNonces(client, chance=os.urandom, on_fence="wait")
