"""Runs gunicorn, and the embedded nonce store before, beside and after it.

The store is started before the workers and stopped after the last of them, so that a restart loses nothing; if its
supervisor is killed it is started again. gunicorn cannot do this itself: its master reaps children it does not know.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

_POLL_SECONDS: Final = 0.5
_PR_SET_PDEATHSIG: Final = 1


class Store(Protocol):
    """A started nonce store."""

    def alive(self) -> bool:
        """Whether its supervisor still runs."""

    def stop(self) -> None:
        """End it cleanly."""


def gunicorn_command(bind: str, workers: int, extra: Sequence[str] = ()) -> list[str]:
    """The command line; the console script, because gunicorn's own re-exec needs one."""
    script = Path(sys.executable).with_name("gunicorn")
    program = str(script) if script.exists() else shutil.which("gunicorn") or "gunicorn"
    options = ["--config", "python:tokensvc.gunicorn_settings", "--bind", bind, "--workers", str(workers)]
    return [program, *options, *extra, "tokensvc.application:create()"]


def run(command: Sequence[str], environment: Mapping[str, str], start_store: Callable[[], Store] | None) -> int:
    """Run until gunicorn ends or a TERM or INT has been passed on to it; return its exit status."""
    store = start_store() if start_store else None
    try:
        return _attend(command, environment, store, start_store)
    finally:
        if store is not None:
            store.stop()


def _attend(
    command: Sequence[str],
    environment: Mapping[str, str],
    store: Store | None,
    start_store: Callable[[], Store] | None,
) -> int:
    # Its own session: Ctrl-C reaches only us, and we ask for a graceful end. If we are killed it is told to end.
    server = subprocess.Popen(  # noqa: S603 - our own command line
        list(command),
        env=dict(environment),
        start_new_session=True,
        preexec_fn=_end_with_parent,  # noqa: PLW1509 - one thread
    )

    def pass_on(number: int, _frame: FrameType | None) -> None:
        server.send_signal(signal.SIGTERM if number == signal.SIGINT else number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    while True:
        try:
            return server.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if store is not None and start_store is not None and not store.alive():
                store = start_store()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:  # the parent went before the signal was asked for
        os._exit(1)
