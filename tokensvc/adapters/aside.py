"""Calls what waits for a disk, or in a package that knows nothing of greenlets, where that holds up nobody.

A gevent worker serves all its requests in one thread; what blocks that blocks them all.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec, Protocol, TypeVar, cast

from . import greenlets

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Blocking(Protocol):
    """Calls a function with its arguments, waits for its end, and returns what it returns or raises what it raises."""

    def __call__(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call it."""


def at_once(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call in this thread."""
    return function(*args, **kwargs)


def aside(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call in another thread if this one is shared by many requests (a gevent worker), else here."""
    if greenlets.share_threads():
        from gevent import get_hub  # noqa: PLC0415 - it is there already; who is not patched by it starts without

        return cast("_T", get_hub().threadpool.apply(function, args, kwargs))
    return function(*args, **kwargs)


def within(seconds: float) -> AbstractContextManager[object]:
    """A block that is ended by TimeoutError after so many seconds, where requests share a thread (a gevent worker)."""
    if not greenlets.share_threads():
        return nullcontext()
    from gevent import Timeout  # noqa: PLC0415 - as above

    block: AbstractContextManager[object] = Timeout(seconds, TimeoutError())
    return block
