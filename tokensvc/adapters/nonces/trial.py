"""Does once, with a nonce of nobody, all that the service does with the store: rights are known by using them.

What is written ends by itself within a minute.
"""

from __future__ import annotations

import base64
from typing import Final

from redis import exceptions as redis_errors

from tokensvc.core.doctor import Finding, Level
from tokensvc.core.errors import Outage, Unanswered
from tokensvc.core.nonces import nonce_id
from tokensvc.core.profiles import Rate
from tokensvc.core.quotas import Quota
from tokensvc.ports import Chance, Clock, NonceStore, Outcome

_KEPT_SECONDS: Final = 60
"""More than the difference of clocks that is fatal, or a slow clock would be told as a missing right."""

_LIMIT: Final = 5


def try_out(nonces: NonceStore, place: str, *, chance: Chance, clock: Clock) -> list[Finding]:
    """What kept it from working, or that it works. Raises nothing."""
    try:
        down = nonces.ready()
        works = _once_through(nonces, chance, clock)
    except Outage as outage:
        passes = isinstance(outage, Unanswered) or isinstance(outage.__cause__, redis_errors.OutOfMemoryError)
        remedy = "see docs/operations.md" if not passes else "look at the store's own log"
        return [Finding(Level.OUTAGE if passes else Level.FATAL, place, outage.detail, remedy)]
    if not works:
        return [Finding(Level.FATAL, place, "does not keep what is recorded", "use Redis 7.0 or newer, or Valkey")]
    gone = [Finding(Level.OUTAGE, f"{place} {server}", "this part of the cluster is down") for server in down]
    return gone or [Finding(Level.FINE, place, "records, redeems and counts")]


def _once_through(nonces: NonceStore, chance: Chance, clock: Clock) -> bool:
    nonce, request, subject = nonce_id("doctor", "v1", chance(16)), _name(chance), _name(chance)
    quota = Quota(subject, rate=Rate(_LIMIT, _KEPT_SECONDS), outstanding=_LIMIT)
    until = clock() + _KEPT_SECONDS
    recorded = nonces.record(nonce, grant="", until=until, request=request, quota=quota).recorded
    nonces.remaining(quota)
    redeemed = nonces.redeem(nonce, request=request).outcome
    nonces.finish(nonce, request=request, result="")
    revoked = nonces.revoke(nonce, actor="doctor")
    refused = nonces.look(nonce).refused
    return recorded and (redeemed, revoked, refused) == (Outcome.SPENT, Outcome.REPLAYED, Outcome.REPLAYED)


def _name(chance: Chance) -> str:
    return base64.urlsafe_b64encode(chance(16)).rstrip(b"=").decode()
