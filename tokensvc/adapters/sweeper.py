"""Takes away, from time to time, what killed workers left in a file store.

Every worker has one of these; a file that they lock sees to it that one of them sweeps at a time, and how often in all.
It also outlives them: a service whose workers are replaced all the time does not sweep at each start.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path
from typing import Final

from tokensvc.core.errors import Outage
from tokensvc.ports import Audit, Clock, FileStore

from .aside import Blocking, at_once
from .spool import faults_as_outages

SWEEP_SECONDS: Final = 3600
"""From one sweep to the next, at least."""

OLD_SECONDS: Final = 3600
"""What nobody has written to for so long is debris. A client that sends less than 64 KiB in that time is cut off."""

_LOOK_SECONDS: Final = 300


class Sweeper:
    """Sweeps `files` if it is time. `lock` is the path of a file that all workers of this machine have in common.

    `blocking` calls the sweep, which may take long; where many requests share one thread, in another one.
    """

    def __init__(self, files: FileStore, lock: Path, clock: Clock, audit: Audit, blocking: Blocking = at_once) -> None:
        self._files = files
        self._lock = lock
        self._clock = clock
        self._audit = audit
        self._blocking = blocking

    def start(self) -> None:
        """Sweep now and then from now on, in a thread that ends with the process."""
        threading.Thread(target=self._attend, name="sweeper", daemon=True).start()

    def once(self) -> int | None:
        """Sweep, and return how many things that removed; None if another does, did lately, or something is away."""
        try:
            with faults_as_outages():
                self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    return self._sweep(descriptor)
                finally:
                    os.close(descriptor)
        except Outage as outage:
            self._audit.note("unswept", {"reason": outage.detail})
            return None

    def _sweep(self, descriptor: int) -> int | None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        now, last = self._clock(), os.pread(descriptor, 20, 0)
        if last.isdigit() and 0 <= now - int(last) < SWEEP_SECONDS:
            return None
        removed = self._blocking(self._files.sweep, now, OLD_SECONDS)
        os.pwrite(descriptor, str(now).encode(), 0)
        if removed:
            self._audit.note("swept", {"removed": removed})
        return removed

    def _attend(self) -> None:
        while True:
            self.once()
            time.sleep(_LOOK_SECONDS)
