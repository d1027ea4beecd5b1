"""Time and chance, who asks, who is slowed down, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tokensvc.core.callers import Caller, Evidence, Presented
from tokensvc.core.nonces import NonceId

Clock = Callable[[], int]
"""Unix seconds, now."""


class CallerSource(Protocol):
    """One way to know who asks. `identify` changes nothing: what is good once is spent by the use case."""

    @property
    def evidence(self) -> Evidence:
        """How its evidence gets into a request."""

    def identify(self, presented: Presented) -> Caller | None:
        """The caller, None if this source's evidence is absent, or a Refusal if it is there and not good."""


class Throttle(Protocol):
    """Slows down an address that fails often, and callers without a name. A courtesy: what cannot be asked is a yes.

    `address` is that of the client, as in `Presented.peer`. What stands for many clients (the loopback, a unix socket)
    is never refused.
    """

    def check(self, address: str) -> None:
        """Raise a refusal (RATE_LIMITED) if too many requests from there have failed lately."""

    def failed(self, address: str) -> None:
        """Count a request that came with forged or unknown evidence. Raises nothing."""

    def anonymous(self, address: str) -> None:
        """Count a request of a caller without a name, or raise a refusal (RATE_LIMITED) if there were too many."""


class Concern(Protocol):
    """Is told of whom and what the request is about, as soon as that is known: so a refusal says it too."""

    def __call__(self, **facts: str | None) -> None:
        """By the names of the facts of `Audit`. None is not known."""


class Audit(Protocol):
    """Takes note of what happened. Never given a secret or a credential."""

    def note(self, event: str, facts: Mapping[str, str | int | None]) -> None:
        """`event` is a past participle: issued, refused, redeemed, replayed, stored."""

    def note_each(self, event: str, facts: Mapping[str, str | int | None], nonces: Sequence[NonceId]) -> None:
        """The same as to note each of these with the facts and its `nonce`, in this order; all of them or none."""
        for nonce in nonces:
            self.note(event, {**facts, "nonce": nonce})
