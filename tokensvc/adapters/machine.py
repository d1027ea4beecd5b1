"""What the system says of folders and limits on this machine. Nothing is made or changed."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path
from typing import Final

from tokensvc.core.doctor import Folder

_MOUNTS: Final = Path("/proc/self/mountinfo")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def look_at(path: Path, place: str, *, mounts: Path = _MOUNTS) -> Folder:
    """What a folder is, or the next one above it that there is. OSError if none may be looked at."""
    path = path.resolve()
    found = next(candidate for candidate in (path, *path.parents) if candidate.exists())
    status = found.stat()
    return Folder(place, str(found), found == path, status.st_uid, status.st_mode & 0o7777, _file_system(found, mounts))


def most_open_files() -> int:
    """How many files and sockets a process of ours may have open; -1 is any number."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def our_user() -> int:
    """The user id that we run as."""
    return os.geteuid()


def _file_system(path: Path, mounts: Path) -> str | None:
    """The kind of what is mounted there: of the deepest place above it, and there the last."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return None
    best: tuple[int, str] | None = None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")[0]
        if len(fields) < 5 or not kind:  # noqa: PLR2004 - the fifth is where it is mounted
            continue
        at = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        if path.is_relative_to(at) and (best is None or len(at.parts) >= best[0]):
            best = (len(at.parts), kind)
    return None if best is None else best[1]
