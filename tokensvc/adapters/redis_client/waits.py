"""Waiting for a word from somebody else: in a thread by an event, in a gevent worker by a switch, which is cheaper."""

from __future__ import annotations

import threading
from typing import Protocol

from tokensvc.adapters import greenlets


class Wait(Protocol):
    """For one who waits, once. The word may come before it waits, and twice."""

    def until_woken(self, seconds: float) -> bool:
        """Wait for at most so long. Answers whether the word came."""

    def wake(self) -> None:
        """Give the word."""


def let_others_come(longest: float) -> None:
    """Wait until the loop has nothing else to do, for so many seconds at most. Threads come by themselves."""
    if greenlets.share_threads():
        from .switches import let_others_come as let_greenlets_come  # noqa: PLC0415 - as below

        let_greenlets_come(longest)


def new_wait() -> Wait:
    """As it is done here."""
    if greenlets.share_threads():
        from .switches import ByGreenlet  # noqa: PLC0415 - gevent is there then; who is not patched starts without

        return ByGreenlet()
    return _ByThread()


class _ByThread:
    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def until_woken(self, seconds: float) -> bool:
        return self._event.wait(seconds)

    def wake(self) -> None:
        self._event.set()
