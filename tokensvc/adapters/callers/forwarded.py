"""Callers that a trusted proxy (oauth2-proxy, Envoy, nginx) has signed in, and names in a header.

The header says only what its sender says. So from any other peer it is refused, not passed over: it is an attempt, or
a proxy that is not configured here. The proxy must remove the header from what its clients send; spellings of its name
with an underscore are dropped by the server before they come here (gunicorn's header_map).
"""

from __future__ import annotations

from typing import Final

from tokensvc.core.addresses import Peers
from tokensvc.core.callers import Caller, Evidence, Presented, require_subject
from tokensvc.core.errors import Code, Refusal


class Forwarded:
    """Caller source: the header of that name, from one of the trusted peers."""

    evidence: Final[Evidence] = "cookie"

    def __init__(self, source: str, *, header: str, trusted: Peers) -> None:
        if not header or "_" in header:
            raise ValueError("the header's name is written with hyphens: one with _ does not get through to here")
        self._source = source
        self._header = header.lower()
        self._trusted = trusted

    def identify(self, presented: Presented) -> Caller | None:
        """Return whom the proxy names; an empty header is a proxy's way to say that nobody is signed in."""
        text = presented.headers.get(self._header, "").strip()
        if not text:
            return None
        if presented.peer not in self._trusted:
            raise Refusal(
                Code.CALLER_INVALID,
                f"{self._header} comes from a peer that is not trusted to say who asks.",
                "Ask through the proxy, or name it under trusted.",
            )
        if "," in text:  # two headers of that name arrive as one, joined by a comma: the client's and the proxy's
            raise Refusal(
                Code.CALLER_INVALID,
                f"{self._header} comes twice, or holds a comma.",
                "Let the proxy replace the header and not add to it.",
            )
        return Caller(self._source, require_subject(_decoded(text)))


def _decoded(text: str) -> str:
    try:
        return text.encode("latin-1").decode()  # WSGI hands the bytes of a header over as Latin-1
    except UnicodeError:
        raise Refusal(Code.CALLER_INVALID, "The caller's name is not UTF-8.", "Let the proxy send UTF-8.") from None
