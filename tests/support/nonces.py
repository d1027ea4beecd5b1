"""Nonces, requests and times for tests of the store; each is new."""

from __future__ import annotations

import base64
import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from typing import cast

import redis

from tests.support.valkey import APP_RIGHTS, Valkey
from tokensvc.adapters.nonces import fence
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core.nonces import NonceId
from tokensvc.core.quotas import Quota
from tokensvc.core.uses import ONCE, Uses
from tokensvc.ports import NonceStore, Receipt, Recording


def new_nonce() -> NonceId:
    """A nonce that no other test has."""
    return NonceId(new_request())


def new_nonces(count: int) -> list[NonceId]:
    """So many of them."""
    return [new_nonce() for _ in range(count)]


def new_request() -> str:
    """A request id that no other test has."""
    return base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()


@contextlib.contextmanager
def store_on(valkey: Valkey, *, buckets: int = 1, with_least_rights: bool = False) -> Iterator[RedisNonces]:
    """A nonce store of that many buckets, as on an outside Redis; or with the rights of the embedded one."""
    if not with_least_rights:
        with contextlib.closing(valkey.client()) as client:
            yield RedisNonces(client, chance=os.urandom, buckets=buckets)
        return
    valkey.command("ACL", "SETUSER", "app", "reset", "on", ">app-password", *APP_RIGHTS.split())
    with contextlib.closing(valkey.client()) as operator:
        fence.initialise(operator, 0, "epoch-00")
    with contextlib.closing(connect(valkey.url_as("app", "app-password"), connections=4)) as client:
        yield RedisNonces(client, chance=os.urandom, on_fence="wait")


def value_at(client: redis.Redis, key: str) -> str:
    """What stands there as text; an error if nothing does. redis-py types each answer for its asynchronous twin too."""
    return cast("bytes", client.get(key)).decode("ascii")


def record_all(
    store: NonceStore,
    nonces: Sequence[NonceId],
    *,
    grant: str = "g",
    untils: Sequence[int] | None = None,
    request: str | None = None,
    quota: Quota | None = None,
    receipt: Receipt | None = None,
    uses: Uses = ONCE,
) -> Recording:
    """What came of recording them together: by a new request and for a while, unless it is said."""
    return store.record_batch(
        nonces,
        grant=grant,
        untils=[soon()] * len(nonces) if untils is None else untils,
        request=request or new_request(),
        quota=quota,
        receipt=receipt,
        uses=uses,
    )


def soon() -> int:
    """A time that no test reaches."""
    return int(time.time()) + 600
