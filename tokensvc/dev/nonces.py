"""A nonce store that fails, refuses and forgets on demand, in front of the real one.

It also translates times. The real store goes by its own clock, and what is kept "until" a time of the emulator's is
kept as long from now.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from tokensvc.core.errors import Code, Outage, Refusal
from tokensvc.core.nonces import NonceId
from tokensvc.core.quotas import Quota, Remaining
from tokensvc.ports import Entry, NonceStore, Outcome, Recording, Redemption, Standing

from .emulation import EmulationFile

_SHORTEST_SECONDS: Final = 60
"""What is recorded of a credential that has expired already, for the faults that make such ones."""


@dataclass(frozen=True, slots=True)
class EmulatedNonces:
    """`ports.NonceStore`."""

    nonces: NonceStore
    emulation: EmulationFile

    def record(self, nonce: NonceId, *, grant: str, until: int, request: str, quota: Quota | None = None) -> Recording:
        """As the port says."""
        self._may_be_down()
        quota, nonce = self._quota(quota), self._named(nonce)
        return self.nonces.record(nonce, grant=grant, until=self._until(until), request=request, quota=quota)

    def remaining(self, quota: Quota) -> Remaining:
        """As the port says."""
        self._may_be_down()
        return self.nonces.remaining(self._quota(quota) or quota)

    def record_batch(self, entries: Sequence[Entry], *, request: str, quota: Quota | None = None) -> Recording:
        """As the port says."""
        self._may_be_down()
        renamed = [Entry(self._named(entry.nonce), entry.grant, self._until(entry.until)) for entry in entries]
        return self.nonces.record_batch(renamed, request=request, quota=self._quota(quota))

    def redeem(self, nonce: NonceId, *, request: str, cross_off_until: int | None = None) -> Redemption:
        """As the port says, but for what is refused on demand. `replay` spends the nonce all the same."""
        self._may_be_down()
        if self._is_hit("reject"):
            raise Refusal(
                Code.CREDENTIAL_INVALID,
                "The credential is good. The emulator was told to refuse it (fault reject).",
                "Fetch a new credential and try again.",
            )
        until = None if cross_off_until is None else self._until(cross_off_until)
        redemption = self.nonces.redeem(self._named(nonce), request=request, cross_off_until=until)
        if redemption.outcome is Outcome.SPENT and self._is_hit("replay"):
            return Redemption(Outcome.REPLAYED)
        return redemption

    def finish(self, nonce: NonceId, *, request: str, result: str) -> None:
        """As the port says."""
        self._may_be_down()
        self.nonces.finish(self._named(nonce), request=request, result=result)

    def revoke(self, nonce: NonceId, *, actor: str) -> Outcome:
        """As the port says."""
        self._may_be_down()
        return self.nonces.revoke(self._named(nonce), actor=actor)

    def look(self, nonce: NonceId) -> Standing:
        """As the port says."""
        self._may_be_down()
        return self.nonces.look(self._named(nonce))

    def ready(self) -> None:
        """As the port says; a store that is down now and then is ready."""
        fault = self.emulation.now().fault("store")
        if fault is not None and fault.how_often.times is None and fault.how_often.share == 1:
            raise _down()
        self.nonces.ready()

    def _may_be_down(self) -> None:
        if self._is_hit("store"):
            raise _down()

    def _is_hit(self, name: str) -> bool:
        fault = self.emulation.now().fault(name)
        return fault is not None and self.emulation.hit(fault)

    def _until(self, until: int) -> int:
        ahead = until - self.emulation.time()
        return self.emulation.clock() + max(ahead, _SHORTEST_SECONDS)

    def _named(self, nonce: NonceId) -> NonceId:
        return NonceId(self._of_generation(nonce))

    def _quota(self, quota: Quota | None) -> Quota | None:
        return None if quota is None else replace(quota, subject_id=self._of_generation(quota.subject_id))

    def _of_generation(self, name: str) -> str:
        digest = hashlib.sha256(f"{self.emulation.now().generation} {name}".encode()).digest()
        return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()


def _down() -> Outage:
    return Outage("The emulator was told that the nonce store is down (fault store).")
