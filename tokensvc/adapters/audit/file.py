"""The audit's file, to which several processes add lines, and which may be moved away at any time.

Nothing is kept open or remembered between two lines: each is written under a lock, after the head of the chain was
read under it. So rotation needs no signal, and workers may come and go. The head is kept in a file beside it, `….head`,
which is the lock too; where the two disagree (a crash came between) what the audit itself says counts.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from .chain import MOST_LINE_BYTES, Head, Seal

_NOTED: Final = re.compile(rb"([0-9]{20}) ([0-9a-f]{64}) ([0-9]{20})\n")
_NOTE_BYTES: Final = 20 + 1 + 64 + 1 + 20 + 1
_APPEND: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
_LOCK: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Note:
    """What the file beside says: the head, and how many bytes the audit had then."""

    head: Head
    size: int


def head_path(path: Path) -> Path:
    """The file beside."""
    return path.with_name(f"{path.name}.head")


def read_note(text: bytes) -> Note | None:
    """None if there is none yet."""
    found = _NOTED.fullmatch(text)
    return Note(Head(int(found[1]), found[2].decode()), int(found[3])) if found else None


class AuditFile:
    """Adds lines. `now` is in Unix seconds; with `sync` they are on the disk before `append` returns."""

    def __init__(self, path: Path, seal: Seal, now: Callable[[], float], *, sync: bool = True) -> None:
        self.path = path
        self._seal, self._now, self._sync = seal, now, sync

    def append(self, event: str, *each: Mapping[str, Any]) -> None:
        """Add a line of the event for each of these facts. OSError if that cannot be done; then none of them is there.

        They are one write and one sync of the disk, however many they are.
        """
        lock = os.open(head_path(self.path), _LOCK, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            descriptor = os.open(self.path, _APPEND, 0o600)
            try:
                self._add(lock, descriptor, event, each)
                fcntl.flock(lock, fcntl.LOCK_UN)
                if self._sync:  # not under the lock: one sync of the disk then serves all who wait for it
                    os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        finally:
            os.close(lock)

    def check(self) -> None:
        """OSError if lines could not be added now, as far as that can be told without adding one."""
        for path, flags in ((head_path(self.path), _LOCK), (self.path, _APPEND)):
            os.close(os.open(path, flags, 0o600))

    def _add(self, lock: int, descriptor: int, event: str, each: Sequence[Mapping[str, Any]]) -> None:
        size = os.fstat(descriptor).st_size
        note = read_note(os.pread(lock, _NOTE_BYTES + 1, 0))
        fragment = b""
        if note is not None and note.size == size:
            head = note.head
        else:
            head, fragment = self._look(descriptor, size, note)
        written = [b"\n"] if fragment else []
        if (whole := self._seal.read(fragment)) is not None and whole.genuine:  # only its line break is missing
            head = whole.head
        elif fragment:  # a crash in the middle of a line: it stays, and a line says so
            mended = {"bytes": len(fragment), "fragment": hashlib.sha256(fragment).hexdigest()}
            line, head = self._seal.line(head, self._time(), "mended", mended)
            written.append(line)
        time = self._time()
        for facts in each:
            line, head = self._seal.line(head, time, event, facts)
            written.append(line)
        text = b"".join(written)
        try:
            _write(descriptor, text)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
        os.pwrite(lock, f"{head.number:020d} {head.seal} {size + len(text):020d}\n".encode(), 0)
        if size == 0 and self._sync:  # where the chain goes on after the file was moved must not be forgotten
            os.fsync(lock)
            _sync_directory(self.path.parent)

    def _look(self, descriptor: int, size: int, note: Note | None) -> tuple[Head, bytes]:
        """The head by the last whole line of the file, and what stands after it."""
        before = note.head if note is not None else Head()
        tail = os.pread(descriptor, 2 * MOST_LINE_BYTES, max(0, size - 2 * MOST_LINE_BYTES))
        whole, line_break, fragment = tail.rpartition(b"\n")
        last = self._seal.read(whole.rpartition(b"\n")[2]) if line_break else None
        return (last.head if last is not None else before), fragment

    def _time(self) -> str:
        return datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _write(descriptor: int, text: bytes) -> None:
    while text:
        text = text[os.write(descriptor, text) :]


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
