"""Waiting in a gevent worker. Apart from `waits`, because it loads gevent."""

from __future__ import annotations

from gevent import get_hub
from gevent.hub import Waiter


def let_others_come(longest: float) -> None:
    """As in `waits`."""
    loop, waiter = get_hub().loop, Waiter()
    with loop.idle() as idle, loop.timer(longest) as timer:
        idle.start(waiter.switch, None)
        timer.start(waiter.switch, None)
        waiter.get()


class ByGreenlet:
    """`waits.Wait` by a switch of greenlets."""

    __slots__ = ("_waiter",)

    def __init__(self) -> None:
        self._waiter = Waiter()

    def until_woken(self, seconds: float) -> bool:
        """As `Wait` says."""
        timer = get_hub().loop.timer(seconds)
        timer.start(self._waiter.switch, False)
        try:
            return bool(self._waiter.get())
        finally:
            timer.stop()
            timer.close()

    def wake(self) -> None:
        """As `Wait` says."""
        get_hub().loop.run_callback(self._waiter.switch, True)
