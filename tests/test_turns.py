"""A test that is marked `alone` has the machine to itself, and is not passed by for ever."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.support.processes import until
from tests.support.turns import Turns


def test_one_that_is_alone_waits_for_those_that_run_and_those_that_come_wait_for_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        seen: list[str] = []

        def waiting(name: str, *, alone: bool) -> tuple[Future[None], Callable[[], bool]]:
            turns, begun = Turns(tmp_path), []

            def run() -> None:
                begun.append(True)
                with turns.take(alone=alone):
                    seen.append(name)

            return pool.submit(run), lambda: bool(begun)

        with Turns(tmp_path).take(alone=False), Turns(tmp_path).take(alone=False):
            alone, has_begun = waiting("alone", alone=True)
            until(lambda: has_begun() and _is_held(tmp_path / "door"))
            after, _ = waiting("after", alone=False)
            assert seen == []
        alone.result()
        after.result()
    assert seen == ["alone", "after"]


def _is_held(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
