"""Callers that present a ticket which a web app signed for them: `Authorization: Ticket …` or `X-Upload-Ticket: …`.

A ticket for one use is only recognised here, not spent: that is the use case's, when it knows that it will issue. What
was used is noted in the nonce store by the name inside of the ticket; its text has several spellings that verify.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tokensvc.core.callers import Caller, Evidence, Once, Presented
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.keys import Secret
from tokensvc.core.nonces import ticket_id
from tokensvc.core.window import LEEWAY_SECONDS, MARGIN_SECONDS
from tokensvc.embed.tickets import ticket_fault, ticket_serializer
from tokensvc.ports import Clock

from .signed import read_signed

MAX_AGE_SECONDS: Final = 300
HEADER: Final = "x-upload-ticket"
_REMEDY: Final = "Fetch a new ticket from the web app."


class Tickets:
    """Caller source: tickets signed with one of `secret_keys`, newest first; ValueError for none or a short one."""

    evidence: Final[Evidence] = "header"

    def __init__(
        self, source: str, secret_keys: Sequence[Secret], *, clock: Clock, max_age: int = MAX_AGE_SECONDS
    ) -> None:
        self._source = source
        self._serializer = ticket_serializer(key.reveal() for key in reversed(secret_keys))
        self._clock = clock
        self._max_age = max_age

    def identify(self, presented: Presented) -> Caller | None:
        """Return whom the ticket is for."""
        text = _ticket(presented)
        if text is None:
            return None
        members, signed_at = read_signed(
            self._serializer, text, now=self._clock(), max_age=self._max_age, what="ticket", remedy=_REMEDY
        )
        if ticket_fault(members):
            raise Refusal(Code.CALLER_INVALID, "The ticket does not hold what a ticket holds.", _REMEDY)
        once = None
        if members["uses"] == 1:
            refused_from = signed_at + self._max_age + 1
            once = Once(ticket_id(members["name"]), refused_from + LEEWAY_SECONDS + MARGIN_SECONDS)
        return Caller(self._source, members["subject"], claims=members["claims"], profile=members["profile"], once=once)


def _ticket(presented: Presented) -> str | None:
    found = {text for text in (presented.authorization("ticket"), presented.headers.get(HEADER, "").strip()) if text}
    if len(found) > 1:
        raise Refusal(Code.CALLER_INVALID, "There are two tickets in the request.", "Send one ticket, once.")
    return found.pop() if found else None
