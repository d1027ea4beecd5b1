"""What the system has on account for a process. Linux: it is read from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_USER, _SYSTEM, _START, _PAGES = 11, 12, 19, 21
"""Fields of /proc/PID/stat, counted from the one after the command (proc_pid_stat(5))."""


@dataclass(frozen=True, slots=True)
class Figures:
    """`open_files` is None where the system does not let us look."""

    cpu_seconds: float
    resident_bytes: int
    open_files: int | None


def started(pid: int) -> str:
    """When a process was started, in the system's own count, which no other process of that number shares."""
    return _stat(pid)[_START]


def figures_of(pid: int) -> Figures | None:
    """None if there is no such process any more."""
    try:
        stat = _stat(pid)
    except (OSError, IndexError):
        return None
    try:
        open_files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        open_files = None
    return Figures((int(stat[_USER]) + int(stat[_SYSTEM])) / _TICKS, int(stat[_PAGES]) * _PAGE_BYTES, open_files)


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
