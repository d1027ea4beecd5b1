"""Quotas against a model of them in a few lines of Python: whatever is done in whatever order, they agree.

Replies are lost at random, the server crashes and is rebound or not, and is flushed. No window passes here: what time
does is in `test_quotas`.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.nonces import new_nonce, new_request, soon
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import fence
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core.errors import Outage
from tokensvc.core.profiles import Rate
from tokensvc.core.quotas import DAY_SECONDS, Quota
from tokensvc.core.uses import ONCE, Uses
from tokensvc.ports import RecordOutcome

pytestmark = pytest.mark.alone

NONCES = st.integers(0, 7)
USES = st.sampled_from([ONCE, Uses(2), Uses(2, "on-success")])
SUBJECTS = st.integers(0, 1)
RATE, PER_DAY, OUTSTANDING = 8, 6, 3


@dataclass
class Subject:
    """What the model counts."""

    issued: int = 0
    outstanding: set[int] = field(default_factory=set)


class QuotasAndModel(RuleBasedStateMachine):
    server: Valkey
    proxy: FaultProxy

    def __init__(self) -> None:
        super().__init__()
        self.proxy.heal()
        self.server.command("FLUSHALL")
        self.client = connect(self.proxy.url, connections=1)
        self.store = RedisNonces(self.client, chance=os.urandom, sleep=lambda _seconds: None, retry_share=3.0)
        self.store.ready()
        self.nonces = [new_nonce() for _ in range(8)]
        self.requests = [new_request() for _ in range(3)]
        self.quotas = [Quota(new_request(), Rate(RATE, 3600), PER_DAY, OUTSTANDING) for _ in range(2)]
        self.subjects = [Subject(), Subject()]
        self.known: dict[int, tuple[int, bool]] = {}
        """By nonce: who recorded it, and whether it is issued and not stale."""
        self.uses: dict[int, Uses] = {}
        self.left: dict[int, int] = {}
        """By nonce: how many uses it was given, and has."""

    def teardown(self) -> None:
        self.client.close()

    def lose(self, first: int) -> None:
        """From now on lose the replies of that many commands: fewer than there are attempts."""
        self.proxy.inject(Fault.DROP_REPLY, matching=b"EVAL", when=lambda k: k <= first)

    @rule(nonce=NONCES, subject=SUBJECTS, request=st.integers(0, 2), uses=USES, lost=st.integers(0, 2))
    def record(self, nonce: int, subject: int, request: int, uses: Uses, lost: int) -> None:
        self.lose(lost)
        outcome, limit = self.expected(nonce, subject, request)
        answer = None
        with contextlib.suppress(Outage):
            answer = self.store.record(
                self.nonces[nonce],
                grant="g",
                until=soon(),
                request=self.requests[request],
                quota=self.quotas[subject],
                uses=uses,
            )
        assert (answer and (answer.outcome, None if answer.recorded else answer.limit)) == (
            outcome and (outcome, limit)
        )
        if outcome is RecordOutcome.RECORDED and nonce not in self.known:
            self.known[nonce] = (request, True)
            self.uses[nonce], self.left[nonce] = uses, uses.count
            counted = self.subjects[subject]
            counted.issued += 1
            counted.outstanding.add(nonce)

    def expected(self, nonce: int, subject: int, request: int) -> tuple[RecordOutcome | None, str | None]:
        """No outcome is an outage."""
        counted = self.subjects[subject]
        if nonce in self.known:
            recorder, good = self.known[nonce]
            if recorder != request:
                return RecordOutcome.EXISTS, None
            return (RecordOutcome.RECORDED if good else None), None
        if counted.issued >= PER_DAY:
            return RecordOutcome.QUOTA_EXCEEDED, "per_day"
        if len(counted.outstanding) >= OUTSTANDING:
            return RecordOutcome.QUOTA_EXCEEDED, "outstanding"
        return RecordOutcome.RECORDED, None

    @rule(nonce=NONCES, revoked=st.booleans(), lost=st.integers(0, 2))
    def end(self, nonce: int, revoked: bool, lost: int) -> None:
        """Spend a use, or revoke what is left."""
        self.lose(lost)
        if revoked:
            self.store.revoke(self.nonces[nonce], actor="ops")
        else:
            self.store.redeem(self.nonces[nonce], request=new_request())
        for counted in self.subjects:
            if nonce in counted.outstanding:
                self.left[nonce] -= 1
                if revoked or not self.left[nonce]:
                    counted.outstanding.remove(nonce)
                    if self.uses[nonce] == ONCE:  # one with uses goes on saying who recorded it
                        self.known[nonce] = (-1, False)

    @rule(nonce=NONCES, committed=st.booleans(), lost=st.integers(0, 2))
    def claim(self, nonce: int, committed: bool, lost: int) -> None:
        """A use of one that is spent on success: it is outstanding until it is committed."""
        if self.uses.get(nonce, ONCE).spend != "on-success":
            return
        self.lose(lost)
        request = new_request()
        self.store.redeem(self.nonces[nonce], request=request, lease=600)
        if not committed:
            self.store.release(self.nonces[nonce], request=request)
            return
        self.store.commit(self.nonces[nonce], request=request)
        for counted in self.subjects:
            if nonce in counted.outstanding:
                self.left[nonce] -= 1
                if not self.left[nonce]:
                    counted.outstanding.remove(nonce)

    @rule(rebound=st.booleans())
    def crash(self, rebound: bool) -> None:
        self.proxy.heal()
        self.server.restart()
        if rebound:
            fence.rebind(self.client, 0, new_request()[:8])
            return
        self.store.ready()
        self.known = {nonce: (recorder, False) for nonce, (recorder, _) in self.known.items()}
        for counted in self.subjects:
            counted.outstanding.clear()

    @rule()
    def flush(self) -> None:
        self.proxy.heal()
        self.server.command("FLUSHALL")
        self.store.ready()
        self.known.clear()
        self.uses.clear()
        self.left.clear()
        self.subjects = [Subject(), Subject()]

    @invariant()
    def what_is_kept_is_what_the_model_counts(self) -> None:
        epoch = str(self.server.command("GET", "ik{00}:e"), "ascii").partition(":")[2]
        for quota, counted in zip(self.quotas, self.subjects, strict=True):
            key = f"ik{{00}}:q:{quota.subject_id}"
            calls = self.server.command("ZRANGE", f"{key}:c", "0", "-1")
            assert sum(int(call.partition(b":")[2]) for call in calls) == counted.issued
            assert self.server.command("ZCARD", f"{key}:o:{epoch}") == len(counted.outstanding)


@pytest.mark.skipif(time.time() % DAY_SECONDS > DAY_SECONDS - 120, reason="the day's count starts anew in between")
def test_quotas_are_as_their_model() -> None:
    with Valkey(appendonly="yes", appendfsync="no") as server, FaultProxy(server.socket) as proxy:
        machine = type("Machine", (QuotasAndModel,), {"server": server, "proxy": proxy})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=25,
                stateful_step_count=40,
                deadline=None,
                print_blob=True,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
