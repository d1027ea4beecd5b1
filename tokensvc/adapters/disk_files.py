"""A file store on one local disk.

Three folders: `incoming/` holds what is not yet visible, `objects/` the bytes under our own version ids, and
`index/` one document a path, named by a hash of account and path, which tells of all versions. A version is visible
when, and only when, the document tells of it: so the one atomic step is the link or the rename of that document, and
what a killed worker leaves behind is out of reach until `sweep` takes it away. Who reads a document in order to write
the next holds a lock on its folder, which ends with the process. No client's text ever names a file on disk.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, ParamSpec, Protocol, TypeVar

from tokensvc.core import strict_json
from tokensvc.core.errors import Outage
from tokensvc.core.upload import StoredFile
from tokensvc.ports import Incoming, NameTaken

_VERSION_ID = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


_P = ParamSpec("_P")
_T = TypeVar("_T")


class Blocking(Protocol):
    """Calls a function with its arguments, waits for its end, and returns what it returns or raises what it raises."""

    def __call__(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call it."""


def _at_once(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    return function(*args, **kwargs)


class DiskIncoming:
    """A file in `incoming/`, hashed as it is written. Made by `DiskFiles.receive`."""

    def __init__(self, folder: Path, blocking: Blocking) -> None:
        self._blocking = blocking
        with _faults_as_outages():
            descriptor, name = tempfile.mkstemp(prefix="file-", dir=folder)  # O_EXCL, 0600
        self._descriptor = descriptor
        self._hash = hashlib.sha256()
        self.path = Path(name)
        self.size = 0
        self.sha256: str | None = None

    def write(self, chunk: bytes) -> None:
        """Append, or raise Outage when the disk does not take it."""
        if self._descriptor < 0:
            raise ValueError("the file is sealed or discarded")
        rest = memoryview(chunk)
        with _faults_as_outages():
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        self._hash.update(chunk)
        self.size += len(chunk)

    def seal(self) -> str:
        """Make the bytes durable and return their SHA-256 in hex; again, the same."""
        if self.sha256 is None:
            if self._descriptor < 0:
                raise ValueError("the file is discarded")
            with _faults_as_outages():
                self._blocking(os.fsync, self._descriptor)
            self._close()
            self.sha256 = self._hash.hexdigest()
        return self.sha256

    def open(self) -> BinaryIO:
        """Read from the start, through a handle of its own. Not after `keep` or `discard`."""
        with _faults_as_outages():
            return self.path.open("rb")

    def discard(self) -> None:
        """Close and remove the file. Never fails, may be called again, and does not touch a kept file."""
        self._close()
        _unlink(self.path)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


class DiskFiles:
    """`ports.FileStore` under one folder, which it makes (mode 0700). Safe between threads and processes.

    `blocking` calls what waits for the disk (fsync); where many requests share one thread, in another one.
    """

    def __init__(self, root: Path, blocking: Blocking = _at_once) -> None:
        self._blocking = blocking
        self._incoming = root / "incoming"
        self._objects = root / "objects"
        self._index = root / "index"
        with _faults_as_outages():
            for folder in (root, self._incoming, self._objects, self._index):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def receive(self) -> DiskIncoming:
        """Start to receive a file."""
        return DiskIncoming(self._incoming, self._blocking)

    def keep(self, incoming: Incoming, file: StoredFile, *, replace: bool) -> StoredFile:
        """Make a sealed file visible at `file.file_path`, atomically and durably; or NameTaken, Outage, or Refusal.

        With `replace` it becomes the next version of what is there. A version that is there already is returned as it
        is. After NameTaken the incoming file is still there,
        to be kept under another name. An Outage leaves nothing behind, but for one case: if the disk does not confirm
        the last step, the file stays, whole.
        """
        if not isinstance(incoming, DiskIncoming) or incoming.sha256 is None:
            raise ValueError("only a sealed file of this store can be kept")
        if (incoming.sha256, incoming.size) != (file.sha256, file.size):
            raise ValueError("the record tells of other bytes than were received")
        with _faults_as_outages():
            kept = self._blocking(self._publish, incoming.path, file, replace=replace)
        incoming.discard()
        return kept

    def find(self, account: str, file_path: str, version_id: str = "") -> tuple[StoredFile, BinaryIO] | None:
        """The file at a path, or that version of it, with its open content, or None.

        A document without its bytes is damage, and as good as none.
        """
        with _faults_as_outages(), contextlib.suppress(FileNotFoundError):
            file = _read_document(self._entry(account, file_path))
            if file is not None and version_id:
                file = file.at_version(version_id)
            if file is not None:
                return file, self._object(file.version_id).open("rb")
        return None

    def sweep(self, now: int, older_than: int) -> int:
        """Remove what killed workers left and nothing refers to, and return how many files that were.

        Age is by last write: `older_than` (seconds) must be longer than any request may take, as a file that
        is being received or about to be kept looks just the same. `now` is Unix seconds.
        """
        limit = now - older_than
        with _faults_as_outages():
            debris = [path for path in self._incoming.iterdir() if _written_before(path, limit)]
            unsure = [path for path in self._objects.glob("??/*") if _written_before(path, limit)]
            if unsure:  # only now, so that a file kept in the meantime is among the kept ones
                kept = {name for path in self._index.glob("??/*.json") for name in _version_ids(path)}
                debris += [path for path in unsure if path.name not in kept]
        for path in debris:
            _unlink(path)
        return len(debris)

    def _publish(self, content: Path, file: StoredFile, *, replace: bool) -> StoredFile:
        entry = self._entry(file.account, file.file_path)
        held = self._object(file.version_id)
        _make_folder(entry.parent)
        _make_folder(held.parent)
        # The lock comes first: who finds bytes under this version's name then knows that they are of a killed worker.
        with _locked(entry.parent), contextlib.ExitStack() as undo:
            current = _read_document(entry)
            if current is not None:
                if (same := current.at_version(file.version_id)) is not None:
                    return same
                if not replace:
                    raise NameTaken(file.file_path)
                file = file.after(current)
            try:
                os.link(content, held)  # never onto another file, as a rename would
                undo.callback(_unlink, held)
            except FileExistsError:
                _require_same_bytes(held, file.sha256)
                os.utime(held)  # it is old enough to be swept
            _sync_folder(held.parent)
            document = self._write_document(file, undo)
            document.replace(entry)
            # Visible from here on. Taking it back could take away what another has put in its place since.
            undo.pop_all()
            _sync_folder(entry.parent)
        return file

    def _write_document(self, file: StoredFile, undo: contextlib.ExitStack) -> Path:
        descriptor, name = tempfile.mkstemp(prefix="index-", dir=self._incoming)
        undo.callback(_unlink, Path(name))
        with os.fdopen(descriptor, "wb") as document:
            document.write(strict_json.dumps(file.to_record()))
            document.flush()
            os.fsync(document.fileno())
        return Path(name)

    def _entry(self, account: str, file_path: str) -> Path:
        name = hashlib.sha256(f"{account}\0{file_path}".encode()).hexdigest()
        return self._index / name[:2] / f"{name}.json"

    def _object(self, version_id: str) -> Path:
        if not _VERSION_ID.fullmatch(version_id):
            raise ValueError("a version id is up to 64 letters, digits, _ and -")
        return self._objects / hashlib.sha256(version_id.encode()).hexdigest()[:2] / version_id


def _read_document(path: Path) -> StoredFile | None:
    try:
        return StoredFile.from_record(strict_json.loads_object(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Outage("A document of the file index cannot be read.") from None


def _require_same_bytes(path: Path, sha256: str) -> None:
    with path.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != sha256:
            raise FileExistsError(errno.EEXIST, "another file has its version id")


def _version_ids(path: Path) -> tuple[str, ...]:
    file = _read_document(path)
    return () if file is None else (file.version_id, *(earlier.version_id for earlier in file.earlier))


def _written_before(path: Path, limit: int) -> bool:
    try:
        return path.stat().st_mtime < limit
    except FileNotFoundError:
        return False


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    _sync_folder(path.parent)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a folder for this thread alone, among all threads and processes that ask."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    """Make the names in a folder durable: the fsync of a file does not cover its name."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink(path: Path) -> None:
    """Remove a file of ours if that works; what stays, `sweep` finds."""
    with contextlib.suppress(OSError):
        path.unlink()


@contextlib.contextmanager
def _faults_as_outages() -> Iterator[None]:
    """Say in words what the disk said; a path of ours is nobody's business."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise Outage("There is no room left for files.", retry_after=60) from exc
        raise Outage(f"The file store does not work: {exc.strerror or 'unknown reason'}.") from exc
