"""Reads what itsdangerous has signed, by our clock.

Its own check of age asks the system's clock, and refuses what another host signed one tick ahead of it.
"""

from __future__ import annotations

import re
from typing import Any, Final

from itsdangerous import BadData, URLSafeTimedSerializer

from tokensvc.core.errors import Code, Refusal
from tokensvc.core.window import LEEWAY_SECONDS

from .verdicts import Verdicts

_TEXT: Final = re.compile(r"[A-Za-z0-9_.-]{1,8192}")


def read_signed(
    serializer: URLSafeTimedSerializer,
    text: str,
    *,
    now: int,
    max_age: int,
    what: str,
    remedy: str,
    verdicts: Verdicts[tuple[Any, int]] | None = None,
) -> tuple[Any, int]:
    """Return what was signed, and when (Unix s); a refusal if it is forged, older than `max_age` s, or of the future.

    `what` is the evidence's name for the refusal's sentence. `verdicts` remembers signatures; its content is shared.
    """
    kept = None if verdicts is None else verdicts.find(text, now)
    content, signed_at = kept or _verified(serializer, text, f"The {what} is not genuine.", remedy)
    if signed_at > now + LEEWAY_SECONDS:
        raise Refusal(Code.CALLER_INVALID, f"The {what} is from the future.", "Compare the clocks of the two hosts.")
    if now - signed_at > max_age:
        raise Refusal(Code.CALLER_INVALID, f"The {what} is too old.", remedy)
    if verdicts is not None and kept is None:
        verdicts.keep(text, (content, signed_at), now)
    return content, signed_at


def _verified(serializer: URLSafeTimedSerializer, text: str, forged: str, remedy: str) -> tuple[Any, int]:
    if not _TEXT.fullmatch(text):
        raise Refusal(Code.CALLER_INVALID, forged, remedy)
    try:
        content, at = serializer.loads(text, return_timestamp=True)
        return content, int(at.timestamp())
    except (BadData, ValueError, OverflowError):  # the last two for a signed time that is in no calendar
        raise Refusal(Code.CALLER_INVALID, forged, remedy) from None
