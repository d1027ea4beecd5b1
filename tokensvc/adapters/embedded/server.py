"""A server that runs: started by us, or found running.

The kernel ends the server when its supervisor dies (PR_SET_PDEATHSIG), so an orphan is a matter of milliseconds. One
that stays all the same is taken over only if it can prove to be ours: a program that merely answers on our socket
could say "recorded" and forget.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import redis

from .configuration import server_binary
from .home import Home

_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Server(Protocol):
    """A server that runs, or ran."""

    @property
    def pid(self) -> int:
        """Its process."""

    def ended(self) -> bool:
        """Whether it is gone."""

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens if it is gone."""


class Child:
    """A server that we started."""

    __slots__ = ("_child",)

    def __init__(self, home: Home, server_lock: int) -> None:
        """Start a server, which inherits the lock. Call from the main thread: when that ends, so does the server."""
        with os.fdopen(os.open(home.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "wb") as log:
            self._child = subprocess.Popen(  # noqa: S603 - our own binary, and a path as its one argument
                [server_binary(), home.configuration],
                cwd=home.path,
                env={},  # the service's holds the private key
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[server_lock],
                start_new_session=True,
                preexec_fn=_dies_with(os.getpid()),  # noqa: PLW1509 - the supervisor has one thread
            )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._child.pid

    def ended(self) -> bool:
        """Whether it is gone; it is waited for."""
        return self._child.poll() is not None

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens if it is gone."""
        self._child.send_signal(number)


class Adopted:
    """A server whose supervisor died without it. Held by a pidfd, so that its number cannot become another's."""

    __slots__ = ("_pidfd", "pid")

    def __init__(self, pid: int) -> None:
        """Take hold of a process; ProcessLookupError if it is gone."""
        self._pidfd = os.pidfd_open(pid)
        self.pid = pid

    def ended(self) -> bool:
        """Whether it is gone."""
        return bool(select.select([self._pidfd], [], [], 0)[0])

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens if it is gone."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def close(self) -> None:
        """Let go of it; it runs on."""
        os.close(self._pidfd)


def end_with_parent(parent: int) -> None:
    """Have the kernel send us SIGTERM when the thread that started us ends. ProcessLookupError if it has already."""
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:
        raise ProcessLookupError(parent)


def _dies_with(parent: int) -> Callable[[], None]:
    def arrange() -> None:
        end_with_parent(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])  # the supervisor blocks what it waits for; a server must not

    return arrange


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a server says it is."""

    pid: int
    run_id: str
    directory: Path


def identify(client: redis.Redis) -> Identity:
    """Ask the server who it is. Raises redis-py's errors."""
    facts = client.info("server")
    directory = client.execute_command("CONFIG", "GET", "dir")[b"dir"]
    return Identity(facts["process_id"], facts["run_id"], Path(os.fsdecode(directory)))
