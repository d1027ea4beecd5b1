"""What this machine offers: folders that last, and enough open files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .findings import Finding, Level

_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_OF_A_CONTAINER: Final = frozenset({"overlay", "overlayfs", "aufs"})
_WRITABLE_BY_OTHERS: Final = 0o002
_STICKY: Final = 0o1000


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that must last, or, if it is not there yet, the next one above that is. `file_system` may be unknown."""

    place: str
    path: str
    exists: bool
    owner: int
    mode: int
    file_system: str | None


def findings_of_folder(folder: Folder, *, user: int, what_is_kept: str, ours_alone: bool) -> Iterator[Finding]:
    """Whether what is kept there outlives us, and nobody else can replace it. `user` is our user id.

    `ours_alone` is for the embedded store, which does not start in another's folder. The folder of uploads may be a
    volume, whose root belongs to the system, and often lets everybody in who sees it.
    """
    before = []
    if ours_alone and folder.exists and folder.owner != user:
        what = f"{folder.path} belongs to user {folder.owner}, and this is user {user}"
        before.append(Finding(Level.FATAL, folder.place, what, "run as its owner, or choose another"))
    if folder.mode & _WRITABLE_BY_OTHERS and not folder.mode & _STICKY:
        what = f"everybody on this machine may replace what is in {folder.path}"
        level = Level.FATAL if ours_alone and folder.exists else Level.WARNING
        before.append(Finding(level, folder.place, what, f"chmod o-w {folder.path}"))
    if folder.file_system in _IN_MEMORY:
        what = f"{folder.path} is in memory ({folder.file_system}): {what_is_kept} end with this machine's uptime"
        before.append(Finding(Level.WARNING, folder.place, what, "choose a folder on a disk"))
    if folder.file_system in _OF_A_CONTAINER:
        what = f"{folder.path} is in the container's own layer: {what_is_kept} end with the container"
        before.append(Finding(Level.WARNING, folder.place, what, "mount a volume there"))
    if folder.file_system is None:
        what = f"what kind of file system {folder.path} is on is not known"
        before.append(Finding(Level.UNKNOWN, folder.place, what))
    yield from before or [Finding(Level.FINE, folder.place, f"{folder.path} is ours, and lasts")]


def findings_of_descriptors(limit: int, needed: int) -> Iterator[Finding]:
    """Whether a worker may have as many files and sockets open as it may need. 0 or less is no limit."""
    if 0 < limit < needed:
        what = f"a worker may open {limit} files, and {needed} with all its connections"
        yield Finding(Level.WARNING, "ulimit -n", what, f"raise it to {needed} or more")
    else:
        yield Finding(Level.FINE, "ulimit -n", "a worker may open the files that it needs")
