"""To look at a nonce: what redeeming it would come to, and nothing changes."""

from __future__ import annotations

import contextlib
import os

from tests.support.nonces import new_nonce, new_request, soon
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.ports import Outcome, Standing


def test_each_state_is_told_and_left_as_it_is(valkey: Valkey) -> None:
    with contextlib.closing(valkey.client()) as client:
        store, nonce, request = RedisNonces(client, chance=os.urandom), new_nonce(), new_request()
        assert [store.look(nonce) for _ in range(2)] == [Standing(Outcome.UNISSUED)] * 2
        store.record(nonce, grant="g:1", until=soon(), request=new_request())
        assert [store.look(nonce) for _ in range(2)] == [Standing(None, "g:1", 1)] * 2
        assert store.redeem(nonce, request=request).outcome is Outcome.SPENT
        assert store.look(nonce) == Standing(Outcome.REPLAYED)
        store.finish(nonce, request=request, result="file")
        assert store.look(nonce) == Standing(Outcome.REPLAYED)
        revoked = new_nonce()
        store.record(revoked, grant="g", until=soon(), request=new_request())
        store.revoke(revoked, actor="ops")
        assert store.look(revoked) == Standing(Outcome.REVOKED)


def test_one_of_an_earlier_epoch_is_stale() -> None:
    with Valkey(appendonly="yes") as own, contextlib.closing(own.client()) as client:
        store, nonce = RedisNonces(client, chance=os.urandom), new_nonce()
        store.record(nonce, grant="g", until=soon(), request=new_request())
        own.restart()
        assert store.look(nonce) == Standing(Outcome.STALE)
