"""Callers of whom nothing is known but where they are: for profiles that name this source, and so let everybody in.

It always finds its evidence, so it is the last of a profile's callers. The address is the direct peer's, unless that
is a configured proxy: X-Forwarded-For is otherwise whatever the client likes to be counted as.
"""

from __future__ import annotations

from typing import Final

from tokensvc.core.addresses import Peers, client_address, subject_of
from tokensvc.core.callers import Caller, Evidence, Presented
from tokensvc.core.errors import Code, Refusal

HEADER: Final = "x-forwarded-for"


class Anonymous:
    """Caller source: the client's address, of IPv6 its /64. Behind `proxies` it is what the last of them saw."""

    evidence: Final[Evidence] = "address"

    def __init__(self, source: str, *, proxies: Peers) -> None:
        self._source = source
        self._proxies = proxies

    def identify(self, presented: Presented) -> Caller | None:
        """Return the address as a caller; a refusal if it cannot be known."""
        try:
            address = client_address(presented.peer, presented.headers.get(HEADER, ""), self._proxies)
        except ValueError:
            raise Refusal(
                Code.CALLER_INVALID,
                "X-Forwarded-For names what is no address.",
                "Let the proxy write its client's address there.",
            ) from None
        if address is None:
            raise Refusal(
                Code.CALLER_INVALID,
                "The client's address is not known.",
                'Behind a proxy on a unix socket, name "unix" under proxies and let it send X-Forwarded-For.',
            )
        return Caller(self._source, subject_of(address))
