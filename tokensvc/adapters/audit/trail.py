"""Which events are kept in the audit, and what happens when one cannot be.

A yes that cannot be written down is not given. What is a no anyhow, or is done already, is answered, and only counted
as missed: to refuse it would help nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tokensvc.adapters.logs.about import request_facts
from tokensvc.adapters.logs.redaction import REDACTION
from tokensvc.core.errors import Outage
from tokensvc.core.nonces import NonceId
from tokensvc.ports import Audit

from .file import AuditFile

PERMISSIONS: Final = frozenset({"issued", "redeemed"})
AUDITED: Final = PERMISSIONS | {"replayed", "revoked", "stale", "unissued", "stored", "unfinished", "epoch_changed"}
"""What became of credentials. Refusals are in the log alone: strangers must not be able to fill the disk."""

Aside = Callable[..., Any]
"""Calls a function with what follows, where it may wait for a disk."""


class Audited:
    """An audit that also keeps events in a file. With `refuses`, what is not written there is no permission."""

    def __init__(self, inner: Audit, file: AuditFile, aside: Aside, *, refuses: bool = True) -> None:
        self._inner, self._file, self._aside, self._refuses = inner, file, aside, refuses

    def note(self, event: str, facts: Mapping[str, str | int | None]) -> None:
        """Keep it, then pass it on; raises an outage for a permission that could not be kept."""
        self._keep(event, facts, ({},))
        self._inner.note(event, facts)

    def note_each(self, event: str, facts: Mapping[str, str | int | None], nonces: Sequence[NonceId]) -> None:
        """Keep all of them, a line each and together on the disk, then pass them on."""
        self._keep(event, facts, [{"nonce": nonce} for nonce in nonces])
        self._inner.note_each(event, facts, nonces)

    def _keep(self, event: str, facts: Mapping[str, str | int | None], each: Sequence[Mapping[str, str]]) -> None:
        if event not in AUDITED:
            return
        about = {name: fact for name, fact in request_facts().items() if name != "ms"}
        common = REDACTION({**about, **facts})
        try:
            self._aside(self._file.append, event, *({**common, **own} for own in each))
        except OSError as exc:
            self._inner.note("audit_missed", {"missed": event, "reason": exc.strerror or type(exc).__name__})
            if self._refuses and event in PERMISSIONS:
                raise Outage("The audit file cannot be written.") from exc
