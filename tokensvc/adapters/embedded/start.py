"""How a launcher has a store: start it before the first worker, stop it after the last.

The supervisor is a process and a session of its own. gunicorn's arbiter reaps every child there is, so a server of
its own would be lost to it; and Ctrl-C reaches every process of a session, the store before the workers have drained.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from .home import Home, StoreFault, locate
from .load import log_tail

START_WITHIN_SECONDS: Final = 30.0
"""A million nonces load in two seconds; an orphan may take ten to end."""
STOP_WITHIN_SECONDS: Final = 15.0
"""Longer than the supervisor gives its server."""
_MOST_BYTES_READ: Final = 65536


class Store:
    """A store that runs, and its supervisor if that is ours to stop."""

    __slots__ = ("_pidfd", "_supervisor", "directory")

    def __init__(self, directory: Path, supervisor: subprocess.Popen[bytes] | None, pidfd: int) -> None:
        """Made by `start`."""
        self.directory = directory
        self._supervisor = supervisor
        self._pidfd = pidfd

    @property
    def owned(self) -> bool:
        """Whether `stop` ends it: not if it ran before, under somebody else."""
        return self._supervisor is not None

    def alive(self) -> bool:
        """Whether its supervisor lives. One that has given up does not."""
        return self._pidfd >= 0 and not select.select([self._pidfd], [], [], 0)[0]

    def stop(self) -> None:
        """End the server and its supervisor and wait for that; a store that is not owned is only let go of."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        if self._supervisor is not None:
            _end(self._supervisor)


def start(directory: Path, *, within_seconds: float = START_WITHIN_SECONDS) -> Store:
    """Return the store of a directory once nonces can be recorded in it; StoreFault says why not.

    If somebody runs it already, that one is used. Otherwise it ends with this process, even by SIGKILL; and, as the
    kernel knows of threads only, with the thread that calls this: call it from the main one.
    """
    home = locate(directory)
    report, told = os.pipe()
    try:
        supervisor = subprocess.Popen(  # noqa: S603 - this Python and a module of ours
            [sys.executable, "-m", __package__, "--with-parent", str(os.getpid()), "--report-to", str(told), home.path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[told],
            start_new_session=True,
        )
    finally:
        os.close(told)
    try:
        return _store(home, supervisor, _read_all(report, time.monotonic() + within_seconds))
    except TimeoutError:
        _end(supervisor)
        raise StoreFault(
            f"The store in {home.path} was not ready within {within_seconds:g} s. "
            f"Its server's last words, from {home.log}:\n{log_tail(home)}"
        ) from None
    except BaseException:
        _end(supervisor)
        raise
    finally:
        os.close(report)


def _store(home: Home, supervisor: subprocess.Popen[bytes], report: str) -> Store:
    """What the supervisor's report comes to."""
    word, _, rest = report.partition(" ")
    if word == "ready":
        return Store(home.path, supervisor, os.pidfd_open(supervisor.pid))
    supervisor.wait()
    if word != "shared":
        raise StoreFault(rest or f"The supervisor of the store in {home.path} ended while it started.")
    try:
        return Store(home.path, None, os.pidfd_open(int(rest)))
    except ProcessLookupError:
        raise StoreFault(f"The store in {home.path} was stopped by who ran it. Start again.") from None


def _read_all(descriptor: int, until: float) -> str:
    """Read until the other end closes; TimeoutError at `until`."""
    text = b""
    while select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
        piece = os.read(descriptor, _MOST_BYTES_READ)
        if not piece:
            return text.decode()
        text += piece
    raise TimeoutError


def _end(supervisor: subprocess.Popen[bytes]) -> None:
    supervisor.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        supervisor.wait(STOP_WITHIN_SECONDS)
        return
    supervisor.kill()
    supervisor.wait()
