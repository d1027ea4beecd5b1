"""The store against a model of it in a few lines of Python: whatever is done in whatever order, they agree.

Replies are lost at random, the server crashes and is rebound or not, and is flushed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Literal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.nonces import new_nonce, new_request, soon
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import RedisNonces, fence
from tokensvc.adapters.redis_client import connect
from tokensvc.core.errors import Outage
from tokensvc.ports import Outcome, Redemption

NONCES = st.integers(0, 2)
REQUESTS = st.integers(0, 3)


class Record:
    """What the model knows of one nonce. `held_by` is the request that recorded it, then the one that spent it."""

    def __init__(self, state: Literal["I", "C", "D", "R"], epoch: int, held_by: int, rest: str) -> None:
        self.state, self.epoch, self.held_by, self.rest = state, epoch, held_by, rest


class Model:
    """The state machine, with numbers for epochs. `bound` is whether the epoch record is this server's."""

    def __init__(self) -> None:
        self.records: dict[int, Record] = {}
        self.epoch = 0
        self.bound = False

    def heal(self) -> None:
        if not self.bound:
            self.epoch += 1
            self.bound = True

    def record(self, nonce: int, request: int) -> bool | None:
        """None is an outage."""
        self.heal()
        known = self.records.get(nonce)
        if known is None:
            self.records[nonce] = Record("I", self.epoch, request, f"grant {request}")
            return True
        if known.state != "I" or known.held_by != request:
            return False
        return True if known.epoch == self.epoch else None

    def redeem(self, nonce: int, request: int, *, cross_off: bool) -> Redemption:
        self.heal()
        known = self.records.get(nonce)
        if known is None and not cross_off:
            return Redemption(Outcome.UNISSUED)
        if known is None:
            known = self.records[nonce] = Record("C", self.epoch, request, "")
        if known.epoch != self.epoch:
            return Redemption(Outcome.STALE)
        if known.state == "R":
            return Redemption(Outcome.REVOKED)
        if known.state == "I":
            known.state, known.held_by = "C", request
        if known.held_by != request:
            return Redemption(Outcome.REPLAYED)
        if known.state == "D":
            return Redemption(Outcome.FINISHED, result=known.rest)
        return Redemption(Outcome.SPENT, grant=known.rest)

    def finish(self, nonce: int, request: int) -> None:
        self.heal()
        known = self.records.get(nonce)
        if known and (known.state, known.epoch, known.held_by) == ("C", self.epoch, request):
            known.state, known.rest = "D", f"result {request}"

    def revoke(self, nonce: int) -> Outcome:
        self.heal()
        known = self.records.get(nonce)
        if known is None:
            return Outcome.UNISSUED
        if known.epoch != self.epoch:
            return Outcome.STALE
        if known.state == "I":
            known.state = "R"
        return Outcome.REVOKED if known.state == "R" else Outcome.REPLAYED


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
        """Whom the store said yes to, by nonce, since it was emptied."""

    def teardown(self) -> None:
        self.client.close()

    def lose(self, first: int) -> None:
        """From now on lose the replies of that many commands: fewer than there are attempts."""
        self.proxy.inject(Fault.DROP_REPLY, matching=b"EVAL", when=lambda k: k <= first)

    @rule(nonce=NONCES, request=REQUESTS, lost=st.integers(0, 2))
    def record(self, nonce: int, request: int, lost: int) -> None:
        self.lose(lost)
        answer: bool | None = None
        with contextlib.suppress(Outage):
            answer = self.store.record(
                self.nonces[nonce], grant=f"grant {request}", until=soon(), request=self.requests[request]
            ).recorded
        assert answer == self.model.record(nonce, request)

    @rule(nonce=NONCES, request=REQUESTS, cross_off=st.booleans(), lost=st.integers(0, 2))
    def redeem(self, nonce: int, request: int, cross_off: bool, lost: int) -> None:
        self.lose(lost)
        until = soon() if cross_off else None
        answer = self.store.redeem(self.nonces[nonce], request=self.requests[request], cross_off_until=until)
        if answer.outcome in {Outcome.SPENT, Outcome.FINISHED}:
            self.spenders.setdefault(nonce, set()).add(request)
        assert answer == self.model.redeem(nonce, request, cross_off=cross_off)

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
        self.spenders.clear()
        self.model.bound = False

    @invariant()
    def a_nonce_is_spent_by_one_request(self) -> None:
        """Whatever the model says."""
        assert all(len(requests) == 1 for requests in self.spenders.values())


def test_the_store_is_as_its_model() -> None:
    with Valkey(appendonly="yes", appendfsync="no") as server, FaultProxy(server.socket) as proxy:
        machine = type("Machine", (StoreAndModel,), {"server": server, "proxy": proxy})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=50,
                stateful_step_count=30,
                deadline=None,
                print_blob=True,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
