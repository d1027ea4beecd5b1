"""A file store in a bucket of S3, or of what speaks its protocol.

Below the prefix, `objects/` holds the bytes under our own version ids and `index/` the documents. The one atomic step
is the conditional PUT of a document (`If-None-Match: *`, or `If-Match` with the ETag of the one before), so workers on
many machines may share a bucket. What is to be kept is written down in `claims/` first: by that, and without a look at
all there is, `sweep` finds what a killed worker left. Files are received on the local disk, and sent on in parts.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, Final, cast

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store
from typing_extensions import Buffer

from tokensvc.core.errors import Outage, Refusal
from tokensvc.core.upload import StoredFile
from tokensvc.ports import Incoming, NameTaken

from . import file_documents
from .aside import Blocking, at_once
from .spool import Spool, SpooledFile, faults_as_outages, require_sealed, unlink

_PART_BYTES: Final = 8 * 1024 * 1024
_PARTS_AT_ONCE: Final = 2
"""So an upload takes 16 MiB of memory at most, whatever its size. S3 takes 10,000 parts, 80 GB."""

_READ_BYTES: Final = 1024 * 1024
_MOST_TRIES: Final = 100
"""To be the next version: each try that fails is another's that did not."""

_KEEP_WITHIN_SECONDS: Final = 1500
"""From the claim to the document, at most: 2 GB at 11 Mbit/s. A claim twice as old is of one that is dead."""

_OBJECTS: Final = "objects"
_INDEX: Final = "index"
_CLAIMS: Final = "claims"
_ATTRIBUTES: Final = {"Content-Type": "application/octet-stream"}
"""Nobody is to get these from the bucket; who does, gets nothing that a browser would show."""


def s3_bucket(bucket: str, prefix: str, *, allow_http: bool = False) -> S3Store:
    """The part of a bucket below a prefix. Nothing is connected to.

    Keys, region and endpoint are those of the environment (`AWS_ACCESS_KEY_ID` and so on), or the machine's own. Only
    `allow_http` is not taken from there, as it comes with the time-outs, which are ours. Raises ValueError if these
    cannot be understood.
    """
    try:
        return S3Store(
            bucket,
            prefix=prefix or None,
            client_options={
                "allow_http": allow_http,
                "connect_timeout": timedelta(seconds=3),
                "timeout": timedelta(seconds=60),
            },
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=20)},
        )
    except BaseError as exc:
        raise ValueError(f"the settings of S3 in the environment do not fit: {type(exc).__name__}") from None


class S3Files:
    """`ports.FileStore` in a bucket. Safe between threads, processes and machines.

    `folder` is where files are received. `blocking` calls what waits for the bucket or the disk; where many requests
    share one thread, in another one.
    """

    def __init__(self, bucket: S3Store, folder: Path, blocking: Blocking = at_once) -> None:
        self._bucket = bucket
        self._blocking = blocking
        self._spool = Spool(folder, blocking, durable=False)

    def receive(self) -> SpooledFile:
        """Start to receive a file."""
        return self._spool.receive()

    def keep(self, incoming: Incoming, file: StoredFile, *, replace: bool) -> StoredFile:
        """Make a sealed file visible at `file.file_path`, atomically; or NameTaken, Outage, or Refusal.

        With `replace` it becomes the next version of what is there. After NameTaken the incoming file is still there,
        to be kept under another name. After an Outage the file may be there, whole, if only the answer was lost.
        """
        sealed = require_sealed(incoming, file.sha256, file.size)
        with _faults_as_outages():
            kept = self._blocking(self._publish, sealed.path, file, replace=replace)
        sealed.discard()
        return kept

    def find(self, account: str, file_path: str, version_id: str = "") -> tuple[StoredFile, BinaryIO] | None:
        """The file at a path, or that version of it, with its open content, or None.

        A document without its bytes is damage, and as good as none.
        """
        with _faults_as_outages():
            return self._blocking(self._open, account, file_path, version_id)

    def sweep(self, now: int, older_than: int) -> int:
        """Remove what killed workers left and no document tells of, and return how many files that were.

        The parts of an object that was never completed are the bucket's to remove, by its lifecycle rules.
        """
        debris = self._spool.older_than(now - older_than)
        for path in debris:
            unlink(path)
        with _faults_as_outages():
            return len(debris) + self._sweep_claims(now - max(older_than, 2 * _KEEP_WITHIN_SECONDS))

    def _publish(self, content: Path, file: StoredFile, *, replace: bool) -> StoredFile:
        entry = file_documents.document_name(file.account, file.file_path)
        held, claim = _object(file.version_id, entry), f"{_CLAIMS}/{entry}.{file.version_id}"
        until = time.monotonic() + _KEEP_WITHIN_SECONDS
        current, _ = self._document(entry)
        if current is not None and (same := current.at_version(file.version_id)) is not None:
            return same
        _following(current, file, replace=replace)  # what is refused need not be sent
        obstore.put(self._bucket, claim, b"")
        obstore.put(
            self._bucket,
            held,
            content,
            attributes=_ATTRIBUTES,
            use_multipart=file.size > _PART_BYTES,
            chunk_size=_PART_BYTES,
            max_concurrency=_PARTS_AT_ONCE,
        )
        try:
            kept = self._write_document(entry, file, replace=replace, until=until)
        except (NameTaken, Refusal):
            self._drop(held, claim)
            raise
        # After any other error the document may tell of the object, or still come to: that is for a sweep to judge.
        self._drop(claim)
        return kept

    def _write_document(self, entry: str, file: StoredFile, *, replace: bool, until: float) -> StoredFile:
        for _ in range(_MOST_TRIES):
            current, tag = self._document(entry)
            if current is not None and (same := current.at_version(file.version_id)) is not None:
                return same  # ours, and its answer was lost; or that of the same request, sent again
            written = _following(current, file, replace=replace)
            if time.monotonic() > until:
                raise Outage("The file store is too slow.", retry_after=60)
            try:
                obstore.put(
                    self._bucket,
                    f"{_INDEX}/{entry}.json",
                    file_documents.write(written),
                    attributes=_ATTRIBUTES,
                    mode="create" if tag is None else {"e_tag": tag},
                )
            except (AlreadyExistsError, PreconditionError):
                continue
            return written
        raise Outage("Too many are replacing that file at once.")

    def _document(self, entry: str) -> tuple[StoredFile | None, str | None]:
        """The file that a document tells of, and the ETag of that document; None for both if there is none."""
        try:
            found = obstore.get(self._bucket, f"{_INDEX}/{entry}.json")
        except FileNotFoundError:
            return None, None
        return file_documents.read(bytes(found.bytes())), found.meta["e_tag"]

    def _open(self, account: str, file_path: str, version_id: str) -> tuple[StoredFile, BinaryIO] | None:
        entry = file_documents.document_name(account, file_path)
        file, _ = self._document(entry)
        if file is not None and version_id:
            file = file.at_version(version_id)
        if file is None:
            return None
        path = _object(file.version_id, entry)
        try:
            size = obstore.head(self._bucket, path)["size"]
        except FileNotFoundError:
            return None
        content = _Content(self._bucket, path, size, self._blocking)
        return file, cast("BinaryIO", io.BufferedReader(content, _READ_BYTES))

    def _sweep_claims(self, limit: int) -> int:
        removed = 0
        for batch in obstore.list(self._bucket, f"{_CLAIMS}/"):
            for claim in batch:
                if claim["last_modified"].timestamp() < limit:
                    removed += self._sweep_claim(claim["path"])
        return removed

    def _sweep_claim(self, claim: str) -> int:
        entry, _, version_id = claim.rpartition("/")[2].partition(".")
        file, _ = self._document(entry)
        is_kept = file is not None and version_id in file_documents.version_ids(file)
        if not is_kept:
            obstore.delete(self._bucket, _object(version_id, entry))
        obstore.delete(self._bucket, claim)
        return not is_kept

    def _drop(self, *paths: str) -> None:
        """Remove them in this order if that works; what stays, `sweep` finds by the claim, which is last."""
        with contextlib.suppress(BaseError, OSError):
            for path in paths:
                obstore.delete(self._bucket, path)


class _Content(io.RawIOBase):
    """An object's bytes, asked for range by range as they are read."""

    def __init__(self, bucket: S3Store, path: str, size: int, blocking: Blocking) -> None:
        self._bucket = bucket
        self._path = path
        self._size = size
        self._blocking = blocking
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Buffer, /) -> int:
        room = memoryview(buffer)
        length = min(len(room), max(0, self._size - self._at))
        if length:
            with _faults_as_outages():
                part = self._blocking(obstore.get_range, self._bucket, self._path, start=self._at, length=length)
            room[:length] = memoryview(part)
            self._at += length
        return length


def _object(version_id: str, entry: str) -> str:
    """Under the name of its document too: a request that is sent twice at once may try the same version at two paths,
    and what is taken back at one must not be missing at the other."""
    return f"{_OBJECTS}/{file_documents.object_name(version_id)}.{entry[:32]}"


def _following(current: StoredFile | None, file: StoredFile, *, replace: bool) -> StoredFile:
    """The file as it will be at its path, where `current` is now."""
    if current is None:
        return file
    if not replace:
        raise NameTaken(file.file_path)
    return file.after(current)


@contextlib.contextmanager
def _faults_as_outages() -> Iterator[None]:
    """Say in words what the bucket said. Its own text names addresses and keys, and is nobody's business."""
    try:
        with faults_as_outages():
            yield
    except (PermissionDeniedError, UnauthenticatedError):
        raise Outage("The file store refuses us.", retry_after=60) from None
    except BaseError as exc:
        raise Outage(f"The file store does not answer as it should ({type(exc).__name__}).", retry_after=5) from None
