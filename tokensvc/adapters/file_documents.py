"""The document that a file store keeps for each path: all that is known of its file, and of each version of it.

A version is visible when, and only when, the document of its path tells of it. Documents and objects have names of our
own making, so that no client's text ever names anything in a store.
"""

from __future__ import annotations

import hashlib
import re

from tokensvc.core import strict_json
from tokensvc.core.errors import Outage
from tokensvc.core.upload import StoredFile

_VERSION_ID = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)


def document_name(account: str, file_path: str) -> str:
    """The name of a path's document: 64 hex digits, of a hash of account and path."""
    return hashlib.sha256(f"{account}\0{file_path}".encode()).hexdigest()


def object_name(version_id: str) -> str:
    """The name under which the bytes of a version are kept: its id, below one of 256 folders."""
    if not _VERSION_ID.fullmatch(version_id):
        raise ValueError("a version id is up to 64 letters, digits, _ and -")
    return f"{hashlib.sha256(version_id.encode()).hexdigest()[:2]}/{version_id}"


def write(file: StoredFile) -> bytes:
    """The document that tells of a file."""
    return strict_json.dumps(file.to_record())


def read(document: bytes) -> StoredFile:
    """The file that a document tells of; Outage if it cannot be read."""
    try:
        return StoredFile.from_record(strict_json.loads_object(document))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Outage("A document of the file index cannot be read.") from None


def version_ids(file: StoredFile) -> tuple[str, ...]:
    """All versions that its document tells of."""
    return (file.version_id, *(earlier.version_id for earlier in file.earlier))
