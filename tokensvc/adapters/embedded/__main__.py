"""The supervisor as a program: `python -m tokensvc.adapters.embedded DIRECTORY`.

It says "ready" once nonces can be recorded, ends on SIGTERM with status 0, and with 1 and a sentence when it cannot
serve. `--with-parent` ends it with the program that started it; `--report-to` is a descriptor that it tells how the
start went, instead of standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from .home import Home, StoreFault, locate, prepare, sole_supervisor
from .server import end_with_parent
from .supervisor import Stopped, Supervisor, block_signals, pause

_LOOK_AGAIN_SECONDS: Final = 0.02


class Report(Protocol):
    """Says how the start went: `ready`; `shared` and whose it is; `fault` and which."""

    def __call__(self, word: str, rest: str = "") -> None:
        """Say it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Supervise until asked to stop; return the exit status."""
    parser = argparse.ArgumentParser(prog="tokensvc.adapters.embedded", description="Run an embedded store.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--with-parent", type=int, metavar="PID", help="end when this process ends")
    parser.add_argument("--report-to", type=int, metavar="FD", help="tell here how the start went, then close it")
    asked = parser.parse_args(arguments)
    block_signals()
    os.umask(0o077)
    report = _reporter(asked.report_to)
    try:
        if asked.with_parent is not None:
            end_with_parent(asked.with_parent)
        _supervise(locate(asked.directory), report, share=asked.report_to is not None)
    except StoreFault as fault:
        report("fault", str(fault))
        return 1
    except (Stopped, ProcessLookupError):
        pass
    return 0


def _supervise(home: Home, report: Report, *, share: bool) -> None:
    """Serve from this directory; or, where another supervisor does, report that once it is ready."""
    prepare(home)
    while True:
        with sole_supervisor(home) as ours:
            if ours:
                Supervisor(home, chance=os.urandom, tell=_tell).run(on_ready=lambda: report("ready"))
                return
        other = _ready_supervisor(home)
        if not share:
            raise StoreFault(f"The store in {home.path} runs already. Use that one, or stop it first.")
        if other is not None:
            report("shared", str(other))
            return
        pause(_LOOK_AGAIN_SECONDS)


def _ready_supervisor(home: Home) -> int | None:
    """The process of the supervisor that says that it is ready, if it lives."""
    try:
        pid = int(home.ready.read_text())
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError, PermissionError, ValueError):
        return None
    return pid


def _reporter(descriptor: int | None) -> Report:
    """Tell the launcher once; what comes later, or without a launcher, is for standard error."""
    pending = [] if descriptor is None else [descriptor]

    def report(word: str, rest: str = "") -> None:
        if not pending:
            _tell(rest or word)
            return
        with contextlib.suppress(BrokenPipeError), os.fdopen(pending.pop(), "w", encoding="utf-8") as launcher:
            launcher.write(f"{word} {rest}")

    return report


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"tokensvc store: {text}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
