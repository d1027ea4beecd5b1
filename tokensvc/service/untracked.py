"""What is handed out without a record while the store is down, where a profile says that this may be.

ImageKit itself takes a JWT only once, so there such a credential is as good as any other. Here it is not: it is not on
record, so it is refused, and it cannot be revoked. A worker hands out so many a minute and no more, because whoever
wants them needs only to keep the store silent.
"""

from __future__ import annotations

import threading
from typing import Final

from tokensvc.core.nonces import NonceId

MOST_A_MINUTE: Final = 600
"""By each worker, whoever asks."""

_MINUTE_SECONDS: Final = 60


class Untracked:
    """Those of the current minute, in this worker. Safe between threads."""

    def __init__(self, most: int = MOST_A_MINUTE) -> None:
        self._most = most
        self._handed_out: dict[NonceId, int] = {}
        self._lock = threading.Lock()

    def has_room(self, now: int) -> bool:
        """Whether one more may go. `now` is Unix seconds."""
        with self._lock:
            self._handed_out = {
                nonce: at for nonce, at in self._handed_out.items() if now - _MINUTE_SECONDS < at <= now
            }
            return len(self._handed_out) < self._most

    def take(self, nonce: NonceId, now: int) -> bool:
        """Note it as handed out; False if it was before, by this worker: then it is to be another one."""
        with self._lock:
            if nonce in self._handed_out:
                return False
            self._handed_out[nonce] = now
            return True
