"""Where uploaded files are received and kept, where they are fetched from, and who tells what they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from tokensvc.core.remote import Permit
from tokensvc.core.upload import Kind, StoredFile


class Incoming(Protocol):
    """A file being received: on disk, hashed as it comes, visible to nobody."""

    @property
    def size(self) -> int:
        """Bytes written so far."""

    def write(self, chunk: bytes | memoryview) -> None:
        """Append; the memory may be used again afterwards."""

    def seal(self) -> str:
        """No more bytes will come: return the SHA-256 in hex."""

    def secure(self) -> None:
        """Make the sealed bytes durable, as far as `keep` would: it has less left to fail in then."""

    def open(self) -> BinaryIO:
        """Read back from the start. The caller closes it."""

    def discard(self) -> None:
        """Remove every trace, unless it was kept. May be called at any time and again."""


class NameTaken(Exception):  # noqa: N818 - an answer to be acted on, not an error
    """`keep` was told not to replace, and the path is taken."""


class FileStore(Protocol):
    """Keeps uploaded files and what is known of them. A file is visible whole or not at all."""

    def receive(self) -> Incoming:
        """Start to receive a file."""

    def keep(self, incoming: Incoming, file: StoredFile, *, replace: bool) -> StoredFile:
        """Make a sealed file visible at `file.file_path`, atomically and durably, or raise NameTaken.

        With `replace` it becomes the next version of the file that is there: returned is `file.after` that one.
        If that very version (by `version_id`) is there, it is returned as it is, also to two at a time.
        """

    def find(self, account: str, file_path: str, version_id: str = "") -> tuple[StoredFile, BinaryIO] | None:
        """The file at a path, or that version of it, with its open content (the caller closes it), or nothing."""

    def sweep(self, now: int, older_than: int) -> int:
        """Remove what killed workers left and no file is made of, and return how many things that were.

        `now` is Unix seconds. `older_than` (seconds) must be longer than a client may send nothing, and than the last
        step takes: until then, what is being received or kept looks just the same. Harmless beside other sweeps.
        """


Inspector = Callable[[BinaryIO, str], Kind]
"""Tells what the bytes of a (sealed) file with that name are."""


class RemoteFiles(Protocol):
    """Fetches files from URLs that strangers chose, without ever leading inside."""

    def open(self, url: str, *, permit: Permit) -> AbstractContextManager[Iterator[bytes]]:
        """The bytes at the URL in pieces, or a refusal, also while they come: they are good once they have ended.

        `permit` is asked of the URL, and of each to which it is redirected.
        """
