"""A file store on one local disk.

Three folders: `incoming/` holds what is not yet visible, `objects/` the bytes under our own version ids, and
`index/` the documents. The one atomic step is the rename of a document, and what a killed worker leaves behind is out
of reach until `sweep` takes it away. Who reads a document in order to write the next holds a lock on its folder, which
ends with the process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tokensvc.core.upload import StoredFile
from tokensvc.ports import Incoming, NameTaken

from . import file_documents
from .aside import Blocking, at_once
from .spool import (
    Spool,
    SpooledFile,
    close,
    create,
    faults_as_outages,
    make_folders,
    require_sealed,
    unlink,
    write_all,
    written_before,
)


class DiskFiles:
    """`ports.FileStore` under one folder, which it makes (mode 0700). Safe between threads and processes.

    `blocking` calls what waits for the disk (fsync); where many requests share one thread, in another one.
    """

    def __init__(self, root: Path, blocking: Blocking = at_once) -> None:
        self._blocking = blocking
        self._objects = root / "objects"
        self._index = root / "index"
        make_folders(root, self._objects, self._index)
        self._spool = Spool(root / "incoming", blocking, durable=True)
        self._incoming = self._spool.folder

    def receive(self) -> SpooledFile:
        """Start to receive a file."""
        return self._spool.receive()

    def keep(self, incoming: Incoming, file: StoredFile, *, replace: bool) -> StoredFile:
        """Make a sealed file visible at `file.file_path`, atomically and durably; or NameTaken, Outage, or Refusal.

        With `replace` it becomes the next version of what is there. A version that is there already is returned as it
        is. After NameTaken the incoming file is still there,
        to be kept under another name. An Outage leaves nothing behind, but for one case: if the disk does not confirm
        the last step, the file stays, whole.
        """
        sealed = require_sealed(incoming, file.sha256, file.size)
        with faults_as_outages():
            kept = self._blocking(self._publish, sealed, file, replace=replace)
        sealed.discard()
        return kept

    def find(self, account: str, file_path: str, version_id: str = "") -> tuple[StoredFile, BinaryIO] | None:
        """The file at a path, or that version of it, with its open content, or None.

        A document without its bytes is damage, and as good as none.
        """
        with faults_as_outages(), contextlib.suppress(FileNotFoundError):
            file = _read_document(self._entry(account, file_path))
            if file is not None and version_id:
                file = file.at_version(version_id)
            if file is not None:
                return file, open(self._object(file.version_id), "rb")  # noqa: PTH123 - the caller closes it
        return None

    def sweep(self, now: int, older_than: int) -> int:
        """Remove what killed workers left and nothing refers to, and return how many files that were.

        Age is by last write: `older_than` (seconds) must be longer than any request may take, as a file that
        is being received or about to be kept looks just the same. `now` is Unix seconds.
        """
        limit = now - older_than
        with faults_as_outages():
            debris = self._spool.older_than(limit)
            unsure = [path for path in self._objects.glob("??/*") if written_before(path, limit)]
            if unsure:  # only now, so that a file kept in the meantime is among the kept ones
                kept = {name for path in self._index.glob("??/*.json") for name in _version_ids(path)}
                debris += [path for path in unsure if path.name not in kept]
        for path in debris:
            unlink(path)
        return len(debris)

    def _publish(self, content: SpooledFile, file: StoredFile, *, replace: bool) -> StoredFile:
        content.sync()
        entry = self._entry(file.account, file.file_path)
        held = self._object(file.version_id)
        # The lock comes first: who finds bytes under this version's name then knows that they are of a killed worker.
        with _locked(_folder_of(entry)) as its_index, contextlib.ExitStack() as undo:
            current = _read_document(entry)
            if current is not None:
                if (same := current.at_version(file.version_id)) is not None:
                    return same
                if not replace:
                    raise NameTaken(file.file_path)
                file = file.after(current)
            with _opened(_folder_of(held)) as its_objects:
                try:
                    os.link(content.name, held)  # never onto another file, as a rename would
                    undo.callback(unlink, held)
                except FileExistsError:
                    _require_same_bytes(held, file.sha256)
                    os.utime(held)  # it is old enough to be swept
                os.fsync(its_objects)  # the fsync of a file does not cover its name
            document = self._write_document(file, undo)
            os.replace(document, entry)  # noqa: PTH105 - see `_entry`
            # Visible from here on. Taking it back could take away what another has put in its place since.
            undo.pop_all()
            os.fsync(its_index)
        return file

    def _write_document(self, file: StoredFile, undo: contextlib.ExitStack) -> str:
        descriptor, name = create(f"{self._incoming}/index-")
        undo.callback(unlink, name)
        try:
            write_all(descriptor, file_documents.write(file))
            os.fsync(descriptor)
        finally:
            close(descriptor)
        return name

    def _entry(self, account: str, file_path: str) -> str:
        """A text, and no Path, which takes longer to make than to write the document."""
        name = file_documents.document_name(account, file_path)
        return f"{self._index}/{name[:2]}/{name}.json"

    def _object(self, version_id: str) -> str:
        return f"{self._objects}/{file_documents.object_name(version_id)}"


def _folder_of(name: str) -> str:
    return name.rpartition("/")[0]


def _read_document(path: Path | str) -> StoredFile | None:
    try:
        with open(path, "rb") as content:  # noqa: PTH123 - see `DiskFiles._entry`
            document = content.read()
    except FileNotFoundError:
        return None
    return file_documents.read(document)


def _require_same_bytes(name: str, sha256: str) -> None:
    with open(name, "rb") as content:  # noqa: PTH123 - see `DiskFiles._entry`
        if hashlib.file_digest(content, "sha256").hexdigest() != sha256:
            raise FileExistsError(errno.EEXIST, "another file has its version id")


def _version_ids(path: Path) -> tuple[str, ...]:
    file = _read_document(path)
    return () if file is None else file_documents.version_ids(file)


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[int]:
    """Hold a folder, which this opens, for this thread alone, among all threads and processes that ask."""
    with _opened(folder) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor


@contextlib.contextmanager
def _opened(folder: str) -> Iterator[int]:
    """One of the 256 folders of another, which is made if it is not there yet: nearly always it is."""
    try:
        descriptor = _open(folder)
    except FileNotFoundError:
        _make(folder)
        descriptor = _open(folder)
    try:
        yield descriptor
    finally:
        close(descriptor)


def _make(folder: str) -> None:
    """Make it, durably: if another makes it at the same time, its name may not be on the disk yet."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)  # noqa: PTH102 - see `DiskFiles._entry`
    above = _open(_folder_of(folder))
    try:
        os.fsync(above)
    finally:
        close(above)


def _open(folder: str) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
