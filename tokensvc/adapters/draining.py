"""Tells the workers of one service that it is about to stop, so that `/readyz` sends nobody here any more.

By a file in the directory that the launcher gives them: a signal would start gunicorn's own end at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_FILE: Final = "draining"


def announce(directory: Path) -> None:
    """From now on each worker says that it is stopping."""
    (directory / _FILE).touch(mode=0o600)


def announced(directory: Path) -> bool:
    """Whether the service is about to stop."""
    return (directory / _FILE).exists()
