"""What is stored: which key, which text, until when."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import time
from collections.abc import Iterator

import pytest
import redis

from tests.support.nonces import new_nonce, new_request, soon, value_at
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces.keys import bucket_of, epoch_key, nonce_key
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.core.errors import Outage
from tokensvc.core.nonces import NonceId
from tokensvc.core.uses import Uses
from tokensvc.ports import Outcome


@pytest.fixture
def client(valkey: Valkey) -> Iterator[redis.Redis]:
    with contextlib.closing(valkey.client()) as client:
        yield client


@pytest.fixture
def store(client: redis.Redis) -> RedisNonces:
    return RedisNonces(client, chance=os.urandom)


def test_the_record_goes_from_issued_to_spent_to_done(client: redis.Redis, store: RedisNonces) -> None:
    nonce, recorder, redeemer = new_nonce(), new_request(), new_request()
    key = f"ik{{00}}:n:{nonce}"
    store.record(nonce, grant="a:b", until=soon(), request=recorder)
    epoch = value_at(client, "ik{00}:e").partition(":")[2]
    assert client.get(key) == f"I:{epoch}:{recorder}:a:b".encode()
    store.redeem(nonce, request=redeemer)
    assert client.get(key) == f"C:{epoch}:{redeemer}:a:b".encode()
    store.finish(nonce, request=redeemer, result="file:1")
    assert client.get(key) == f"D:{epoch}:{redeemer}:6:file:1a:b".encode()


def test_a_record_with_uses_keeps_who_had_each_beside_its_grant(client: redis.Redis, store: RedisNonces) -> None:
    """And its default is none: a record without uses is as short as ever."""
    nonce, recorder, first, second = new_nonce(), new_request(), new_request(), new_request()
    key, until = f"ik{{00}}:n:{nonce}", soon()
    store.record(nonce, grant="a:b", until=until, request=recorder, uses=Uses(3, "on-success"))
    epoch = value_at(client, "ik{00}:e").partition(":")[2]
    assert client.get(key) == f"M:{epoch}:{recorder}:3,s,0,:a:b".encode()
    store.redeem(nonce, request=first)
    store.redeem(nonce, request=second, lease=60)
    value = value_at(client, key)
    till = re.fullmatch(f"M:{epoch}:{recorder}:3,s,2,:{first}C,0:{second}L([0-9]{{13}}),0:a:b", value)
    assert till is not None
    assert 50_000 < int(till[1]) - time.time() * 1000 < 61_000
    store.commit(nonce, request=second)
    store.revoke(nonce, actor="ops")
    store.finish(nonce, request=second, result="file:1")
    assert client.get(key) == f"M:{epoch}:{recorder}:3,s,2,3:ops{first}C,0:{second}D,6:file:1a:b".encode()
    assert client.expiretime(key) == until


def test_a_revoked_record_names_who_revoked_it_first(client: redis.Redis, store: RedisNonces) -> None:
    nonce, recorder = new_nonce(), new_request()
    store.record(nonce, grant="g", until=soon(), request=recorder)
    store.revoke(nonce, actor="ops:anna")
    store.revoke(nonce, actor="ops:ben")
    assert value_at(client, f"ik{{00}}:n:{nonce}").endswith(f":{recorder}:8:ops:annag")


def test_the_epoch_record_is_this_servers_id_and_eight_characters(client: redis.Redis, store: RedisNonces) -> None:
    store.ready()
    replid = client.info("replication")["master_replid"]
    bound, _, epoch = value_at(client, "ik{00}:e").partition(":")
    assert bound == replid
    assert len(epoch) == 8
    assert client.ttl("ik{00}:e") == -1


@pytest.mark.parametrize("ending", ["issued", "spent", "done", "revoked", "crossed off"])
def test_a_record_ends_exactly_at_its_time_whatever_happens_to_it(
    client: redis.Redis, store: RedisNonces, ending: str
) -> None:
    """A record that died before its credential would be a replay window; one that did not die, a leak."""
    nonce, request, until = new_nonce(), new_request(), soon()
    if ending == "crossed off":
        store.redeem(nonce, request=request, cross_off_until=until)
        store.redeem(nonce, request=request, cross_off_until=until + 1)
    else:
        store.record(nonce, grant="g", until=until, request=request)
        store.record(nonce, grant="g", until=until + 1, request=request)
    if ending in {"spent", "done"}:
        store.redeem(nonce, request=request, cross_off_until=until + 1)
    if ending == "done":
        store.finish(nonce, request=request, result="file")
    if ending == "revoked":
        store.revoke(nonce, actor="ops")
    assert client.expiretime(f"ik{{00}}:n:{nonce}") == until


def test_a_spent_nonce_is_replayed_until_its_record_ends(store: RedisNonces) -> None:
    """And unknown after it: by then the credential has expired for longer than the leeway."""
    nonce, until = new_nonce(), int(time.time()) + 2
    store.record(nonce, grant="g", until=until, request=new_request())
    store.redeem(nonce, request=new_request())
    outcomes = []
    while (outcome := store.redeem(nonce, request=new_request()).outcome) is Outcome.REPLAYED:
        outcomes.append((outcome, time.time()))
        time.sleep(0.02)
    assert outcome is Outcome.UNISSUED
    assert outcomes[-1][1] > until - 0.5
    assert time.time() >= until


def test_a_record_that_would_end_before_it_is_made_is_an_outage(store: RedisNonces) -> None:
    """The clocks are apart. A credential that nobody could redeem is not handed out."""
    nonce = new_nonce()
    with pytest.raises(Outage, match="compare the clocks"):
        store.record(nonce, grant="g", until=int(time.time()) - 1, request=new_request())
    assert store.record(nonce, grant="g", until=int(time.time()) + 5, request=new_request()).recorded


def test_nothing_is_crossed_off_that_the_store_would_forget_at_once(store: RedisNonces) -> None:
    """Each use would be the first one."""
    past = int(time.time()) - 1
    assert store.redeem(new_nonce(), request=new_request(), cross_off_until=past).outcome is Outcome.UNISSUED


@pytest.mark.parametrize("text", ["", "I", "garbage", "X:{epoch}:{request}:g", "I:{epoch}", "C::{request}:", "\xff"])
def test_what_is_no_record_of_ours_is_refused(client: redis.Redis, store: RedisNonces, text: str) -> None:
    """Also where unknown nonces are crossed off, and to the request whose id stands there."""
    store.ready()
    nonce, request = new_nonce(), new_request()
    epoch = value_at(client, "ik{00}:e").partition(":")[2]
    client.set(f"ik{{00}}:n:{nonce}", text.format(epoch=epoch, request=request), ex=60)
    assert store.record(nonce, grant="g", until=soon(), request=request).recorded is False
    assert store.redeem(nonce, request=request, cross_off_until=soon()).outcome is Outcome.STALE
    assert store.revoke(nonce, actor="ops") is Outcome.STALE
    store.finish(nonce, request=request, result="file")
    assert store.redeem(nonce, request=request).outcome is Outcome.STALE


def test_a_record_of_another_type_is_an_outage(client: redis.Redis, store: RedisNonces) -> None:
    nonce = new_nonce()
    client.hset(f"ik{{00}}:n:{nonce}", "state", "I")
    with pytest.raises(Outage, match="answered with an error"):
        store.redeem(nonce, request=new_request(), cross_off_until=soon())


BAD_IDS = [
    "",
    "x" * 21,
    "x" * 23,
    "x" * 21 + "\n",
    "x" * 22 + "\n",
    "x" * 21 + "+",
    "x" * 21 + "é",
    "*" * 22,
    "{0}:e" + "x" * 17,
    "\r\nFLUSHALL\r\n" + "x" * 10,
]


@pytest.mark.parametrize("text", BAD_IDS)
def test_nothing_but_an_id_gets_into_a_key_or_a_record(client: redis.Redis, store: RedisNonces, text: str) -> None:
    """Neither as a nonce nor as a request; nothing is sent."""
    before = client.dbsize()
    for call in (
        lambda: store.record(NonceId(text), grant="g", until=soon(), request=new_request()),
        lambda: store.record(new_nonce(), grant="g", until=soon(), request=text),
        lambda: store.redeem(NonceId(text), request=new_request(), cross_off_until=soon()),
        lambda: store.redeem(new_nonce(), request=text, cross_off_until=soon()),
        lambda: store.finish(NonceId(text), request=new_request(), result="r"),
        lambda: store.finish(new_nonce(), request=text, result="r"),
        lambda: store.revoke(NonceId(text), actor="ops"),
    ):
        with pytest.raises(ValueError, match="22 URL-safe"):
            call()
    assert client.dbsize() == before


@pytest.mark.parametrize("until", [0, -1, 10**10, 10**400])
def test_nothing_but_a_time_of_ten_digits_reaches_the_store(store: RedisNonces, until: int) -> None:
    with pytest.raises(ValueError, match="ten digits"):
        store.record(new_nonce(), grant="g", until=until, request=new_request())
    with pytest.raises(ValueError, match="ten digits"):
        store.redeem(new_nonce(), request=new_request(), cross_off_until=until)


def test_the_last_time_of_ten_digits_is_taken(store: RedisNonces) -> None:
    assert store.record(new_nonce(), grant="g", until=10**10 - 1, request=new_request()).recorded


def test_the_bucket_is_the_first_byte_of_the_hash() -> None:
    nonce = NonceId(base64.urlsafe_b64encode(bytes([0xAF]) + bytes(15)).rstrip(b"=").decode())
    assert bucket_of(nonce, 256) == 0xAF
    assert bucket_of(nonce, 64) == 0x2F
    assert bucket_of(nonce, 1) == 0
    assert nonce_key(nonce, 0x6F) == f"ik{{6f}}:n:{nonce}"
    assert epoch_key(0x6F) == "ik{6f}:e"


@pytest.mark.parametrize("bucket", [-1, 256])
def test_there_is_no_bucket_beyond_a_byte(bucket: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 255"):
        epoch_key(bucket)


@pytest.mark.parametrize("buckets", [0, 257])
def test_there_are_as_many_buckets_as_a_byte_tells_apart(client: redis.Redis, buckets: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 256"):
        RedisNonces(client, chance=os.urandom, buckets=buckets)


def test_each_bucket_has_an_epoch_of_its_own(client: redis.Redis) -> None:
    store = RedisNonces(client, chance=os.urandom, buckets=4)
    store.ready()
    epochs = {client.get(f"ik{{{bucket:02x}}}:e") for bucket in range(4)}
    assert len(epochs) == 4
    assert None not in epochs
    nonces = [new_nonce() for _ in range(32)]
    for nonce in nonces:
        assert store.record(nonce, grant="g", until=soon(), request=new_request()).recorded
        assert store.redeem(nonce, request=new_request()).outcome is Outcome.SPENT
        assert client.exists(f"ik{{{bucket_of(nonce, 4):02x}}}:n:{nonce}")
