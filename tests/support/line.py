"""The line to the store while somebody asks: what is asked meanwhile goes together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tests.support.processes import until
from tokensvc.adapters.redis_client.line import Line, _Question

Answer = TypeVar("Answer")


@contextlib.contextmanager
def busy(line: Line) -> Iterator[None]:
    """Meanwhile somebody asks."""
    asking = _Question((), may_join=False)
    line._is_asked = asking.asks_for_all = True
    try:
        yield
    finally:
        line._hand_on(asking)


def held(line: Line, asked: int) -> bool:
    """Whether so many wait for their turn."""
    return len(line._waiting) == asked


def at_once(line: Line, asks: Sequence[Callable[[], Answer]]) -> list[Future[Answer]]:
    """What came of each, when all were sent together and in this order."""
    with ThreadPoolExecutor(len(asks)) as pool, busy(line):
        asked = []
        for ask in asks:
            asked.append(pool.submit(ask))
            until(lambda: held(line, len(asked)), "one more that waits")
    return asked
