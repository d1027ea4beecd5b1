"""Several records, or redemptions, by one call of the script: each is decided as if it were alone."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.line import at_once
from tests.support.nonces import new_nonce, new_request, soon
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import fence, scripts
from tokensvc.adapters.nonces.keys import bucket_of, epoch_key, nonce_key
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.adapters.redis_client.calls import MOST_JOINED, MOST_JOINED_BYTES, Call, groups, pack_group
from tokensvc.adapters.redis_client.line import Lined
from tokensvc.core.errors import Outage
from tokensvc.core.nonces import NonceId
from tokensvc.core.profiles import Rate
from tokensvc.core.quotas import Quota
from tokensvc.ports import Outcome, Recording

TOGETHER = 8
NO_QUOTA = ("", "", "", "", "")


@pytest.fixture
def client(valkey: Valkey) -> Iterator[Lined]:
    with contextlib.closing(valkey.client(connections=3 * TOGETHER)) as made:
        assert isinstance(made, Lined)
        fence.initialise(made, 0, "epoch-00")
        yield made


@pytest.fixture
def store(client: Lined) -> RedisNonces:
    """That asks each thing once: its pauses fail."""

    def no_pause(_seconds: float) -> None:
        raise AssertionError("paused")

    return RedisNonces(client, chance=os.urandom, sleep=no_pause)


def epoch_of(client: Lined) -> str:
    """The one that is on record: others have had this server before."""
    return str(client.execute_command("GET", epoch_key(0)).decode().partition(":")[2])


def noted(nonce: NonceId, request: str, *quota: str, until: int | None = None, uses: str = "") -> tuple[str, ...]:
    """One record as the script takes it: its key, and its arguments."""
    return (nonce_key(nonce, 0), request, "g", str(until or soon()), uses, *(quota or NO_QUOTA))


def put(client: Lined, *records: tuple[str, ...], script: scripts.Script = scripts.RECORD) -> list[list[Any]]:
    """The answers of one call."""
    keys = [epoch_key(0), *(record[0] for record in records)]
    arguments = [text for record in records for text in record[1:]]
    answers = client.execute_command("EVAL", script.text, len(keys), *keys, *arguments)
    return [[part.decode() if isinstance(part, bytes) else part for part in answer] for answer in answers]


def calls(valkey: Valkey) -> int:
    """How many calls of scripts by their names there have been."""
    return int(valkey.command("INFO", "commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])


def recorded_at_once(store: RedisNonces, client: Lined, asked: Sequence[tuple[NonceId, Quota | None]]) -> list[Any]:
    """What came of each when they were sent together: a recording, or an error."""

    def record(nonce: NonceId, quota: Quota | None) -> Recording:
        return store.record(nonce, grant="g", until=soon(), request=new_request(), quota=quota)

    came = at_once(client.line, [partial(record, *one) for one in asked])
    return [each.exception() or each.result() for each in came]


def test_each_of_a_call_is_answered_by_itself_and_in_order(client: Lined) -> None:
    there, theirs, mine = new_nonce(), new_nonce(), new_request()
    assert put(client, noted(there, mine), noted(theirs, new_request())) == [["recorded"]] * 2
    before = noted(new_nonce(), new_request(), until=int(time.time()) - 1)
    rate, day = (new_request(), "1", "60", "", ""), (new_request(), "", "", "1", "")
    open_ = (new_request(), "", "", "", "1")
    answers = put(
        client,
        noted(there, mine),
        noted(theirs, new_request()),
        before,
        *[noted(new_nonce(), new_request(), *quota) for quota in (rate, day, open_)],
        *[noted(new_nonce(), new_request(), *quota) for quota in (rate, day, open_)],
        noted(new_nonce(), new_request(), uses="3,a"),
        noted(new_nonce(), new_request()),
    )
    assert [answer[0] for answer in answers] == [
        "recorded",
        "exists",
        "late",
        *["recorded"] * 3,
        *("rate", "per_day", "outstanding"),
        *["recorded"] * 2,
    ]
    assert answers[3:6] == [["recorded", 0, "rate"], ["recorded", 0, "per_day"], ["recorded", 0, "outstanding"]]
    assert all(answer[1] > 0 for answer in answers[6:9])


def test_of_a_nonce_that_is_twice_in_a_call_the_first_is_recorded(client: Lined, store: RedisNonces) -> None:
    nonce = new_nonce()
    assert put(client, noted(nonce, new_request()), noted(nonce, new_request())) == [["recorded"], ["exists"]]
    assert store.redeem(nonce, request=new_request()).outcome is Outcome.SPENT


def test_a_request_that_is_twice_in_a_call_counts_once(client: Lined) -> None:
    nonce, request, quota = new_nonce(), new_request(), (new_request(), "1", "60", "1", "1")
    one = noted(nonce, request, *quota)
    assert put(client, one, one) == [["recorded", 0, "per_day"], ["recorded"]]
    key = epoch_key(0)[:-1] + "q:" + quota[0]
    assert client.zrange(key + ":c", 0, -1) == [b"000000000000001:1"]
    assert client.zcard(f"{key}:o:{epoch_of(client)}") == 1


def test_one_subject_is_counted_on_within_a_call(client: Lined) -> None:
    """What a limit has left is used up from first to last, and what is refused counts nothing."""
    quota = (new_request(), "3", "60", "", "")
    answers = put(client, *[noted(new_nonce(), new_request(), *quota) for _ in range(5)])
    assert [answer[:2] for answer in answers[:3]] == [["recorded", left] for left in (2, 1, 0)]
    assert [answer[0] for answer in answers[3:]] == ["rate"] * 2
    assert client.zrange(epoch_key(0)[:-1] + f"q:{quota[0]}:c", 0, -1) == [b"000000000000003:3"]


def test_what_was_recorded_in_another_epoch_is_stale_beside_what_is_new(client: Lined) -> None:
    nonce, request = new_nonce(), new_request()
    put(client, noted(nonce, request))
    fence.renew(client, 0, new_request()[:8], ended=epoch_of(client))
    assert put(client, noted(nonce, request), noted(new_nonce(), new_request())) == [["stale"], ["recorded"]]


def test_behind_the_fence_all_of_a_call_are_told_so_and_none_is_recorded(client: Lined) -> None:
    nonces, bound = [new_nonce() for _ in range(3)], client.execute_command("GET", epoch_key(0))
    client.set(epoch_key(0), "0" * 40 + ":epoch-00")
    try:
        assert put(client, *[noted(nonce, new_request()) for nonce in nonces]) == [["fenced"]] * 3
    finally:
        client.set(epoch_key(0), bound)
    assert client.exists(*[nonce_key(nonce, 0) for nonce in nonces]) == 0


def call(shared: str, own: str, *arguments: str, sha: str = "a") -> Call:
    return Call(("EVALSHA", sha, 2, shared, own, *arguments), may_join=True)


def test_a_group_is_packed_as_one_call_with_all_keys_before_all_arguments() -> None:
    whole = Call(("EVALSHA", "a", 3, "e", "k1", "k2", "ä", "1", "b", "2"), may_join=False)
    assert pack_group([call("e", "k1", "ä", "1"), call("e", "k2", "b", "2")]) == pack_group([whole])


def test_only_calls_of_one_script_with_one_key_are_joined_and_what_may_not_be_goes_alone() -> None:
    alone = [Call(("EVALSHA", "a", 2, "e", "k", "x"), may_join=False) for _ in range(2)]
    e1, e2, other, f = call("e", "1"), call("e", "2"), call("e", "3", sha="b"), call("f", "4")
    assert groups([e1, alone[0], f, other, e2, alone[1]]) == [[e1, e2], [alone[0]], [f], [other], [alone[1]]]


def test_so_many_are_joined_and_one_more_begins_another_call() -> None:
    asked = [call("e", str(number)) for number in range(MOST_JOINED + 1)]
    assert [len(group) for group in groups(asked[1:])] == [MOST_JOINED]
    assert groups(asked) == [asked[:MOST_JOINED], asked[MOST_JOINED:]]


@pytest.mark.parametrize(("more", "sizes"), [(0, [2]), (1, [1, 1])])
def test_so_many_bytes_are_joined_and_one_more_begins_another_call(more: int, sizes: list[int]) -> None:
    half = len("$65525\r\n\r\n")
    first, second = (call("e", "k", "x" * (MOST_JOINED_BYTES // 2 - half + extra)) for extra in (0, more))
    assert len(first.text) + len(second.text) == MOST_JOINED_BYTES + more
    assert [len(group) for group in groups([first, second])] == sizes


def test_what_is_too_long_to_be_joined_goes_by_itself() -> None:
    long, short = call("e", "k", "x" * MOST_JOINED_BYTES), call("e", "k")
    assert groups([short, long, short]) == [[short], [long], [short]]


def test_what_cannot_be_sent_fails_for_who_asked_and_for_nobody_else(store: RedisNonces, client: Lined) -> None:
    def ask(grant: str) -> Recording:
        return store.record(new_nonce(), grant=grant, until=soon(), request=new_request())

    good, other = at_once(client.line, [lambda: ask("good"), lambda: ask("good")])
    assert good.result().recorded
    assert other.result().recorded
    with pytest.raises(UnicodeEncodeError):
        ask("\ud800")


@pytest.mark.alone
def test_what_is_recorded_together_is_one_call(valkey: Valkey, store: RedisNonces, client: Lined) -> None:
    quota = Quota(new_request(), rate=Rate(TOGETHER - 1, 60))
    recorded_at_once(store, client, [(new_nonce(), None)])  # the script is known
    before = calls(valkey)
    came = recorded_at_once(store, client, [(new_nonce(), quota) for _ in range(TOGETHER)])
    assert calls(valkey) - before == 1
    assert [each.remaining for each in came if each.recorded] == list(reversed(range(TOGETHER - 1)))
    assert [each.limit for each in came if not each.recorded] == ["rate"]


@pytest.mark.alone
def test_what_is_no_record_goes_in_the_same_write_by_itself(valkey: Valkey, store: RedisNonces, client: Lined) -> None:
    nonce = new_nonce()
    recorded_at_once(store, client, [(nonce, None)])
    assert store.redeem(new_nonce(), request=new_request()).outcome is Outcome.UNISSUED
    before = calls(valkey)

    def record() -> bool:
        return store.record(new_nonce(), grant="g", until=soon(), request=new_request()).recorded

    def redeem() -> bool:
        return store.redeem(nonce, request=new_request()).outcome is Outcome.SPENT

    assert all(each.result() for each in at_once(client.line, [record, redeem, record]))
    assert calls(valkey) - before == 2


@pytest.mark.alone
def test_each_bucket_has_a_call_of_its_own(valkey: Valkey, client: Lined) -> None:
    store = RedisNonces(client, chance=os.urandom, buckets=4)
    nonces = [new_nonce() for _ in range(TOGETHER)]
    for nonce in nonces:  # the bucket has an epoch
        assert store.redeem(nonce, request=new_request()).outcome is Outcome.UNISSUED
    before = calls(valkey)
    assert all(each.recorded for each in recorded_at_once(store, client, [(nonce, None) for nonce in nonces]))
    assert calls(valkey) - before == len({bucket_of(nonce, 4) for nonce in nonces})
    assert all(store.redeem(nonce, request=new_request()).outcome is Outcome.SPENT for nonce in nonces)


@pytest.mark.alone
def test_a_count_that_cannot_be_read_is_no_ones_outage_but_its_subjects(store: RedisNonces, client: Lined) -> None:
    """And the neighbours are recorded once and counted once, those before it in the call too."""
    broken, sound = Quota(new_request(), rate=Rate(9, 60)), Quota(new_request(), rate=Rate(9, 60), per_day=9)
    client.set(epoch_key(0)[:-1] + f"q:{broken.subject_id}:c", "no set")
    nonces = [new_nonce() for _ in range(3)]
    before, wrong, after = recorded_at_once(
        store, client, [(nonces[0], sound), (nonces[1], broken), (nonces[2], sound)]
    )
    assert (before.recorded, after.recorded) == (True, True)
    assert isinstance(wrong, Outage)
    assert wrong.detail == "The nonce store answered with an error."
    left = store.remaining(sound)
    assert (left.rate, left.per_day) == (7, 7)
    spent = [store.redeem(nonce, request=new_request()).outcome for nonce in nonces]
    assert spent == [Outcome.SPENT, Outcome.UNISSUED, Outcome.SPENT]


@pytest.mark.alone
def test_a_server_that_forgot_the_script_learns_it_and_the_next_are_joined_again(
    valkey: Valkey, store: RedisNonces, client: Lined
) -> None:
    quota = Quota(new_request(), rate=Rate(3 * TOGETHER, 60))
    asked = [(new_nonce(), quota) for _ in range(TOGETHER)]
    valkey.command("SCRIPT", "FLUSH")
    assert all(each.recorded for each in recorded_at_once(store, client, asked))
    assert store.remaining(quota).rate == 2 * TOGETHER
    before = calls(valkey)
    came = recorded_at_once(store, client, [(new_nonce(), quota) for _ in range(TOGETHER)])
    assert (all(each.recorded for each in came), calls(valkey) - before) == (True, 1)


@pytest.mark.alone
def test_a_full_store_tells_each_and_records_none() -> None:
    with (
        Valkey(maxmemory_policy="noeviction") as own,
        contextlib.closing(own.client(connections=TOGETHER)) as client,
    ):
        assert isinstance(client, Lined)
        store = RedisNonces(client, chance=os.urandom)
        assert store.record(new_nonce(), grant="g", until=soon(), request=new_request()).recorded
        own.command("CONFIG", "SET", "maxmemory", "1")
        asked: list[tuple[NonceId, Quota | None]] = [(new_nonce(), None) for _ in range(TOGETHER)]
        came = recorded_at_once(store, client, asked)
        assert [each.detail for each in came] == ["The nonce store is full."] * TOGETHER
        own.command("CONFIG", "SET", "maxmemory", "0")
        assert own.command("EXISTS", *[nonce_key(nonce, 0) for nonce, _ in asked]) == 0


@pytest.mark.alone
@pytest.mark.parametrize("fault", [Fault.DROP_REPLY, Fault.RESET])
def test_who_lost_an_answer_together_asks_again_and_is_counted_once(valkey: Valkey, fault: Fault) -> None:
    with FaultProxy(valkey.socket) as proxy, contextlib.ExitStack() as stack:
        url = f"unix://{proxy.socket}"
        client = stack.enter_context(contextlib.closing(connect(url, connections=TOGETHER)))
        assert isinstance(client, Lined)
        store = RedisNonces(client, chance=os.urandom)
        assert store.record(new_nonce(), grant="g", until=soon(), request=new_request()).recorded
        quota = Quota(new_request(), rate=Rate(2 * TOGETHER, 60), outstanding=2 * TOGETHER)
        proxy.inject(fault, matching=b"EVALSHA", when=lambda k: k == 1)
        came = recorded_at_once(store, client, [(new_nonce(), quota) for _ in range(TOGETHER)])
        assert [each.recorded for each in came] == [True] * TOGETHER
        left = store.remaining(quota)
        assert (left.rate, left.outstanding) == (TOGETHER, TOGETHER)


def spending(nonce: NonceId, request: str, *, cross_off: str = "", lease: str = "") -> tuple[str, ...]:
    """One redemption as the script takes it: its key, and its arguments."""
    return (nonce_key(nonce, 0), request, cross_off, lease, "", "0")


def test_each_redemption_of_a_call_is_answered_by_itself_and_in_order(client: Lined, store: RedisNonces) -> None:
    issued, other, revoked, claimed = (new_nonce() for _ in range(4))
    first, second = new_request(), new_request()
    put(client, *[noted(nonce, new_request()) for nonce in (issued, other, revoked)])
    put(client, noted(claimed, new_request(), uses="1,s"))
    store.revoke(revoked, actor="admin")
    answers = put(
        client,
        spending(issued, first),
        spending(issued, second),
        spending(issued, first),
        spending(new_nonce(), new_request()),
        spending(new_nonce(), new_request(), cross_off=str(soon())),
        spending(revoked, new_request()),
        spending(claimed, first, lease="60"),
        spending(claimed, second, lease="60"),
        spending(other, new_request()),
        script=scripts.REDEEM,
    )
    words = ["spent", "replayed", "spent", "unissued", "spent", "revoked", "claimed", "held", "spent"]
    assert [answer[0] for answer in answers] == words
    counts = [int(answer[3]) for answer in answers if len(answer) == 4]
    assert counts == list(range(counts[0], counts[0] + 3))  # the repetition, and what is claimed, count nothing


def redeemed_at_once(store: RedisNonces, client: Lined, nonces: Sequence[NonceId]) -> list[Any]:
    """What came of each when they were sent together: an outcome, or an error."""

    def redeem(nonce: NonceId) -> Outcome:
        return store.redeem(nonce, request=new_request()).outcome

    came = at_once(client.line, [partial(redeem, nonce) for nonce in nonces])
    return [each.exception() or each.result() for each in came]


@pytest.mark.alone
def test_what_is_redeemed_together_is_one_call_and_of_one_nonce_good_for_one(
    valkey: Valkey, store: RedisNonces, client: Lined
) -> None:
    nonce, other = new_nonce(), new_nonce()
    recorded_at_once(store, client, [(nonce, None), (other, None)])
    store.redeem(new_nonce(), request=new_request())  # the script is known
    before = calls(valkey)
    came = redeemed_at_once(store, client, [nonce] * TOGETHER + [other])
    assert calls(valkey) - before == 1
    assert sorted(came) == sorted([Outcome.SPENT] * 2 + [Outcome.REPLAYED] * (TOGETHER - 1))


@pytest.mark.alone
def test_a_record_that_cannot_be_read_is_an_outage_for_nobody_beside_it(store: RedisNonces, client: Lined) -> None:
    nonces = [new_nonce() for _ in range(3)]
    recorded_at_once(store, client, [(nonces[0], None), (nonces[2], None)])
    client.lpush(nonce_key(nonces[1], 0), "no text")
    before, wrong, after = redeemed_at_once(store, client, nonces)
    assert (before, after) == (Outcome.SPENT, Outcome.SPENT)
    assert isinstance(wrong, Outage)
    client.delete(nonce_key(nonces[1], 0))


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import os, sys
import gevent
from tests.support.line import busy, held
from tests.support.nonces import new_nonce, new_request, soon
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core.profiles import Rate
from tokensvc.core.quotas import Quota

client = connect(sys.argv[1], connections=24)
store = RedisNonces(client, chance=os.urandom)
quota = Quota(new_request(), rate=Rate(1000, 600))
nonces = []

def record():
    nonce = new_nonce()
    if store.record(nonce, grant="g", until=soon(), request=new_request(), quota=quota).recorded:
        nonces.append(nonce)

for _ in range(50):
    with busy(client.line):
        asking = [gevent.spawn(record) for _ in range(24)]
        while not held(client.line, 24):
            gevent.sleep(0)
    gevent.joinall(asking, raise_error=True)
assert len(nonces) == 1000, len(nonces)
assert all(store.redeem(nonce, request=new_request()).outcome == "spent" for nonce in nonces)
print("as many as the limit says")
"""


@pytest.mark.alone
def test_of_greenlets_that_record_together_as_many_are_recorded_as_the_limit_says(valkey: Valkey) -> None:
    before = calls(valkey)
    command = [sys.executable, "-c", GREENLETS, valkey.url]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (told.stdout, told.returncode) == ("as many as the limit says\n", 0), told.stderr
    assert calls(valkey) - before < 1000 + 3 * 50  # each is redeemed
