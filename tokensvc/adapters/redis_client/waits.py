"""Waiting for a word from somebody else: in a thread by an event, in a gevent worker by a switch, which is cheaper."""

from __future__ import annotations

import threading
from typing import Protocol

from gevent import get_hub, monkey
from gevent.hub import Waiter


class Wait(Protocol):
    """For one who waits, once. The word may come before it waits, and twice."""

    def until_woken(self, seconds: float) -> bool:
        """Wait for at most so long. Answers whether the word came."""

    def wake(self) -> None:
        """Give the word."""


def let_others_come(longest: float) -> None:
    """Wait until the loop has nothing else to do, for so many seconds at most. Threads come by themselves."""
    if not monkey.is_module_patched("threading"):
        return
    loop, waiter = get_hub().loop, Waiter()
    with loop.idle() as idle, loop.timer(longest) as timer:
        idle.start(waiter.switch, None)
        timer.start(waiter.switch, None)
        waiter.get()


def new_wait() -> Wait:
    """As it is done here."""
    return _ByGreenlet() if monkey.is_module_patched("threading") else _ByThread()


class _ByThread:
    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def until_woken(self, seconds: float) -> bool:
        return self._event.wait(seconds)

    def wake(self) -> None:
        self._event.set()


class _ByGreenlet:
    __slots__ = ("_waiter",)

    def __init__(self) -> None:
        self._waiter = Waiter()

    def until_woken(self, seconds: float) -> bool:
        timer = get_hub().loop.timer(seconds)
        timer.start(self._waiter.switch, False)
        try:
            return bool(self._waiter.get())
        finally:
            timer.stop()
            timer.close()

    def wake(self) -> None:
        get_hub().loop.run_callback(self._waiter.switch, True)
