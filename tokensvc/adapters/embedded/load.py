"""Whether the server came back with everything that it had ever answered for, and if not, why not in words.

Only the log of the load tells: a server that had to cut a torn file looks like any other afterwards. So the place in
the log from which nothing was judged yet is kept in a file, and a supervisor that is killed between the load and the
judgement leaves both to the next one.
"""

from __future__ import annotations

import re
from typing import Final

from .home import Home, write

LOG_TAIL_LINES: Final = 12
_LARGEST_LOG_BYTES: Final = 1 << 20

_LOADED: Final = "DB loaded from append only file"
_NOTHING_TO_LOAD: Final = "Creating AOF incr file"
_DOUBT: Final = re.compile(r" # .*(aof|append.only|rdb|manifest|short read|truncat|corrupt)", re.IGNORECASE)
"""A warning of Valkey's (its mark is `#`) about the files that it loads."""
_DAMAGED: Final = re.compile(r"(?:Bad file format reading the append only file|AOF) (\S+?)(?::| format error)")


def begin(home: Home) -> None:
    """Call before each start: marks where its log begins, unless an earlier start was not judged yet."""
    if home.unjudged.exists():
        return
    size = home.log.stat().st_size if home.log.exists() else 0
    if size > _LARGEST_LOG_BYTES:
        home.log.replace(home.log.with_suffix(".log.1"))
        size = 0
    write(home.unjudged, str(size))


def is_whole(home: Home) -> bool:
    """Whether nothing that was ever answered for can be missing. A doubt is a no."""
    log = unjudged_log(home)
    return (_LOADED in log or _NOTHING_TO_LOAD in log) and not _DOUBT.search(log) and _is_original(home)


def judged(home: Home) -> None:
    """What follows from `is_whole` was done: this directory is the original, and its past is settled."""
    write(home.origin, _fingerprint(home))
    home.unjudged.unlink(missing_ok=True)


def _is_original(home: Home) -> bool:
    """Whether these are the files that were written to last, and not a copy put in their place.

    A copy may be older than what was spent since, so its nonces must not be good again; and two copies that run side
    by side would each let them be spent. What this cannot see is a file overwritten in place, or a whole disk or
    machine that was set back.
    """
    try:
        return home.origin.read_text() == _fingerprint(home)
    except FileNotFoundError:
        return False


def _fingerprint(home: Home) -> str:
    """The lock's inode and the time of its last change, which no copy can take along, and the data's inode."""
    lock = home.server_lock.stat()
    return f"{lock.st_ino} {lock.st_ctime_ns} {home.append_only.stat().st_ino}"


def unjudged_log(home: Home) -> str:
    """What the server has logged since the first start that was not judged; nothing if all were."""
    try:
        start = int(home.unjudged.read_text())
        with home.log.open("rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def log_tail(home: Home) -> str:
    """The server's last words."""
    if not home.log.exists():
        return "(none)"
    return "\n".join(home.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])


def why_not(home: Home) -> str:
    """Say in words why a server ended instead of starting."""
    damaged = _DAMAGED.search(unjudged_log(home))
    if damaged:
        return (
            f"The store's file {home.append_only / damaged[1]} is damaged before its end, so nothing was loaded and "
            f"nothing changed. Put a good copy of {home.append_only} back, or move it away to start empty: either "
            "way the credentials that are out are refused, and none is good twice. "
            f"The server's last words, from {home.log}:\n{log_tail(home)}"
        )
    return f"The store's server ended. Its last words, from {home.log}:\n{log_tail(home)}"
