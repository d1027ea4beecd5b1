"""How many nonces could be spent now, asked of the store itself.

It is looked at, not kept: so it costs an issue nothing, and it is right after whatever became of workers, of other
services on the same store, and of the store. What is looked at are so many keys and no more. They are no chosen ones:
a server goes through its keys by a hash of their names. So what the first of them are, all are in proportion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from redis.crc import key_slot

from tokensvc.core.window import MARGIN_SECONDS

from . import scripts
from .keys import epoch_key
from .questions import Questions

MOST_LOOKED_AT: Final = 10_000
"""Keys, of the whole store. With more of them than that the figure is an estimate."""

MOST_AT_ONCE: Final = 500
"""Nobody else is served meanwhile: about a millisecond."""

_MOST_PAGES: Final = 2 * MOST_LOOKED_AT // MOST_AT_ONCE
"""Of one bucket. A page may be empty: of a table that was larger, or of a server that passes over other buckets."""


@dataclass(frozen=True, slots=True)
class Census:
    """Asks all servers. In a cluster (`sharded`) each bucket is a slot, and is looked at by itself."""

    questions: Questions
    buckets: int
    sharded: bool

    def outstanding(self) -> int:
        """Exact if there are no more keys than are looked at, else about. An outage if any server does not answer."""
        if not self.sharded:
            return round(self._outstanding(0, "*", "", MOST_LOOKED_AT))
        share = -(-MOST_LOOKED_AT // self.buckets)
        return round(sum(self._of_bucket(bucket, share) for bucket in range(self.buckets)))

    def _of_bucket(self, bucket: int, most: int) -> float:
        key = epoch_key(bucket)
        return self._outstanding(bucket, f"{key[:-1]}*", str(key_slot(key.encode())), most)

    def _outstanding(self, bucket: int, pattern: str, slot: str, most: int) -> float:
        asked = [str(min(most, MOST_AT_ONCE)), pattern, slot, str(MARGIN_SECONDS * 1000)]
        cursor, looked_at, found, there = "0", 0, 0, 0
        for _ in range(_MOST_PAGES):
            answer = self.questions.put(scripts.OUTSTANDING, bucket, [epoch_key(bucket)], [cursor, *asked])
            _, cursor, *counts = answer
            page, found_there, there = map(int, counts)
            looked_at, found = looked_at + page, found + found_there
            if cursor == "0":
                return found
            if looked_at >= most:
                break
        return found * there / looked_at if looked_at else 0.0
