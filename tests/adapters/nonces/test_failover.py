"""A replica is promoted that does not know what its primary has spent: each nonce is spent once, or not at all.

Each case is run without the fence too. There every nonce is spent twice: so it is the fence that these tests show.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from tests.support.nonces import new_nonce, new_request, soon
from tests.support.processes import until
from tests.support.topologies import Link, free_ports, has_caught_up, on_port, replica_is_up
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import scripts
from tokensvc.adapters.nonces.keys import nonce_key
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.core.nonces import NonceId
from tokensvc.ports import Outcome

pytestmark = pytest.mark.alone

NONCES = 200
THE_FENCE = "if bound == replid then return epoch end"


@dataclass(frozen=True, slots=True)
class Pair:
    """A primary, and a replica that is about to be cut off from it; each with a store of its own."""

    old: Valkey
    new: Valkey
    at_old: RedisNonces
    at_new: RedisNonces
    new_port: int
    link: Link


@pytest.fixture
def pair() -> Iterator[Pair]:
    old_port, new_port = free_ports(2)
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(on_port(old_port))
        link = stack.enter_context(Link(old_port))
        new = stack.enter_context(on_port(new_port, replicaof=f"127.0.0.1 {link.port}"))
        until(lambda: replica_is_up(new), "the replica")
        at_old, at_new = (
            RedisNonces(stack.enter_context(contextlib.closing(server.client(connections=8))), chance=os.urandom)
            for server in (old, new)
        )
        yield Pair(old, new, at_old, at_new, new_port, link)


@pytest.fixture(params=["fenced", "not fenced"])
def fenced(request: pytest.FixtureRequest, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the scripts look at the fence, which is cut out of their text if not."""
    pair.at_old.ready()  # the first epoch record is written
    if request.param == "fenced":
        return True
    for name in ("RECORD", "REDEEM"):
        whole = getattr(scripts, name)
        assert THE_FENCE in whole.text
        text = whole.text.replace(THE_FENCE, "if epoch then return epoch end")
        sha = pair.old.command("SCRIPT", "LOAD", text).decode()
        monkeypatch.setattr(scripts, name, replace(whole, text=text, sha=sha))
    return False


def redeem(store: RedisNonces, nonces: Sequence[NonceId]) -> list[Outcome]:
    """Redeem each, by a request of its own."""
    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(lambda nonce: store.redeem(nonce, request=new_request()).outcome, nonces))


def record_of(server: Valkey, nonce: NonceId) -> bytes:
    """What is in the server's memory; it need not be a primary."""
    record: bytes = server.command("GET", nonce_key(nonce, 0))
    return record


def cut_when_all_are_copied(pair: Pair) -> None:
    """Partition the two, as soon as the replica has what the primary has."""
    until(lambda: has_caught_up(pair.new, pair.old), "the replica to catch up")
    pair.link.cut()


def promote(pair: Pair) -> None:
    """The primary is gone, and somebody who believed so earlier has made the replica the primary."""
    pair.new.command("REPLICAOF", "NO", "ONE")
    pair.old.kill()


def split_brain(pair: Pair) -> None:
    """Both are primaries, and both are asked."""
    pair.new.command("REPLICAOF", "NO", "ONE")
    fresh = new_nonce()
    assert pair.at_new.record(fresh, grant="g", until=soon(), request=new_request()).recorded
    assert redeem(pair.at_old, [fresh]) == [Outcome.UNISSUED]
    assert redeem(pair.at_new, [fresh]) == [Outcome.SPENT]


def demote_and_promote(pair: Pair) -> None:
    """The old primary becomes a replica, forgets what it spent, and becomes the primary again."""
    pair.new.command("REPLICAOF", "NO", "ONE")
    pair.old.command("REPLICAOF", "127.0.0.1", str(pair.new_port))
    until(lambda: replica_is_up(pair.old), "the old primary to be a replica")
    pair.old.command("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize(
    ("what_happens", "asked_then"),
    [(promote, ["new"]), (split_brain, ["new", "old"]), (demote_and_promote, ["old", "new"])],
)
def test_what_was_spent_unseen_is_not_spent_again(
    pair: Pair, fenced: bool, what_happens: Callable[[Pair], None], asked_then: list[str]
) -> None:
    """All are spent at the old primary, behind a partition; its replica has them as issued."""
    nonces = [new_nonce() for _ in range(NONCES)]
    for nonce in nonces:
        assert pair.at_old.record(nonce, grant="g", until=soon(), request=new_request()).recorded
    cut_when_all_are_copied(pair)
    assert redeem(pair.at_old, nonces) == [Outcome.SPENT] * NONCES
    assert all(record_of(pair.new, nonce).startswith(b"I:") for nonce in nonces)
    what_happens(pair)
    stores = {"old": pair.at_old, "new": pair.at_new}
    later = [redeem(stores[which], nonces) for which in asked_then]
    spent_again = sum(Outcome.SPENT in outcomes for outcomes in zip(*later, strict=True))
    assert spent_again == (0 if fenced else NONCES)
    if fenced and "new" in asked_then:
        assert later[asked_then.index("new")] == [Outcome.STALE] * NONCES


def test_what_is_left_over_is_spent_in_one_line_at_most(pair: Pair) -> None:
    """Nothing was spent when the brain was split, and then everything is redeemed at both."""
    nonces = [new_nonce() for _ in range(NONCES)]
    for nonce in nonces:
        assert pair.at_old.record(nonce, grant="g", until=soon(), request=new_request()).recorded
    cut_when_all_are_copied(pair)
    pair.new.command("REPLICAOF", "NO", "ONE")
    with ThreadPoolExecutor(2) as both:
        at_new, at_old = both.map(lambda store: redeem(store, nonces), [pair.at_new, pair.at_old])
    assert at_old == [Outcome.SPENT] * NONCES
    assert at_new == [Outcome.STALE] * NONCES
