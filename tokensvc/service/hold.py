"""An upload's hold on its credential, from the redemption until the file is about to become visible.

What the attempt has spent needs none of this. A use that is only claimed is committed in the last moment before the
file can be seen, and given back if that moment does not come. What is committed is never given back.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tokensvc.core.errors import Outage
from tokensvc.core.nonces import NonceId
from tokensvc.ports import Audit, NonceStore, Outcome

from .verify import refusal_of


class Hold:
    """As a context manager it gives back what is still claimed when it is left, however it is left.

    If the store does not answer then, the end of the lease gives it back. `facts` are told to the audit.
    """

    def __init__(
        self, nonces: NonceStore, audit: Audit, nonce: NonceId, request: str, facts: Mapping[str, str | int | None]
    ) -> None:
        self._nonces, self._audit = nonces, audit
        self._nonce, self._request, self._facts = nonce, request, facts
        self._claimed = True

    def commit(self) -> None:
        """Spend what is claimed, or raise the refusal if another has it by now.

        An outage leaves open whether it is spent: nothing may become visible then.
        """
        outcome = self._nonces.commit(self._nonce, request=self._request)
        self._claimed = False
        if outcome is not Outcome.SPENT:
            self._audit.note(str(outcome), self._facts)
            raise refusal_of(outcome)
        self._audit.note("redeemed", self._facts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._claimed:
            try:
                self._nonces.release(self._nonce, request=self._request)
            except Outage:
                self._audit.note("unreleased", self._facts)
            else:
                self._audit.note("released", self._facts)
