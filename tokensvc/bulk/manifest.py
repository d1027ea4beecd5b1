"""What was begun and what was stored, one JSON object a line; each is on the disk before the next step is taken.

A line that is there in part was never acted on. It is cut off when the file is opened again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from .plan import Item

_CHUNK_BYTES: Final = 1024 * 1024


class ManifestError(Exception):
    """It cannot be used; the message says why."""


class Manifest:
    """A manifest file of uploads to one endpoint; ManifestError if it cannot be used, or another run uses it."""

    def __init__(self, path: Path, endpoint: str) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._begun: dict[str, Mapping[str, Any]] = {}
        self._stored: dict[str, Mapping[str, Any]] = {}
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(self._descriptor)
                raise ManifestError(f"{path} is used by another upload that runs now.") from None
            self._read(path)
        except OSError as exc:
            raise ManifestError(f"{path} cannot be used: {exc.strerror}.") from None

    def stored(self, item: Item) -> bool:
        """Whether this very file is there already: by size and time of last change, else by its bytes."""
        known = self._stored.get(item.target)
        if known is None or known.get("size") != item.size:
            return False
        return known.get("modified_ns") == item.modified_ns or known.get("sha256") == sha256_of(item.path)

    def begun(self, item: Item) -> bool:
        """Whether this very file was begun, and it is not known what came of it."""
        known = self._begun.get(item.target)
        return known is not None and (known.get("size"), known.get("modified_ns")) == (item.size, item.modified_ns)

    def note_begun(self, item: Item) -> None:
        """Before its first byte is sent. This and the others raise ManifestError if it cannot be written."""
        self._append("begun", item, {})
        self._begun[item.target] = {"size": item.size, "modified_ns": item.modified_ns}

    def note_stored(self, item: Item, sha256: str, answer: Mapping[str, Any]) -> None:
        """After the answer."""
        members = {name: answer[name] for name in ("fileId", "url") if name in answer}
        self._append("stored", item, {"sha256": sha256, **members})

    def note_refused(self, item: Item, why: str) -> None:
        """After the answer, which says that nothing of it was kept."""
        self._append("refused", item, {"why": why})
        self._begun.pop(item.target, None)

    def close(self) -> None:
        """Let others use it."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _exc: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, event: str, item: Item, more: Mapping[str, Any]) -> None:
        members = {
            "event": event,
            "to": self._endpoint,
            "target": item.target,
            "path": os.fsencode(item.path).decode(errors="replace"),
            "size": item.size,
            "modified_ns": item.modified_ns,
            **more,
        }
        line = (json.dumps(members, ensure_ascii=False) + "\n").encode()
        with self._lock:
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
                os.fsync(self._descriptor)
            except OSError as exc:
                raise ManifestError(f"The manifest cannot be written: {exc.strerror}.") from None

    def _read(self, path: Path) -> None:
        whole = path.read_bytes()
        complete = whole[: whole.rfind(b"\n") + 1]
        for number, line in enumerate(complete.splitlines(), 1):
            try:
                members = json.loads(line)
                event, to, target = members["event"], members["to"], members["target"]
            except (ValueError, TypeError, KeyError):
                raise ManifestError(f"{path} is no manifest: line {number} cannot be read.") from None
            if to != self._endpoint:
                continue
            if event == "begun":
                self._begun[target] = members
            else:
                self._begun.pop(target, None)
            if event == "stored":
                self._stored[target] = members
        if len(complete) < len(whole):
            os.ftruncate(self._descriptor, len(complete))
            os.fsync(self._descriptor)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)  # its name is on the disk too
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def sha256_of(path: Path) -> str:
    """In hex; empty if the file cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as content:
            while chunk := content.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()
