"""Runs gunicorn, and the embedded nonce store before, beside and after it.

The store is there before gunicorn listens and is stopped after the last worker, so that a restart loses nothing; if its
supervisor dies it is started again. gunicorn cannot do this itself: its master reaps children it does not know. But
gunicorn loads itself while the store starts.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

from tokensvc.adapters import beginning, draining
from tokensvc.adapters.embedded import StoreFault
from tokensvc.adapters.metrics_files import VARIABLE, fresh_directory

OUTAGE: Final = 3
"""Exit status when gunicorn could not start or did not live."""

_LOOK_SECONDS: Final = 0.25
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0
_WORKERS_NOTICE_WITHIN_SECONDS: Final = 10.0
"""A worker looks once a second whether its master lives."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_libc: Final = ctypes.CDLL(None)


class Store(Protocol):
    """A started nonce store."""

    def alive(self) -> bool:
        """Whether its supervisor still runs."""

    def stop(self) -> None:
        """End it cleanly. Harmless if it has ended."""


class _Stopped(BaseException):
    """We were asked to stop before gunicorn was there to be asked. Not an Exception: it is no fault."""


def gunicorn_command(bind: str, workers: int, application: str, extra: Sequence[str] = ()) -> list[str]:
    """The command line: the console script, because gunicorn's own re-exec needs one, if it is beside this Python.

    Never the first one on PATH, which may well be another environment's.
    """
    script = Path(sys.executable).with_name("gunicorn")
    program = [str(script)] if script.exists() else [sys.executable, "-m", "gunicorn"]
    options = ["--config", "python:tokensvc.gunicorn_settings", "--bind", bind, "--workers", str(workers)]
    return [*program, *options, *extra, application]


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    start_store: Callable[[], Store] | None,
    may_reload: Callable[[], bool] | None = None,
    drain_seconds: float = 0,
    tell: Callable[[str], None] | None = None,
) -> int:
    """Run until gunicorn ends, by itself or because we were told to; return 0, or 3 if it should not have ended.

    TERM and INT end it gracefully. At TERM it first says for `drain_seconds` that it is not ready, and serves on, so
    that who sends requests here can send them elsewhere; a second signal cuts that short. HUP replaces the workers if
    `may_reload()` says so, and without `may_reload` it ends everything, as it should when a terminal is closed.
    Call it from the main thread. Raises StoreFault if the store does not start; once it has, one that is lost is only
    told, and tried for again. `tell` says a sentence to the operator; on standard error if it is not given.
    """
    # A master that is killed leaves its workers to us, so that we can see the last of them off.
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    launch = _Launch(start_store, may_reload, drain_seconds, tell or _tell)
    for number in _SIGNALS:
        signal.signal(number, launch.on_signal)
    try:
        with fresh_directory() as directory:
            launch.directory = directory
            return launch.attend(command, {**environment, VARIABLE: str(directory)})
    except _Stopped:
        return 0
    finally:
        launch.stop_store()


class _Launch:
    """gunicorn and the store, and what we were asked for meanwhile."""

    __slots__ = (
        "_asked_to_reload",
        "_drain_seconds",
        "_may_reload",
        "_pause",
        "_server",
        "_start_store",
        "_stop_at",
        "_store",
        "_tell",
        "_told_to_stop",
        "_try_at",
        "directory",
    )

    def __init__(
        self,
        start_store: Callable[[], Store] | None,
        may_reload: Callable[[], bool] | None,
        drain_seconds: float,
        tell: Callable[[str], None],
    ) -> None:
        self._start_store = start_store
        self._tell = tell
        self._may_reload = may_reload
        self._drain_seconds = drain_seconds
        self._stop_at: float | None = None
        self.directory: Path | None = None
        self._store: Store | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._told_to_stop = False
        self._asked_to_reload = False
        self._pause = _FIRST_PAUSE_SECONDS
        self._try_at = 0.0

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Note it, or pass it on. What takes longer is done by `attend`."""
        if number == signal.SIGHUP and self._may_reload is not None:
            self._asked_to_reload = True
            return
        first, self._told_to_stop = not self._told_to_stop, True
        if self._server is None:
            raise _Stopped
        if first and number == signal.SIGTERM and self._drain_seconds and self.directory is not None:
            with contextlib.suppress(OSError):  # a full disk is no reason to stay
                draining.announce(self.directory)
            self._stop_at = time.monotonic() + self._drain_seconds
            return
        self._stop_at = None
        self._server.send_signal(signal.SIGTERM)

    def attend(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Start the store and gunicorn, and stay until gunicorn and all its workers have ended."""
        server = self._begin(command, environment)
        pidfd = os.pidfd_open(server.pid)
        try:
            while not select.select([pidfd], [], [], _LOOK_SECONDS)[0]:
                self._keep_store(server.pid)
                self._reload_if_asked(server)
                self._stop_if_drained(server)
        finally:
            os.close(pidfd)
        status = server.wait()
        _see_off(server.pid)
        return self._judge(status)

    def _begin(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start both at once; gunicorn waits for the store before it listens, and ends if that does not come."""
        # No signal is handled until it is known whom to pass it on to, but for the time that the store takes.
        with contextlib.ExitStack() as holding, _signals(signal.SIG_BLOCK, signal.SIG_UNBLOCK):
            if self._start_store is not None and self.directory is not None:
                holding.enter_context(beginning.held(self.directory))
            server = _start(command, environment)
            if self._start_store is not None:
                try:
                    with _signals(signal.SIG_UNBLOCK, signal.SIG_BLOCK):
                        self._store = self._start_store()
                except BaseException:
                    server.kill()
                    server.wait()
                    raise
            self._asked_to_reload = False  # there was nothing to reload yet
            self._server = server
        return server

    def stop_store(self) -> None:
        """End the store, if there is one."""
        if self._store is not None:
            self._store.stop()

    def _keep_store(self, server: int) -> None:
        """Start the store again if its supervisor is gone. That this fails is no reason to end the service."""
        if self._store is None or self._start_store is None or self._store.alive():
            return
        if time.monotonic() < self._try_at:
            return
        self._store.stop()
        try:
            self._store = self._start_store()
        except (StoreFault, OSError) as exc:
            self._try_at = time.monotonic() + self._pause
            self._tell(f"The nonce store is gone and did not start again; next try in {self._pause:g} s. {exc}")
            self._pause = min(self._pause * 2, _LONGEST_PAUSE_SECONDS)
        else:
            self._pause = _FIRST_PAUSE_SECONDS
            self._tell("The nonce store's supervisor was gone; it is started again.")
        _reap_others(server)

    def _reload_if_asked(self, server: subprocess.Popen[bytes]) -> None:
        if self._asked_to_reload and self._may_reload is not None and not self._told_to_stop:
            self._asked_to_reload = False
            if self._may_reload():
                server.send_signal(signal.SIGHUP)

    def _stop_if_drained(self, server: subprocess.Popen[bytes]) -> None:
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            self._stop_at = None
            server.send_signal(signal.SIGTERM)

    def _judge(self, status: int) -> int:
        if status == 0 or (self._told_to_stop and status == -signal.SIGTERM):  # TERM came before it could handle one
            return 0
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        self._tell(f"gunicorn {how}.")
        return OUTAGE


@contextlib.contextmanager
def _signals(how: int, afterwards: int) -> Iterator[None]:
    signal.pthread_sigmask(how, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(afterwards, _SIGNALS)


def _start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start gunicorn in a session of its own: Ctrl-C reaches only us, and we ask for a graceful end."""
    return subprocess.Popen(  # noqa: S603 - our own command line
        list(command),
        env=dict(environment),
        start_new_session=True,
        preexec_fn=_before_gunicorn(os.getpid()),  # noqa: PLW1509 - one thread
    )


def _before_gunicorn(launcher: int) -> Callable[[], None]:
    def arrange() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != launcher:  # it was killed before the signal was asked for; in a container it may be 1
            os._exit(1)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until gunicorn handles it: a reload must not end a start
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    return arrange


def _see_off(group: int) -> None:
    """Wait for the workers of a master that was killed: the store is stopped after the last of them."""
    until = time.monotonic() + _WORKERS_NOTICE_WITHIN_SECONDS
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, _ = os.waitpid(-group, os.WNOHANG)
            if pid == 0:
                time.sleep(0.02)
                if time.monotonic() >= until:
                    os.killpg(group, signal.SIGKILL)


def _reap_others(server: int) -> None:
    """Wait for what a killed supervisor left to us, which has ended."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid != server:
            os.waitpid(ended.si_pid, 0)


def _tell(sentence: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"tokensvc: {sentence}\n")
        sys.stderr.flush()
