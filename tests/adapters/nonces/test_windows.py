"""What the scripts count against a naive count that keeps the time of each credential: to the microsecond, whatever
is asked by itself, together or in batches, by quotas that differ, and while the clock goes on, stands still and goes
back.

The scripts are told the time by a key instead of the server's clock.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.nonces import new_nonce, new_request
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import fence, scripts
from tokensvc.adapters.nonces.arguments import quota_arguments
from tokensvc.adapters.nonces.keys import epoch_key, nonce_key
from tokensvc.adapters.redis_client.line import Lined
from tokensvc.core.profiles import Rate
from tokensvc.core.quotas import DAY_SECONDS, Quota

SECOND = 1_000_000
CLOCK = "ik{00}:clock-of-a-test"
TOLD = f"{{string.match(redis.call('GET', '{CLOCK}'), '(%d+) (%d+)')}}"
START = (int(time.time()) // DAY_SECONDS + 366) * DAY_SECONDS * SECOND
"""Midnight in a year's time: the server's own clock ends nothing meanwhile."""


@pytest.fixture
def client(valkey: Valkey) -> Iterator[Lined]:
    with contextlib.closing(valkey.client()) as made:
        assert isinstance(made, Lined)
        fence.initialise(made, 0, "epoch-00")
        yield made


@dataclass
class Naive:
    """What one subject has had: microseconds and seconds of each."""

    times: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    days: list[int] = field(default_factory=list)

    def ask(self, quota: Quota, now: int, until: int, number: int = 1, *, there: bool = False) -> list[Any]:
        """The script's answer; what is let in counts from now on, unless it is there: then it was counted."""
        second, left, nearest = now // SECOND, 10**9, ""
        day = second // DAY_SECONDS
        if quota.per_day is not None:
            left, nearest = quota.per_day - self.days.count(day), "per_day"
            if left < number:
                return ["per_day", (day + 1) * DAY_SECONDS - second]
        if quota.outstanding is not None:
            self.ends = sorted(end for end in self.ends if end > second)
            left, nearest = min(
                (left, nearest), (quota.outstanding - len(self.ends), "outstanding"), key=lambda x: x[0]
            )
            if left < number:
                waited_for = min(len(self.ends), len(self.ends) + number - quota.outstanding)
                return ["outstanding", (self.ends[waited_for - 1] - second) if waited_for else 1]
        if quota.rate is not None:
            self.times = [min(at, now) for at in self.times]
            lately = self.lately(quota.rate, now)
            left, nearest = min((left, nearest), (quota.rate.count - len(lately), "rate"), key=lambda x: x[0])
            if left < number:
                waited_for = min(len(lately), len(lately) + number - quota.rate.count)
                first = lately[waited_for - 1] if waited_for else now
                return ["rate", -((now - first - quota.rate.seconds * SECOND) // SECOND)]
        if there:
            return ["recorded"]
        self.count(quota, now, until, number)
        return ["recorded", left - number, nearest]

    def count(self, quota: Quota, now: int, until: int, number: int) -> None:
        second = now // SECOND
        day = second // DAY_SECONDS
        if quota.rate is not None:
            # What has passed goes once a second: another quota of this subject may have a longer window.
            is_same_second = bool(self.times) and max(self.times) // SECOND == second
            self.times = (self.times if is_same_second else self.lately(quota.rate, now)) + [now] * number
        if quota.per_day is not None:
            self.days = [one for one in self.days if one == day] + [day] * number  # one day is kept
        if quota.outstanding is not None:
            self.ends += [until] * number

    def lately(self, rate: Rate, now: int) -> list[int]:
        return [at for at in self.times if at > now - rate.seconds * SECOND]

    def left(self, quota: Quota, now: int) -> list[Any]:
        """The answer of remaining.lua."""
        limits = (
            (quota.rate.count, len(self.lately(quota.rate, now))) if quota.rate else (None, 0),
            (quota.per_day, self.days.count(now // SECOND // DAY_SECONDS)),
            (quota.outstanding, sum(end > now // SECOND for end in self.ends)),
        )
        return ["left", *(-1 if limit is None else max(0, limit - count) for limit, count in limits)]


def run(client: Lined, script: scripts.Script, now: int, keys: list[str], arguments: list[str]) -> Any:
    text = script.text.replace("redis.call('TIME')", TOLD)
    assert text.count(TOLD) == 1
    client.set(CLOCK, f"{now // SECOND} {now % SECOND}")
    answer: Any = client.execute_command("EVAL", text, len(keys) + 1, epoch_key(0), *keys, *arguments)
    return texts(answer)


def texts(answer: Any) -> Any:
    if isinstance(answer, list):
        return [texts(part) for part in answer]
    return answer.decode() if isinstance(answer, bytes) else answer


LIMIT = st.one_of(st.none(), st.integers(1, 30))
QUOTA = st.tuples(st.one_of(st.none(), st.builds(Rate, st.integers(1, 20), st.integers(1, 3))), LIMIT, LIMIT).filter(
    any
)
PASSED = st.one_of(
    st.sampled_from([0, 1, -1, SECOND, 2 * SECOND - 1, -SECOND, DAY_SECONDS * SECOND, -3600 * SECOND]),
    st.integers(-2 * SECOND, 4 * SECOND),
    st.integers(0, SECOND // 2),
)
ONE = st.tuples(st.integers(0, 2), st.booleans())
"""Which quota, and whether it is what was recorded last, once more."""
CALL = st.tuples(PASSED, st.integers(1, 5), st.one_of(st.lists(ONE, min_size=1, max_size=12), st.integers(1, 9)))
"""How much later; how many seconds each lives; and some by themselves, or how many as a batch of the first quota."""


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mine=st.tuples(QUOTA, QUOTA), other=QUOTA, asked=st.lists(CALL, max_size=25))
def test_what_is_counted_is_what_a_naive_count_has(
    client: Lined, mine: tuple[Any, Any], other: Any, asked: list[Any]
) -> None:
    subject, now = new_request(), START
    quotas = [Quota(subject, *mine[0]), Quota(subject, *mine[1]), Quota(new_request(), *other)]
    naive = {quota.subject_id: Naive() for quota in quotas}
    last: tuple[str, str, int] | None = None
    for passed, life, what in asked:
        now += passed
        until = now // SECOND + life
        keys: list[str] = []
        arguments: list[str] = []
        expected: list[Any] = []
        if isinstance(what, int):
            quota = quotas[0]
            keys = [nonce_key(new_nonce(), 0) for _ in range(what)]
            arguments = [new_request(), *quota_arguments(quota), "", "", "", "", "1", "g", str(until)]
            expected = naive[subject].ask(quota, now, until, what)
            assert run(client, scripts.RECORD_BATCH, now, keys, arguments) == expected
        else:
            for which, again in what:
                quota = quotas[which]
                if again and last is not None:
                    key, request, end = last
                    naive[quota.subject_id].ask(quota, now, until, there=True)
                    expected.append(["recorded"] if end > now // SECOND else ["late"])
                else:
                    key, request, end = nonce_key(new_nonce(), 0), new_request(), until
                    expected.append(naive[quota.subject_id].ask(quota, now, until))
                    last = (key, request, end) if expected[-1][0] == "recorded" else last
                keys.append(key)
                arguments += [request, "g", str(end), "", *quota_arguments(quota)]
            assert run(client, scripts.RECORD, now, keys, arguments) == expected
        for quota in quotas:
            left = run(client, scripts.REMAINING, now, [], [*quota_arguments(quota)])
            assert left == naive[quota.subject_id].left(quota, now)
    for quota in quotas:
        assert all(client.ttl(key) > 0 for key in client.scan_iter(f"*{quota.subject_id}*", count=1000))


def test_the_wait_is_for_the_call_that_has_to_go_wherever_it_is_in_the_window(client: Lined) -> None:
    quota, naive = Quota(new_request(), Rate(36, 60)), Naive()
    noted = [(START + number * 5 * SECOND, number) for number in range(1, 9)]
    for now, number in [*noted, *[(START + 50 * SECOND, number) for number in range(1, 40)]]:
        keys, until = [nonce_key(new_nonce(), 0) for _ in range(number)], now // SECOND + 60
        arguments = [new_request(), *quota_arguments(quota), "", "", "", "", "1", "g", str(until)]
        expected = naive.ask(quota, now, until, number)
        assert run(client, scripts.RECORD_BATCH, now, keys, arguments) == expected
