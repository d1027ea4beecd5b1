"""Keeps gunicorn from listening until the launcher has a nonce store for its workers; it loads itself meanwhile.

By a lock in the directory that the launcher gives it: the kernel opens that, too, when the launcher is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .metrics_files import take

_FILE: Final = "beginning"


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """While the block lasts, nobody gets past `wait`."""
    lock = take(directory / _FILE)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def wait(directory: Path) -> None:
    """Return once nobody holds it. A directory that is gone, or was never held, holds nobody up."""
    with contextlib.suppress(FileNotFoundError), (directory / _FILE).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
