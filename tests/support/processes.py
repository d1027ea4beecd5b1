"""Looking at processes, and waiting for what becomes of them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

PATIENCE_SECONDS: Final = 60.0
"""Only what hangs takes so long, on a machine that does other things too."""

LOOK_AGAIN_SECONDS: Final = 0.005


def until(
    condition: Callable[[], object], what: str = "the condition", *, within_seconds: float = PATIENCE_SECONDS
) -> float:
    """Wait until the condition holds, and return how many seconds that took. AssertionError if it never does."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_seconds, f"waited {within_seconds:g} s in vain for {what}"
        time.sleep(LOOK_AGAIN_SECONDS)
    return time.monotonic() - began


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def inside(directory: Path) -> set[int]:
    """The processes that work in a directory or name it, or something in it, on their command line."""
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid() or not alive(int(entry.name)):
            continue
        with contextlib.suppress(OSError):
            names = (entry / "cmdline").read_bytes().split(b"\0")
            here = os.fsencode(directory)
            if (entry / "cwd").readlink().is_relative_to(directory) or any(name.startswith(here) for name in names):
                found.add(int(entry.name))
    return found


def end_all(pids: set[int]) -> None:
    """Kill these, and wait until they are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in pids))
