"""A multipart form that streams from the disk: as long as it said it would be, and hashed as it goes."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Final

_CHUNK_BYTES: Final = 64 * 1024


class ChangedError(Exception):
    """The file is no longer as long as it was."""


@dataclass(slots=True)
class Form:
    """A multipart form with one file of `size` bytes; its bytes are hashed as they go."""

    fields: Mapping[str, str]
    content: BinaryIO = field(repr=False)
    size: int
    sha256: str = ""
    _boundary: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def content_type(self) -> str:
        """With the boundary."""
        return f"multipart/form-data; boundary={self._boundary}"

    @property
    def length(self) -> int:
        """Of all, in bytes."""
        return len(self._head()) + self.size + len(self._tail())

    def chunks(self, on_bytes: Callable[[int], None]) -> Iterator[bytes]:
        """All, in pieces; `on_bytes` is told how many of the file's have gone. ChangedError if it has another size."""
        yield self._head()
        digest, left = hashlib.sha256(), self.size
        while left:
            chunk = self.content.read(min(_CHUNK_BYTES, left))
            if not chunk:
                raise ChangedError
            digest.update(chunk)
            left -= len(chunk)
            yield chunk
            on_bytes(self.size - left)
        if os.fstat(self.content.fileno()).st_size != self.size:
            raise ChangedError
        self.sha256 = digest.hexdigest()
        yield self._tail()

    def _head(self) -> bytes:
        parts = [
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
            for name, text in self.fields.items()
        ]
        # The name that counts is the field fileName; this one only says that the part is a file.
        file = f'--{self._boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
        return ("".join(parts) + file + "Content-Type: application/octet-stream\r\n\r\n").encode()

    def _tail(self) -> bytes:
        return f"\r\n--{self._boundary}--\r\n".encode()
