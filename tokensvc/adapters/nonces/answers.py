"""What the scripts that record answer, as the port has it: a word, and what follows it.

The words of the fence are no answers: `RedisNonces` acts on them itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tokensvc.core.quotas import LimitName
from tokensvc.ports import Recording, RecordOutcome

_LIMITS: Final[dict[str, tuple[LimitName, RecordOutcome]]] = {
    "rate": ("rate", RecordOutcome.RATE_LIMITED),
    "per_day": ("per_day", RecordOutcome.QUOTA_EXCEEDED),
    "outstanding": ("outstanding", RecordOutcome.QUOTA_EXCEEDED),
}

_OUTCOMES: Final = {str(outcome): outcome for outcome in RecordOutcome}

UNRECORDED: Final = {
    "stale": "The nonce store was restarted or replaced while the credential was being recorded.",
    "late": "The nonce store's clock is past the time until which the record must be kept: compare the clocks.",
}
"""Words that come to an outage."""


def recording_of(word: str, rest: Sequence[str]) -> Recording:
    """What any other word means."""
    if word in _LIMITS:
        limit, outcome = _LIMITS[word]
        return Recording(outcome, limit, int(rest[0]))
    match _OUTCOMES[word]:
        case RecordOutcome.EXISTS:
            return Recording(RecordOutcome.EXISTS, known=tuple(int(place) for place in rest))
        case RecordOutcome.AGAIN:
            return Recording(RecordOutcome.AGAIN, receipt=rest[0])
        case outcome:
            if not rest:
                return Recording(outcome)
            nearest, _ = _LIMITS[rest[1]]
            return Recording(outcome, nearest, remaining=int(rest[0]))
