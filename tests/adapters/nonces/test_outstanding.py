"""How many could be spent now, by the store's own account: each way in, each way out, and what it may cost."""

from __future__ import annotations

import collections
import contextlib
import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.nonces import new_nonce, new_nonces, new_request, record_all, soon
from tests.support.processes import until
from tests.support.valkey import APP_RIGHTS, Valkey
from tokensvc.adapters.nonces import census, fence
from tokensvc.adapters.nonces.keys import bucket_of
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core.errors import Outage
from tokensvc.core.grants import GrantNote
from tokensvc.core.quotas import Quota
from tokensvc.core.uses import ONCE, Uses
from tokensvc.core.watermarks import Watermark
from tokensvc.core.window import MARGIN_SECONDS
from tokensvc.ports import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokensvc.core.nonces import NonceId

RIGHTS_TO_COUNT = "+scan +dbsize +pttl"


@pytest.fixture
def server() -> Iterator[Valkey]:
    """One of its own: what other tests have issued is outstanding too."""
    with Valkey() as server:
        yield server


@pytest.fixture(params=[1, 64], ids=["one bucket", "64 buckets"])
def store(request: pytest.FixtureRequest, server: Valkey) -> Iterator[RedisNonces]:
    with contextlib.closing(server.client()) as client:
        yield RedisNonces(client, chance=os.urandom, buckets=request.param)


def issued(store: RedisNonces, *, grant: str = "g", until: int | None = None, uses: Uses = ONCE) -> NonceId:
    nonce = new_nonce()
    assert store.record(nonce, grant=grant, until=until or soon(), request=new_request(), uses=uses).recorded
    return nonce


def spend(store: RedisNonces, nonce: NonceId, lease: int | None = None) -> str:
    request = new_request()
    assert store.redeem(nonce, request=request, lease=lease).outcome in {Outcome.SPENT, Outcome.CLAIMED}
    return request


def test_it_is_what_was_issued_and_neither_spent_nor_revoked(store: RedisNonces) -> None:
    assert store.outstanding() == 0
    nonces = [issued(store) for _ in range(20)]
    assert record_all(store, new_nonces(10)).recorded
    assert store.outstanding() == 30
    for nonce in nonces[:5]:
        request = spend(store, nonce)
        store.redeem(nonce, request=request)  # the same again
        store.redeem(nonce, request=new_request())  # a replay
    store.finish(nonces[4], request=request, result="file")
    assert store.outstanding() == 25
    assert store.revoke(nonces[5], actor="ops") is Outcome.REVOKED
    assert store.revoke(nonces[5], actor="ops") is Outcome.REVOKED
    assert store.outstanding() == 24
    store.redeem(new_nonce(), request=new_request(), cross_off_until=soon())
    assert store.outstanding() == 24, "one that was minted elsewhere was never issued here"


def test_one_with_uses_is_outstanding_until_its_last_is_spent(store: RedisNonces) -> None:
    nonce = issued(store, uses=Uses(3))
    for _ in range(2):
        spend(store, nonce)
        assert store.outstanding() == 1
    spend(store, nonce)
    assert store.outstanding() == 0
    store.revoke(issued(store, uses=Uses(3)), actor="ops")
    assert store.outstanding() == 0


def test_one_that_is_claimed_is_outstanding_until_that_is_committed(store: RedisNonces) -> None:
    nonce = issued(store, uses=Uses(1, "on-success"))
    request = spend(store, nonce, lease=60)
    assert store.outstanding() == 1
    assert store.commit(nonce, request=request) is Outcome.SPENT
    assert store.outstanding() == 0


def test_one_that_is_too_old_is_not_although_its_record_is_kept(store: RedisNonces) -> None:
    now = int(time.time())
    old = issued(store, until=now + MARGIN_SECONDS)
    issued(store, until=now + MARGIN_SECONDS + 2)
    assert store.outstanding() == 1
    until(lambda: store.outstanding() == 0, "its end")
    assert store.redeem(old, request=new_request()).outcome in {Outcome.SPENT, Outcome.UNISSUED}
    assert time.time() < now + MARGIN_SECONDS + 2, "the other one's record is there"


@pytest.mark.parametrize("uses", [ONCE, Uses(2)], ids=["once", "twice"])
def test_what_a_watermark_revokes_is_not(store: RedisNonces, uses: Uses) -> None:
    now = int(time.time())
    for account, issued_at in (("a", now - 10), ("a", now + 10), ("b", now - 10)):
        issued(store, grant=GrantNote(account, "default", "web", "u", issued_at).to_text(), uses=uses)
    store.revoke_before(Watermark("account", "a", now))
    assert store.outstanding() == 2


def test_what_stands_for_a_credential_of_another_bucket_is_not_a_second_one(server: Valkey) -> None:
    quota = Quota(new_request(), outstanding=50)
    with contextlib.closing(server.client()) as client:
        store = RedisNonces(client, chance=os.urandom, buckets=64)
        while store.beside(nonce := new_nonce(), quota.subject_id):
            pass
        assert store.record(nonce, grant="g", until=soon(), request=new_request(), quota=quota).recorded
        assert len(list(client.scan_iter("*:n:*"))) == 2
        assert store.outstanding() == 1


def test_a_new_epoch_has_none_and_a_restart_that_lost_nothing_has_all() -> None:
    with Valkey(appendonly="yes", appendfsync="always") as own, contextlib.closing(own.client()) as client:
        store = RedisNonces(client, chance=os.urandom, on_fence="wait")
        fence.initialise(client, 0, "epoch-01")
        for _ in range(3):
            issued(store)
        own.stop()
        own.start()
        fence.rebind(client, 0, "epoch-02")
        assert store.outstanding() == 3
        own.stop()
        own.start()
        fence.rotate(client, 0, "epoch-03")
        assert store.outstanding() == 0
        issued(store)
        assert store.outstanding() == 1


def test_of_many_so_many_are_looked_at_and_no_more(server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of 6000 are spent, and a sixth of all is looked at: the estimate is within five standard errors."""
    monkeypatch.setattr(census, "MOST_LOOKED_AT", 1000)
    asked = collections.Counter[str]()
    with contextlib.closing(server.client()) as client:
        store = RedisNonces(
            client, chance=os.urandom, observe=lambda script, _seconds, _answered: asked.update([script])
        )
        nonces = new_nonces(6000)
        for first in range(0, 6000, 100):
            assert record_all(store, nonces[first : first + 100]).recorded
        for nonce in nonces[::2]:
            spend(store, nonce)
        assert 3000 - 475 < store.outstanding() < 3000 + 475
        assert asked["outstanding"] == 2
        monkeypatch.setattr(census, "MOST_LOOKED_AT", 10_000)
        assert store.outstanding() == 3000


def test_keys_of_others_are_not_counted(server: Valkey) -> None:
    with contextlib.closing(server.client()) as client:
        store = RedisNonces(client, chance=os.urandom)
        issued(store)
        client.set("I:n:" + new_nonce(), "I:epoch:request:g", ex=600)
        client.lpush("ik{00}:n", "x")
        client.set("xik{00}:n:" + new_nonce(), client.get(next(client.scan_iter("ik{00}:n:*"))) or b"", ex=600)
        assert store.outstanding() == 1


@pytest.mark.parametrize("right", ["", *RIGHTS_TO_COUNT.split()])
def test_a_user_without_the_right_to_count_does_all_else(server: Valkey, right: str) -> None:
    rights = f"{APP_RIGHTS} {RIGHTS_TO_COUNT}".replace(f" {right}", "") if right else APP_RIGHTS
    server.command("ACL", "SETUSER", "app", "reset", "on", ">app-password", *rights.split())
    with contextlib.closing(server.client()) as operator:
        fence.initialise(operator, 0, "epoch-00")
    with contextlib.closing(connect(server.url_as("app", "app-password"), connections=4)) as client:
        store = RedisNonces(client, chance=os.urandom, on_fence="wait")
        nonce = issued(store)
        for _ in range(10):  # more than a breaker would stand of a silent store
            with pytest.raises(Outage):
                store.outstanding()
        spend(store, nonce)


def test_a_bucket_is_looked_at_by_its_first_byte(store: RedisNonces) -> None:
    nonces = [issued(store) for _ in range(200)]
    assert len({bucket_of(nonce, 64) for nonce in nonces}) > 32
    assert store.outstanding() == 200
