"""The directory in which the workers of one service count together, each in files of its own.

A worker counts under a number, not its process id: who replaces a dead worker takes over its number and counts on in
its files. So totals outlive workers, and there are never more files than there were workers at one time.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final

from .processes import started

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Tells workers the directory; prometheus-client reads it too."""

_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - counting must not wait for a disk
_PREFIX: Final = "tokensvc-metrics-"
_LAUNCHER: Final = "launcher"


@contextmanager
def fresh_directory() -> Iterator[Path]:
    """An empty directory that is only ours, in memory where there is such a place, while the block lasts.

    What a launcher that was killed left behind is removed first.
    """
    place = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    _sweep(place)
    made = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=place))
    lock = take(made / _LAUNCHER)
    directory = made.rename(place / made.name.removeprefix("."))  # only now may another launcher's sweep see it
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def take_number(directory: Path) -> int:
    """The lowest number that no living process has there. It is ours until this process ends, however it does."""
    for number in count():
        lock = take(directory / f"{number}.lock")
        if lock is not None:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()} {started(os.getpid())}".encode(), 0)
            return number
    raise AssertionError


def living(directory: Path) -> Iterator[tuple[int, int]]:
    """The numbers that are taken, each with the process that has it.

    Locks are not tried: a worker that starts at that moment would find its number taken.
    """
    for path in sorted(directory.glob("*.lock"), key=lambda path: int(path.stem)):
        with suppress(OSError, ValueError, IndexError):  # it ends, or is about to say who it is
            pid, start = path.read_text().split()
            if started(int(pid)) == start:
                yield int(path.stem), int(pid)


def take(path: Path) -> int | None:
    """Lock a file and return its descriptor, which holds the lock until it is closed; None if another has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _sweep(place: Path) -> None:
    for directory in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, or gone in the meantime
            descriptor = os.open(directory / _LAUNCHER, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(descriptor)
