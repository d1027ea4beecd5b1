"""How often a credential is good here, and what spends a use. Decided when it is issued, and kept in its record.

It holds where our own nonce store is asked: ImageKit itself takes each credential once, whatever is said here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

MOST_USES: Final = 100
"""The record keeps who had each use: at most 10 KB of them."""

SpendMode = Literal["on-attempt", "on-success"]


@dataclass(frozen=True, slots=True)
class Uses:
    """`count` uses, each for one request of ours. ValueError for a count that is not from 1 to `MOST_USES`.

    on-attempt: the first attempt with a genuine credential spends a use, as at ImageKit, whatever comes of it.
    on-success: an attempt claims it for a while, and it is spent when the file is kept, else given back.
    """

    count: int = 1
    spend: SpendMode = "on-attempt"

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_USES:
            raise ValueError(f"uses is from 1 to {MOST_USES}")


ONCE: Final = Uses()
