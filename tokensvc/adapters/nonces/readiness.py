"""Whether the store could record and redeem now, server by server.

A cluster that has lost a part goes on with the others, and so does the service: all workers share that cluster, so a
worker that called itself unready would only take the good parts away from everybody. It is ready while any part is,
and names those that are not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tokensvc.core.errors import Outage
from tokensvc.ports import Audit, Clock

from . import scripts
from .keys import epoch_key
from .questions import Questions

SKEW_TOLD_SECONDS: Final = 2
"""More than this is told in the log."""

MOST_SKEW_SECONDS: Final = 30
"""With more, a record may end before its credential, or nothing be recorded at all."""

_EVICTING: Final = "The nonce store may evict records: its maxmemory-policy has to be noeviction."


@dataclass(frozen=True, slots=True)
class Readiness:
    """Asks all buckets. Without a `clock` (Unix seconds) the store's is not compared with ours."""

    questions: Questions
    buckets: int
    clock: Clock | None
    audit: Audit | None
    _skewed: set[str] = field(default_factory=set)

    def require(self) -> tuple[str, ...]:
        """Return the servers that are down, as `host:port`; raise the outage if there is no other."""
        down: dict[str, Outage] = {}
        is_up = False
        for bucket in range(self.buckets):
            server = self.questions.server_of(bucket)
            if server in down:  # each question to one that hangs would be another second
                continue
            try:
                self._require(bucket)
                is_up = True
            except Outage as outage:
                down[server] = outage
        if not is_up:
            raise next(iter(down.values()))
        return tuple(sorted(server or "unknown" for server in down))

    def _require(self, bucket: int) -> None:
        before = None if self.clock is None else self.clock()
        word, *rest = self.questions.put(scripts.READY, bucket, [epoch_key(bucket)], [])
        if word == "evicting":
            raise self.questions.outage(_EVICTING)
        if before is not None and self.clock is not None:
            told, after = int(rest[0]), self.clock()
            self._require_agreement(self.questions.server_of(bucket), max(before - told, told - after, 0))

    def _require_agreement(self, server: str, skew: int) -> None:
        if skew <= SKEW_TOLD_SECONDS:
            self._skewed.discard(server)
        elif server not in self._skewed:
            self._skewed.add(server)
            if self.audit is not None:
                self.audit.note("clock_skewed", {"seconds": skew, "server": server or None})
        if skew > MOST_SKEW_SECONDS:
            raise self.questions.outage(
                f"The nonce store's clock and ours differ by {skew} s: let NTP set both of them."
            )
