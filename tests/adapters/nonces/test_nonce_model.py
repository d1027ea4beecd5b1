"""The store against a model of it in a few lines of Python: whatever is done in whatever order, they agree.

Replies are lost at random, the server crashes and is rebound or not, is flushed, and fails over to a replica that has
all of it or lags behind.
"""

from __future__ import annotations

import contextlib
import copy
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.nonces import new_nonce, new_request, soon
from tests.support.processes import until
from tests.support.topologies import free_ports, has_caught_up, on_port, quietly, replica_is_up
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import fence
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core.errors import Outage
from tokensvc.core.grants import GrantNote
from tokensvc.core.uses import ONCE, Uses
from tokensvc.core.watermarks import Origin, Scope, Watermark
from tokensvc.ports import Outcome, Redemption, Standing

pytestmark = pytest.mark.alone

NONCES = st.integers(0, 2)
REQUESTS = st.integers(0, 3)
USES = st.sampled_from([ONCE, ONCE, Uses(2), Uses(1, "on-success"), Uses(2, "on-success")])
SCOPES: tuple[Scope, ...] = ("subject", "profile", "account")
SECONDS = st.integers(0, 4)
NOW = int(time.time())
LONG, OVER = 600, 0
"""Leases in seconds: one without an end here, and one that has ended when it begins."""


def grant_of(request: int) -> str:
    """Each request issues to the same subject at another second."""
    return GrantNote("default", "default", "web", "u1", NOW + request).to_text()


class Claim:
    """A request's part of a nonce with uses."""

    def __init__(self, state: Literal["L", "C", "D"], request: int, lease: int, result: str = "") -> None:
        self.state, self.request, self.lease, self.result = state, request, lease, result


class Record:
    """What the model knows of one nonce. `held_by` is the request that recorded it, then the one that spent it.

    One with uses stays I until it is revoked, and has claims, in the order in which they were made.
    """

    def __init__(
        self, state: Literal["I", "C", "D", "R"], epoch: int, held_by: int, rest: str, uses: Uses = ONCE
    ) -> None:
        self.state, self.epoch, self.held_by, self.rest = state, epoch, held_by, rest
        self.uses = uses
        self.claims: list[Claim] = []

    def claim_of(self, request: int) -> Claim | None:
        return next((claim for claim in self.claims if claim.request == request), None)

    @property
    def spent(self) -> int:
        return sum(claim.state != "L" for claim in self.claims)

    def is_revoked(self, mark: int) -> bool:
        """By itself or by the mark, as far as it is not spent."""
        below = GrantNote.from_text(self.rest).issued_at < NOW + mark if self.state == "I" else False
        return self.state == "R" or (below and self.spent < self.uses.count)

    def use(self, request: int, lease: int | None, mark: int) -> Redemption:
        claim = self.claim_of(request)
        if claim and claim.state == "D":
            return Redemption(Outcome.FINISHED, result=claim.result)
        if claim and claim.state == "C":
            return Redemption(Outcome.SPENT, self.rest)
        if self.is_revoked(mark):
            return Redemption(Outcome.REVOKED)
        if claim:
            self.claims.remove(claim)
        elif len(self.claims) == self.uses.count:
            over = next((claim for claim in self.claims if claim.state == "L" and claim.lease == OVER), None)
            if over is None:
                return Redemption(Outcome.REPLAYED if self.spent == self.uses.count else Outcome.HELD)
            self.claims.remove(over)
        held = lease is not None and self.uses.spend == "on-success"
        self.claims.append(Claim("L" if held else "C", request, lease or OVER))
        return Redemption(Outcome.CLAIMED if held else Outcome.SPENT, self.rest)


class Model:
    """The state machine, with numbers for epochs. `bound` is whether the epoch record is this server's."""

    def __init__(self) -> None:
        self.records: dict[int, Record] = {}
        self.marks: dict[Scope, int] = {}
        """The second before which each scope is revoked, from NOW on."""
        self.epoch = 0
        self.bound = False

    @property
    def mark(self) -> int:
        """All grants are of the same subject, profile and account."""
        return max(self.marks.values(), default=0)

    def heal(self) -> None:
        if not self.bound:
            self.epoch += 1
            self.bound = True

    def copy(self) -> tuple[dict[int, Record], dict[Scope, int]]:
        """What a replica has that is cut off now."""
        return copy.deepcopy(self.records), dict(self.marks)

    def record(self, nonce: int, request: int, uses: Uses) -> bool | None:
        """None is an outage."""
        self.heal()
        known = self.records.get(nonce)
        if known is None:
            self.records[nonce] = Record("I", self.epoch, request, grant_of(request), uses)
            return True
        if (known.state != "I" and known.uses == ONCE) or known.held_by != request:
            return False
        return True if known.epoch == self.epoch else None

    def redeem(self, nonce: int, request: int, second: int, *, cross_off: bool, lease: int | None) -> Redemption:
        """`second` is when an unknown one was issued, by its own word."""
        self.heal()
        known = self.records.get(nonce)
        if known is None and not cross_off:
            return Redemption(Outcome.UNISSUED)
        if known is None and second < self.marks.get("account", 0):
            return Redemption(Outcome.REVOKED)
        if known is None:
            known = self.records[nonce] = Record("C", self.epoch, request, "")
        if known.epoch != self.epoch:
            return Redemption(Outcome.STALE)
        if known.uses != ONCE:
            return known.use(request, lease, self.mark)
        if known.is_revoked(self.mark):
            return Redemption(Outcome.REVOKED)
        if known.state == "I":
            known.state, known.held_by = "C", request
        if known.held_by != request:
            return Redemption(Outcome.REPLAYED)
        if known.state == "D":
            return Redemption(Outcome.FINISHED, result=known.rest)
        return Redemption(Outcome.SPENT, grant=known.rest)

    def commit(self, nonce: int, request: int) -> Outcome:
        self.heal()
        known = self.records.get(nonce)
        if known is None:
            return Outcome.UNISSUED
        if known.epoch != self.epoch:
            return Outcome.STALE
        claim = known.claim_of(request)
        if claim and claim.state != "L":
            return Outcome.SPENT
        if known.state == "R" or (known.uses != ONCE and known.is_revoked(self.mark)):
            return Outcome.REVOKED
        if claim:
            claim.state = "C"
            return Outcome.SPENT
        return Outcome.REPLAYED if known.uses == ONCE or known.spent == known.uses.count else Outcome.HELD

    def release(self, nonce: int, request: int) -> None:
        self.heal()
        known = self.records.get(nonce)
        if known and known.epoch == self.epoch:
            known.claims = [claim for claim in known.claims if (claim.request, claim.state) != (request, "L")]

    def finish(self, nonce: int, request: int) -> None:
        self.heal()
        known = self.records.get(nonce)
        claim = known.claim_of(request) if known and known.epoch == self.epoch else None
        if claim and claim.state == "C":
            claim.state, claim.result = "D", f"result {request}"
        if known and (known.state, known.epoch, known.held_by) == ("C", self.epoch, request):
            known.state, known.rest = "D", f"result {request}"

    def revoke(self, nonce: int) -> Outcome:
        self.heal()
        known = self.records.get(nonce)
        if known is None:
            return Outcome.UNISSUED
        if known.epoch != self.epoch:
            return Outcome.STALE
        if known.uses != ONCE and known.spent == known.uses.count:
            return Outcome.REVOKED if known.state == "R" else Outcome.REPLAYED
        if known.state == "I":
            known.state = "R"
        return Outcome.REVOKED if known.state == "R" else Outcome.REPLAYED

    def look(self, nonce: int, second: int, *, cross_off: bool) -> Standing:
        self.heal()
        known = self.records.get(nonce)
        if known is None and not cross_off:
            return Standing(Outcome.UNISSUED)
        if known is None:
            below = second < self.marks.get("account", 0)
            return Standing(Outcome.REVOKED) if below else Standing(None, "", 1)
        if known.epoch != self.epoch:
            return Standing(Outcome.STALE)
        if known.state != "I":
            return Standing(Outcome.REVOKED if known.state == "R" else Outcome.REPLAYED)
        if known.is_revoked(self.mark):
            return Standing(Outcome.REVOKED)
        taken = sum(claim.state != "L" or claim.lease != OVER for claim in known.claims)
        if taken < known.uses.count:
            return Standing(None, known.rest, known.uses.count - taken)
        return Standing(Outcome.REPLAYED if known.spent == known.uses.count else Outcome.HELD)


class StoreAndModel(RuleBasedStateMachine):
    server: Valkey
    proxy: FaultProxy

    def __init__(self) -> None:
        super().__init__()
        self.proxy.heal()
        self.server.command("FLUSHALL")
        self.client = connect(self.proxy.url, connections=1)
        self.store = RedisNonces(self.client, chance=os.urandom, sleep=lambda _seconds: None, retry_share=3.0)
        self.model = Model()
        self.nonces = [new_nonce() for _ in range(3)]
        self.requests = [new_request() for _ in range(4)]
        self.spenders: dict[int, set[int]] = {}
        """Whom the store said yes to for good, by nonce, since it was emptied."""
        self.uses: dict[int, int] = {}
        """How many it may, by nonce."""

    def teardown(self) -> None:
        self.client.close()

    def lose(self, first: int) -> None:
        """From now on lose the replies of that many commands: fewer than there are attempts."""
        self.proxy.inject(Fault.DROP_REPLY, matching=b"EVAL", when=lambda k: k <= first)

    @rule(nonce=NONCES, request=REQUESTS, uses=USES, lost=st.integers(0, 2))
    def record(self, nonce: int, request: int, uses: Uses, lost: int) -> None:
        self.lose(lost)
        answer: bool | None = None
        if nonce not in self.model.records:
            self.uses[nonce] = uses.count
        with contextlib.suppress(Outage):
            answer = self.store.record(
                self.nonces[nonce], grant=grant_of(request), until=soon(), request=self.requests[request], uses=uses
            ).recorded
        assert answer == self.model.record(nonce, request, uses)

    @rule(
        nonce=NONCES,
        request=REQUESTS,
        second=SECONDS,
        cross_off=st.booleans(),
        lease=st.sampled_from([None, OVER, LONG]),
        lost=st.integers(0, 2),
    )
    def redeem(self, nonce: int, request: int, second: int, cross_off: bool, lease: int | None, lost: int) -> None:
        self.lose(lost)
        answer = self.store.redeem(
            self.nonces[nonce],
            request=self.requests[request],
            cross_off_until=soon() if cross_off else None,
            lease=lease,
            origin=Origin("default", NOW + second),
        )
        if answer.outcome in {Outcome.SPENT, Outcome.FINISHED}:
            self.spenders.setdefault(nonce, set()).add(request)
        assert (answer.retry_after > 0) is (answer.outcome is Outcome.HELD)
        expected = self.model.redeem(nonce, request, second, cross_off=cross_off, lease=lease)
        assert replace(answer, retry_after=0) == expected

    @rule(nonce=NONCES, request=REQUESTS, lost=st.integers(0, 2))
    def commit(self, nonce: int, request: int, lost: int) -> None:
        self.lose(lost)
        answer = self.store.commit(self.nonces[nonce], request=self.requests[request])
        if answer is Outcome.SPENT:
            self.spenders.setdefault(nonce, set()).add(request)
        assert answer is self.model.commit(nonce, request)

    @rule(nonce=NONCES, request=REQUESTS, lost=st.integers(0, 2))
    def release(self, nonce: int, request: int, lost: int) -> None:
        self.lose(lost)
        self.store.release(self.nonces[nonce], request=self.requests[request])
        self.model.release(nonce, request)

    @rule(nonce=NONCES, second=SECONDS, cross_off=st.booleans())
    def look(self, nonce: int, second: int, cross_off: bool) -> None:
        origin = Origin("default", NOW + second)
        answer = self.store.look(self.nonces[nonce], origin=origin, cross_off=cross_off)
        assert answer == self.model.look(nonce, second, cross_off=cross_off)

    @rule(scope=st.sampled_from(SCOPES), second=SECONDS, lost=st.integers(0, 2))
    def revoke_before(self, scope: Scope, second: int, lost: int) -> None:
        self.lose(lost)
        name = "u1" if scope == "subject" else "default"
        self.store.revoke_before(Watermark(scope, name, NOW + second))
        self.model.heal()
        self.model.marks[scope] = max(second, self.model.marks.get(scope, 0))

    @rule(nonce=NONCES, request=REQUESTS, lost=st.integers(0, 2))
    def finish(self, nonce: int, request: int, lost: int) -> None:
        self.lose(lost)
        self.store.finish(self.nonces[nonce], request=self.requests[request], result=f"result {request}")
        self.model.finish(nonce, request)

    @rule(nonce=NONCES, lost=st.integers(0, 2))
    def revoke(self, nonce: int, lost: int) -> None:
        self.lose(lost)
        assert self.store.revoke(self.nonces[nonce], actor="ops") == self.model.revoke(nonce)

    @rule(how=st.sampled_from([fence.rotate, fence.rebind, fence.initialise]))
    def heal(self, how: Callable[..., fence.Binding]) -> None:
        """Where nothing is to be healed, nothing happens."""
        self.proxy.heal()
        if self.model.bound:
            assert not how(self.client, 0, new_request()[:8]).written

    @rule(rebound=st.booleans())
    def crash(self, rebound: bool) -> None:
        self.proxy.heal()
        self.server.restart()
        if rebound:
            fence.rebind(self.client, 0, new_request()[:8])
            self.model.epoch += not self.model.epoch
        self.model.bound = rebound

    @rule()
    def flush(self) -> None:
        self.server.command("FLUSHALL")
        self.model.records.clear()
        self.model.marks.clear()
        self.spenders.clear()
        self.uses.clear()
        self.model.bound = False

    @invariant()
    def a_nonce_is_spent_by_as_many_requests_as_it_has_uses(self) -> None:
        """Whatever the model says."""
        assert all(len(requests) <= self.uses.get(nonce, 1) for nonce, requests in self.spenders.items())


class WithFailovers(StoreAndModel):
    """The same with a second server, which has a copy now and then, and takes over.

    Nothing is cleared in `spenders` then: whatever the new primary has forgotten, nobody is told yes once more.
    """

    other: Valkey

    def __init__(self) -> None:
        super().__init__()
        self.behind: tuple[dict[int, Record], dict[Scope, int]] | None = None
        """What the other server has, since it was cut off."""

    @precondition(lambda self: self.behind is None)
    @rule()
    def cut_off(self) -> None:
        """The other one copies everything, and then hears of nothing any more."""
        before = replication_id(self.server)
        port = self.server.settings["port"]
        until(quietly(lambda: bool(self.other.command("REPLICAOF", "127.0.0.1", port))))
        until(quietly(lambda: replica_is_up(self.other) and has_caught_up(self.other, self.server)), "the replica")
        until(quietly(lambda: bool(self.other.command("REPLICAOF", "NO", "ONE"))))
        until(quietly(lambda: is_settled(self.other)), "it to write its file")
        self.behind = self.model.copy()
        if replication_id(self.server) != before:  # as when the first replica comes: a server may rename itself
            self.model.bound = False

    @precondition(lambda self: self.behind is not None)
    @rule()
    def fail_over(self) -> None:
        """To the other, with what it has; the old primary is the one to be overwritten by the next copy."""
        assert self.behind is not None
        machine: Any = type(self)
        machine.server, machine.other = self.other, self.server
        self.proxy.heal()
        self.proxy.upstream = self.server.socket
        self.proxy.cut()
        # A connection that was cut is noticed by the next question, which is not one of the store's here.
        until(quietly(lambda: bool(self.client.execute_command("EVAL", "return 1", 0))), "the new primary")
        (self.model.records, self.model.marks), self.behind = self.behind, None
        self.model.bound = False


def replication_id(server: Valkey) -> str:
    """By which the fence knows it."""
    return str(server.command("INFO", "replication")["master_replid"])


def is_settled(server: Valkey) -> bool:
    """Whether a copy that it was sent is in its file, so that a crash loses none of it."""
    told = server.command("INFO", "persistence")
    return not told["aof_rewrite_in_progress"] and not told["aof_rewrite_scheduled"]


def run(machine: type[StoreAndModel], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_the_store_is_as_its_model() -> None:
    with Valkey(appendonly="yes", appendfsync="no") as server, FaultProxy(server.socket) as proxy:
        run(type("Machine", (StoreAndModel,), {"server": server, "proxy": proxy}), 60)


def test_the_store_is_as_its_model_through_failovers() -> None:
    one, two = (on_port(port, appendonly="yes", appendfsync="no") for port in free_ports(2))
    with one, two, FaultProxy(one.socket) as proxy:
        run(type("Machine", (WithFailovers,), {"server": one, "other": two, "proxy": proxy}), 30)
