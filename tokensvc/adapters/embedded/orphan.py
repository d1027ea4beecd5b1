"""What an earlier supervisor may have left: nothing, stale files, or a server that still runs.

That server is being ended by the kernel already. If it stays all the same it is taken over, but only when it proves
to be ours: what merely answers on our socket could say "recorded" and forget.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import redis

from .home import Home, StoreFault, take
from .server import Adopted, identify

_LOOK_AGAIN_SECONDS: Final = 0.01


def claim(home: Home, client: redis.Redis, *, wait_seconds: float, pause: Callable[[float], None]) -> int | Adopted:
    """Return the server lock, with no server running and no stale file left; or the server that would not end."""
    until = time.monotonic() + wait_seconds
    while (lock := take(home.server_lock)) is None:
        if time.monotonic() >= until:
            return adopt(home, client)
        pause(_LOOK_AGAIN_SECONDS)
    clear(home)
    return lock


def clear(home: Home) -> None:
    """Remove what a server that was killed leaves. Call only while none runs."""
    for stale in (home.socket, home.pid_file, *home.path.glob("temp-*"), *home.append_only.glob("temp-*")):
        stale.unlink(missing_ok=True)


def adopt(home: Home, client: redis.Redis) -> Adopted:
    """Take over the server that runs in this directory, or refuse in words."""
    try:
        noted_pid = int(home.pid_file.read_text())
        noted_run_id = home.served_by.read_text()
        adopted = Adopted(noted_pid)
    except (OSError, ValueError):
        raise _not_ours(home, "it left no note of which one it is") from None
    try:
        found = identify(client)
        if found.pid != noted_pid:
            raise _not_ours(home, f"another process than {noted_pid} answers")
        if found.run_id != noted_run_id:
            raise _not_ours(home, f"process {noted_pid} is another run than the one noted")
        if not found.directory.samefile(home.path):
            raise _not_ours(home, f"process {noted_pid} keeps its data in {found.directory}")
    except (redis.RedisError, OSError):
        adopted.close()
        raise _not_ours(home, f"process {noted_pid} does not answer as it should") from None
    except StoreFault:
        adopted.close()
        raise
    return adopted


def _not_ours(home: Home, reason: str) -> StoreFault:
    return StoreFault(
        f"A server still runs in {home.path} and was not taken over: {reason}. Look who holds {home.server_lock} "
        "(`fuser` and `lsof` tell), end that process, and start again."
    )
