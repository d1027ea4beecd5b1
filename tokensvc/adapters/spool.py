"""Files that are being received: on a local disk, hashed as they come, visible to nobody.

Strangers' bytes stay here until all that can be refused has been: so whatever keeps files for good sees only those that
are kept, and a full disk or a slow client is no matter of its.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import posix
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from tokensvc.core.errors import Outage

from .aside import Blocking, at_once

close: Final = posix.close
"""Of a file or a folder. gevent's `os.close` first asks who waits for it, which nobody can: two system calls more."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class SpooledFile:
    """A file in a spool. Made by `Spool.receive`."""

    def __init__(self, folder: Path, blocking: Blocking, *, durable: bool) -> None:
        self._blocking = blocking
        self._durable = durable
        with faults_as_outages():
            self._descriptor, self.name = create(f"{folder}/file-")
        self._is_there = True
        self._hash = hashlib.sha256()
        self.size = 0
        self.sha256: str | None = None

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.name)

    def write(self, chunk: bytes | memoryview) -> None:
        """Append, or raise Outage when the disk does not take it."""
        if self._descriptor < 0 or self.sha256 is not None:
            raise ValueError("the file is sealed or discarded")
        try:
            write_all(self._descriptor, chunk)
        except OSError as exc:
            raise _outage(exc) from exc
        self._hash.update(chunk)
        self.size += len(chunk)

    def seal(self) -> str:
        """No more bytes will come: return their SHA-256 in hex; again, the same."""
        if self.sha256 is None:
            if self._descriptor < 0:
                raise ValueError("the file is discarded")
            if not self._durable:
                self._close()
            self.sha256 = self._hash.hexdigest()
        return self.sha256

    def secure(self) -> None:
        """Make the bytes durable, if they stay here; again, nothing."""
        if self._descriptor >= 0:
            with faults_as_outages():
                self._blocking(self.sync)

    def sync(self) -> None:
        """As `secure`, in this thread, and with the disk's own errors."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)
            self._close()

    def open(self) -> BinaryIO:
        """Read from the start, through a handle of its own. Not after `keep` or `discard`."""
        with faults_as_outages():
            return open(self.name, "rb")  # noqa: PTH123 - an upload's names are texts; the caller closes it

    def discard(self) -> None:
        """Close and remove the file. Never fails, may be called again, and does not touch a kept file."""
        self._close()
        if self._is_there:
            self._is_there = False
            unlink(self.name)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                close(descriptor)


class Spool:
    """A folder of its own (mode 0700), which it makes. `durable`: what is sealed is on the disk, and may be linked."""

    def __init__(self, folder: Path, blocking: Blocking = at_once, *, durable: bool) -> None:
        self.folder = folder
        self._blocking = blocking
        self._durable = durable
        make_folders(folder)

    def receive(self) -> SpooledFile:
        """Start to receive a file."""
        return SpooledFile(self.folder, self._blocking, durable=self._durable)

    def older_than(self, limit: int) -> list[Path]:
        """What was last written to before that Unix second: left by the killed, or its client sends no more."""
        return [path for path in self.folder.iterdir() if written_before(path, limit)]


def require_sealed(incoming: object, sha256: str, size: int) -> SpooledFile:
    """The file, if it comes from a spool, is sealed, and is what a record tells of; else ValueError."""
    if not isinstance(incoming, SpooledFile) or incoming.sha256 is None:
        raise ValueError("only a sealed file of this store can be kept")
    if (incoming.sha256, incoming.size) != (sha256, size):
        raise ValueError("the record tells of other bytes than were received")
    return incoming


def create(beginning: str) -> tuple[int, str]:
    """Make a new file that nobody else may open (mode 0600): its descriptor, and its name, which begins with that."""
    name = beginning + secrets.token_hex(8)
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), name


def make_folders(*folders: Path) -> None:
    """Make them with all above them, closed to others; or Outage."""
    with faults_as_outages():
        for folder in folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def written_before(path: Path, limit: int) -> bool:
    """Whether it is there, and was last written to before that Unix second."""
    try:
        return path.stat().st_mtime < limit
    except FileNotFoundError:
        return False


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Write it whole, or raise OSError."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def unlink(path: Path | str) -> None:
    """Remove a file of ours if that works; what stays, a sweep finds."""
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - of a text, too


@contextlib.contextmanager
def faults_as_outages() -> Iterator[None]:
    """Say in words what the disk said; a path of ours is nobody's business."""
    try:
        yield
    except OSError as exc:
        raise _outage(exc) from exc


def _outage(fault: OSError) -> Outage:
    if fault.errno in _FULL:
        return Outage("There is no room left for files.", retry_after=60)
    return Outage(f"The file store does not work: {fault.strerror or 'unknown reason'}.")
