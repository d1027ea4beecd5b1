"""The public keys that an identity provider serves at a URL (a JWK set, RFC 7517), kept as long as it lets us.

There is no background thread: the request that finds the keys old fetches them, while the others go on with what is
held. Old keys serve for a day when the provider is down. A token with an unknown key's name may have us ask again, but
only every 30 s: names are strangers' texts.
"""

from __future__ import annotations

import math
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tokensvc.core import strict_json
from tokensvc.core.errors import Outage
from tokensvc.ports import Audit

from .fetch import Fetched, NotFetched, check_url, fetch
from .verifying_keys import PUBLIC_KEY_ALGORITHMS, VerifyingKey, from_jwk

FETCH_SECONDS: Final = 2.0
"""The longest time for one fetch, all of it."""

FRESH_SECONDS: Final = range(60, 3600 + 1)
"""Bounds of what the provider's `Cache-Control` can ask for."""

DEFAULT_FRESH_SECONDS: Final = 600
STALE_SECONDS: Final = 24 * 3600
"""How long keys serve after they were fetched, if they cannot be fetched again."""

UNKNOWN_AGAIN_SECONDS: Final = 30
"""Between two fetches for the sake of an unknown key."""

RETRY_SECONDS: Final = 5
"""Between two fetches of old (or no) keys when the first one failed."""

_WAIT_SECONDS: Final = FETCH_SECONDS + 0.5
_MAX_AGE: Final = re.compile(r'(?:^|[\s,])max-age\s*=\s*"?(\d{1,10})\b', re.ASCII | re.IGNORECASE)
_NOT_TO_KEEP: Final = re.compile(r"(?:^|[\s,])no-(?:cache|store)\b", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class KeySet:
    """What was fetched. The times are the injected clock's seconds."""

    keys: tuple[VerifyingKey, ...]
    fresh_until: float
    good_until: float

    def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """The key of that name. A token without a name means the only key for its algorithm: none is ever tried."""
        fitting = [key for key in self.keys if algorithm in key.algorithms]
        if kid is None:
            return fitting[0] if len(fitting) == 1 else None
        return next((key for key in fitting if key.kid == kid), None)


class Jwks:
    """Key source: the JWK set at `url`. Safe between threads; one fetch at a time."""

    def __init__(
        self, url: str, *, monotonic: Callable[[], float], audit: Audit, tls: ssl.SSLContext | None = None
    ) -> None:
        """`url` is https, or http on this machine; otherwise ValueError. `tls` is for an authority of one's own."""
        check_url(url)
        self._url, self._monotonic, self._audit, self._tls = url, monotonic, audit, tls
        self._held: KeySet | None = None
        self._fetching = threading.Lock()
        # These three are changed by the holder of the lock.
        self._down = False
        self._retry_at = self._unknown_again_at = -math.inf

    @property
    def algorithms(self) -> frozenset[str]:
        """What a published key can be for; HS256 never is among them."""
        return PUBLIC_KEY_ALGORITHMS

    def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """Return the key, None if the provider has no such key, or raise Outage if it does not say."""
        now, held = self._monotonic(), self._held
        key = held.find(kid, algorithm) if held is not None and now < held.good_until else None
        if held is None or key is None:
            return self._find_for_sure(kid, algorithm)
        if now < held.fresh_until or not self._fetching.acquire(blocking=False):
            return key
        try:
            if self._held is held and self._monotonic() >= self._retry_at:
                self._fetch()
            return (self._held or held).find(kid, algorithm)
        finally:
            self._fetching.release()

    def _find_for_sure(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """Wait for the fetch that is under way, if any; fetch unless that has been done just now; look again."""
        if not self._fetching.acquire(timeout=_WAIT_SECONDS):
            raise Outage("The identity provider's keys are still being fetched.")
        try:
            now = self._monotonic()
            held = self._good(now)
            if held is not None and (key := held.find(kid, algorithm)) is not None:
                return key
            is_due = held is None or now >= held.fresh_until
            if is_due and now >= self._retry_at:
                self._fetch()
            elif held is not None and now >= self._unknown_again_at:
                self._unknown_again_at = now + UNKNOWN_AGAIN_SECONDS
                self._fetch()
            held = self._good(now)
            key = held.find(kid, algorithm) if held is not None else None
            if key is None and (held is None or self._down):
                wait = max(1, math.ceil(self._retry_at - self._monotonic()))
                raise Outage("The identity provider does not tell its keys.", retry_after=wait)
            return key
        finally:
            self._fetching.release()

    def _good(self, now: float) -> KeySet | None:
        return self._held if self._held is not None and now < self._held.good_until else None

    def _fetch(self) -> None:
        """Replace what is held, or keep it if the provider fails. The lock is held."""
        now = self._monotonic()
        try:
            fetched = fetch(self._url, seconds=FETCH_SECONDS, tls=self._tls)
            keys, ignored = _read(fetched.body)
        except (NotFetched, ValueError) as exc:
            self._down = True
            self._retry_at = self._monotonic() + RETRY_SECONDS
            self._audit.note("keys_missed", {"url": self._url, "reason": str(exc)})
            return
        self._down = False
        self._held = KeySet(keys, now + _fresh_seconds(fetched), now + STALE_SECONDS)
        self._audit.note("keys_fetched", {"url": self._url, "keys": len(keys), "ignored": ignored})


def _read(body: bytes) -> tuple[tuple[VerifyingKey, ...], int]:
    """Return the usable keys of a JWK set and the number of the others; none at all is a fault: ValueError."""
    members = strict_json.loads_object(body).get("keys")
    if not isinstance(members, list):
        raise ValueError("it has no list of keys")
    keys = tuple(key for member in members if (key := from_jwk(member)) is not None)
    if not keys:
        raise ValueError("it has no key that can verify a signature")
    return keys, len(members) - len(keys)


def _fresh_seconds(fetched: Fetched) -> int:
    asked = _MAX_AGE.search(fetched.cache_control)
    seconds = int(asked[1]) if asked else DEFAULT_FRESH_SECONDS
    if _NOT_TO_KEEP.search(fetched.cache_control):
        seconds = 0
    return min(max(seconds, FRESH_SECONDS[0]), FRESH_SECONDS[-1])
