"""Files for tests to keep."""

from __future__ import annotations

import hashlib
import secrets

from tokensvc.core.upload import Kind, StoredFile
from tokensvc.ports import FileStore, Incoming


def received(store: FileStore, content: bytes) -> Incoming:
    """A sealed file that is not kept yet."""
    incoming = store.receive()
    incoming.write(content)
    incoming.seal()
    return incoming


def record_of(content: bytes, file_path: str = "/a/x.png", **changed: object) -> StoredFile:
    """What is known of a file with that content; a new file id each time."""
    values: dict[str, object] = {
        "file_id": secrets.token_hex(12),
        "version_id": secrets.token_hex(12),
        "account": "default",
        "name": file_path.rpartition("/")[2],
        "file_path": file_path,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "kind": Kind("image/png", 3, 2),
        "uploaded_at": 1_700_000_000,
        "fields": {"fileName": "x.png", "tags": "ä,b"},
    }
    return StoredFile(**(values | changed))  # type: ignore[arg-type] # names and types are StoredFile's own


def keep(
    store: FileStore, content: bytes, file_path: str = "/a/x.png", *, replace: bool = False, **changed: object
) -> StoredFile:
    """Receive and keep a file."""
    return store.keep(received(store, content), record_of(content, file_path, **changed), replace=replace)


def content_at(store: FileStore, file_path: str = "/a/x.png", account: str = "default") -> bytes | None:
    """The bytes at a path, or None; they must be those that the record tells of."""
    found = store.find(account, file_path)
    if found is None:
        return None
    file, handle = found
    with handle:
        content = handle.read()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)
    return content
