"""Servers that lost something, or went back in time: never a second use, and whose word it takes to carry on."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

import pytest
import redis

from tests.support.nonces import new_nonce, new_request, soon
from tests.support.processes import until
from tests.support.topologies import free_ports, has_caught_up, on_port, replica_is_up
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import fence, scripts
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.core.errors import Outage
from tokensvc.ports import Outcome, Redemption

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def lasting() -> Iterator[Valkey]:
    """A server that keeps everything over a crash. Each test brings it into the state that it needs."""
    with Valkey(appendonly="yes") as server:
        yield server


@pytest.fixture
def client(lasting: Valkey) -> Iterator[redis.Redis]:
    with contextlib.closing(lasting.client(connections=16)) as client:
        fence.rotate(client, 0, new_request()[:8])
        yield client


def store_over(client: redis.Redis, on_fence: Literal["rotate", "wait"] = "rotate") -> RedisNonces:
    """A store whose pauses take no time, and count as if they did."""
    slept = [0.0]
    return RedisNonces(client, chance=os.urandom, on_fence=on_fence, sleep=slept.append, monotonic=lambda: sum(slept))


def epoch_record(server: Valkey) -> bytes | None:
    record: bytes | None = server.command("GET", "ik{00}:e")
    return record


def test_after_a_flush_nothing_is_known_and_nothing_is_spent_again(lasting: Valkey, client: redis.Redis) -> None:
    store = store_over(client)
    spent, issued, request = new_nonce(), new_nonce(), new_request()
    for nonce in (spent, issued):
        store.record(nonce, grant="g", until=soon(), request=new_request())
    assert store.redeem(spent, request=request).outcome is Outcome.SPENT
    lasting.command("FLUSHALL")
    for nonce in (spent, issued):
        assert store.redeem(nonce, request=new_request()) == Redemption(Outcome.UNISSUED)
        assert store.redeem(nonce, request=request) == Redemption(Outcome.UNISSUED)
        assert store.revoke(nonce, actor="ops") is Outcome.UNISSUED


def test_after_a_restart_and_a_new_epoch_what_was_outstanding_is_stale(lasting: Valkey, client: redis.Redis) -> None:
    """Whatever its state was, and also to the request that spent it; but it stays on record."""
    store = store_over(client)
    issued, spent, revoked, recorder, request = new_nonce(), new_nonce(), new_nonce(), new_request(), new_request()
    for nonce in (issued, spent, revoked):
        store.record(nonce, grant="g", until=soon(), request=recorder)
    store.redeem(spent, request=request)
    store.revoke(revoked, actor="ops")
    before = epoch_record(lasting)
    lasting.restart()
    for nonce in (issued, spent, revoked):
        assert store.redeem(nonce, request=request, cross_off_until=soon()) == Redemption(Outcome.STALE)
        assert store.revoke(nonce, actor="ops") is Outcome.STALE
        store.finish(nonce, request=request, result="file")
        assert store.redeem(nonce, request=request) == Redemption(Outcome.STALE)
        assert store.record(nonce, grant="g", until=soon(), request=new_request()).recorded is False
    assert epoch_record(lasting) != before
    fresh = new_nonce()
    assert store.record(fresh, grant="g", until=soon(), request=new_request()).recorded
    assert store.redeem(fresh, request=new_request()).outcome is Outcome.SPENT


def test_a_record_whose_reply_was_lost_in_a_restart_is_an_outage(lasting: Valkey, client: redis.Redis) -> None:
    """It is ours, and stale: neither "recorded" nor "known to another" would be true."""
    store, nonce, request = store_over(client), new_nonce(), new_request()
    store.record(nonce, grant="g", until=soon(), request=request)
    lasting.restart()
    with pytest.raises(Outage, match="while the credential was being recorded"):
        store.record(nonce, grant="g", until=soon(), request=request)


def test_after_a_restart_and_a_rebind_nothing_has_happened(lasting: Valkey, client: redis.Redis) -> None:
    store = store_over(client)
    issued, spent, revoked, recorder, request = new_nonce(), new_nonce(), new_nonce(), new_request(), new_request()
    for nonce in (issued, spent, revoked):
        store.record(nonce, grant="g", until=soon(), request=recorder)
    store.redeem(spent, request=request)
    store.revoke(revoked, actor="ops")
    lasting.restart()
    assert fence.rebind(client, 0, "new-one-").written
    assert store.record(issued, grant="g", until=soon(), request=recorder).recorded is True
    assert store.redeem(issued, request=new_request()) == Redemption(Outcome.SPENT, grant="g")
    assert store.redeem(issued, request=new_request()) == Redemption(Outcome.REPLAYED)
    assert store.redeem(spent, request=new_request()) == Redemption(Outcome.REPLAYED)
    assert store.redeem(spent, request=request) == Redemption(Outcome.SPENT, grant="g")
    assert store.redeem(revoked, request=request) == Redemption(Outcome.REVOKED)


def test_a_restored_copy_spends_nothing_again(lasting: Valkey, client: redis.Redis) -> None:
    """The file says "issued". The server that reads it is not the one that it was written for."""
    store, nonce = store_over(client), new_nonce()
    store.record(nonce, grant="g", until=soon(), request=new_request())
    shutil.copytree(lasting.folder / "appendonlydir", lasting.folder / "copy")
    assert store.redeem(nonce, request=new_request()).outcome is Outcome.SPENT
    lasting.kill()
    shutil.rmtree(lasting.folder / "appendonlydir")
    (lasting.folder / "copy").rename(lasting.folder / "appendonlydir")
    lasting.start()
    assert lasting.command("GET", f"ik{{00}}:n:{nonce}").startswith(b"I:")
    assert store.redeem(nonce, request=new_request()) == Redemption(Outcome.STALE)


def test_a_store_that_waits_starts_no_epoch_and_says_yes_to_nothing(lasting: Valkey, client: redis.Redis) -> None:
    store, nonce = store_over(client, "wait"), new_nonce()
    store.record(nonce, grant="g", until=soon(), request=new_request())
    lasting.restart()
    before = epoch_record(lasting)
    for call in (
        lambda: store.record(new_nonce(), grant="g", until=soon(), request=new_request()),
        lambda: store.redeem(nonce, request=new_request(), cross_off_until=soon()),
        lambda: store.finish(nonce, request=new_request(), result="file"),
        lambda: store.revoke(nonce, actor="ops"),
        store.ready,
    ):
        with pytest.raises(Outage, match="restarted or replaced"):
            call()
    assert epoch_record(lasting) == before
    fence.rebind(client, 0, "new-one-")
    store = store_over(client, "wait")  # the first would not ask again for a second, after so many outages
    store.ready()
    assert store.redeem(nonce, request=new_request()) == Redemption(Outcome.SPENT, grant="g")


def test_a_store_that_waits_carries_on_when_somebody_rebinds(lasting: Valkey, client: redis.Redis) -> None:
    """Within the call: it was no outage. More attempts than a time-out would get are made."""
    pauses: list[float] = []

    def rebind_at_the_fifth_pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            fence.rebind(client, 0, "new-one-")

    waiting = RedisNonces(client, chance=os.urandom, on_fence="wait", sleep=rebind_at_the_fifth_pause)
    nonce = new_nonce()
    waiting.record(nonce, grant="g", until=soon(), request=new_request())
    lasting.restart()
    assert waiting.redeem(nonce, request=new_request()) == Redemption(Outcome.SPENT, grant="g")
    assert len(pauses) == 5


def test_a_store_that_waits_sits_out_a_restart(lasting: Valkey, client: redis.Redis) -> None:
    """From nobody listening, over loading, to the rebind."""
    pauses: list[float] = []

    def start_at_the_fifth_pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            lasting.start()
            fence.rebind(client, 0, "new-one-")

    stopped = [0.0]
    waiting = RedisNonces(
        client, chance=os.urandom, on_fence="wait", sleep=start_at_the_fifth_pause, monotonic=lambda: stopped[0]
    )
    nonce = new_nonce()
    waiting.record(nonce, grant="g", until=soon(), request=new_request())
    lasting.kill()
    assert waiting.redeem(nonce, request=new_request()) == Redemption(Outcome.SPENT, grant="g")


def test_the_fence_heals_from_any_verb(lasting: Valkey, client: redis.Redis) -> None:
    store = store_over(client)
    for call in (
        lambda: store.record(new_nonce(), grant="g", until=soon(), request=new_request()),
        lambda: store.redeem(new_nonce(), request=new_request()),
        lambda: store.finish(new_nonce(), request=new_request(), result="file"),
        lambda: store.revoke(new_nonce(), actor="ops"),
        store.ready,
    ):
        lasting.command("SET", "ik{00}:e", "0" * 40 + ":elsewher")
        call()
        assert epoch_record(lasting) not in {None, b"0" * 40 + b":elsewher"}


def test_of_many_that_heal_at_once_one_does(lasting: Valkey, client: redis.Redis) -> None:
    """A second rotation would make stale what was recorded after the first."""
    lasting.command("DEL", "ik{00}:e")
    with ThreadPoolExecutor(16) as threads:
        bindings = list(threads.map(lambda _: fence.rotate(client, 0, new_request()[:8]), range(64)))
    assert sum(binding.written for binding in bindings) == 1
    assert len({binding.epoch for binding in bindings}) == 1
    assert all(binding.bound for binding in bindings)


def test_initialise_writes_the_first_record_and_no_other(lasting: Valkey, client: redis.Redis) -> None:
    lasting.command("DEL", "ik{00}:e")
    assert fence.initialise(client, 0, "epoch-01") == fence.Binding("epoch-01", bound=True, written=True)
    assert fence.initialise(client, 0, "epoch-02") == fence.Binding("epoch-01", bound=True, written=False)
    lasting.restart()
    assert fence.initialise(client, 0, "epoch-03") == fence.Binding("epoch-01", bound=False, written=False)
    lasting.command("SET", "ik{00}:e", "garbage")
    assert fence.initialise(client, 0, "epoch-04") == fence.Binding("", bound=False, written=False)


def test_rotate_replaces_the_record_of_another_server_only(lasting: Valkey, client: redis.Redis) -> None:
    lasting.command("DEL", "ik{00}:e")
    assert fence.rotate(client, 0, "epoch-01") == fence.Binding("epoch-01", bound=True, written=True)
    assert fence.rotate(client, 0, "epoch-02") == fence.Binding("epoch-01", bound=True, written=False)
    lasting.restart()
    assert fence.rotate(client, 0, "epoch-03") == fence.Binding("epoch-03", bound=True, written=True)
    lasting.command("SET", "ik{00}:e", "garbage")
    assert fence.rotate(client, 0, "epoch-04") == fence.Binding("epoch-04", bound=True, written=True)


def test_rebind_keeps_the_epoch_if_there_is_one(lasting: Valkey, client: redis.Redis) -> None:
    lasting.command("DEL", "ik{00}:e")
    assert fence.rebind(client, 0, "epoch-01") == fence.Binding("epoch-01", bound=True, written=True)
    lasting.restart()
    assert fence.rebind(client, 0, "epoch-02") == fence.Binding("epoch-01", bound=True, written=True)
    assert fence.rebind(client, 0, "epoch-03") == fence.Binding("epoch-01", bound=True, written=False)
    lasting.command("SET", "ik{00}:e", "garbage")
    assert fence.rebind(client, 0, "epoch-04") == fence.Binding("epoch-04", bound=True, written=True)


@pytest.mark.parametrize("epoch", ["", "1234567", "123456789", "1234567:", "1234567\n"])
def test_an_epoch_is_eight_url_safe_characters(client: redis.Redis, epoch: str) -> None:
    with pytest.raises(ValueError, match="8 URL-safe"):
        fence.rotate(client, 0, epoch)


def test_a_chosen_epoch_is_one() -> None:
    assert fence.choose_epoch(lambda count: b"\xff" * count) == "________"
    assert fence.choose_epoch(os.urandom) != fence.choose_epoch(os.urandom)


def test_a_store_that_hides_its_id_is_not_used(
    lasting: Valkey, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some hosted ones do. Here the scripts look for a field that is nowhere."""
    for name in ("RECORD", "HEAL"):
        whole = getattr(scripts, name)
        text = whole.text.replace("master_replid:", "hidden_replid:")
        sha = lasting.command("SCRIPT", "LOAD", text).decode()
        monkeypatch.setattr(scripts, name, replace(whole, text=text, sha=sha))
    with pytest.raises(Outage, match="hides its master_replid"):
        store_over(client).record(new_nonce(), grant="g", until=soon(), request=new_request())
    with pytest.raises(Outage, match="hides its master_replid"):
        fence.rotate(client, 0, "epoch-01")


def test_a_promoted_replica_spends_nothing_that_its_primary_may_have_spent() -> None:
    """Split brain: both serve. A nonce is good in one of the two lines only, and none is good in both."""
    (port,) = free_ports(1)
    nonces = [new_nonce() for _ in range(50)]
    with (
        on_port(port) as old,
        contextlib.closing(old.client()) as old_client,
    ):
        at_old = store_over(old_client)
        at_old.ready()
        with (
            Valkey(replicaof=f"127.0.0.1 {port}") as new,
            contextlib.closing(new.client()) as new_client,
        ):
            at_new = store_over(new_client)
            until(lambda: replica_is_up(new), "the replica")
            for nonce in nonces:
                assert at_old.record(nonce, grant="g", until=soon(), request=new_request()).recorded
            until(lambda: has_caught_up(new, old), "the replica to catch up")
            with pytest.raises(Outage, match="is a replica"):
                at_new.redeem(nonces[0], request=new_request())
            with pytest.raises(Outage, match="is a replica"):
                at_new.ready()
            new.command("REPLICAOF", "NO", "ONE")
            assert {at_old.redeem(nonce, request=new_request()).outcome for nonce in nonces} == {Outcome.SPENT}
            assert {at_new.redeem(nonce, request=new_request()).outcome for nonce in nonces} == {Outcome.STALE}
            fresh = new_nonce()
            assert at_new.record(fresh, grant="g", until=soon(), request=new_request()).recorded
            assert at_old.redeem(fresh, request=new_request()).outcome is Outcome.UNISSUED
            assert at_new.redeem(fresh, request=new_request()).outcome is Outcome.SPENT
