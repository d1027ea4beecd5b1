"""How tests run: one marked `alone` by itself, one that was told of an outage again, and none with long pauses."""

from __future__ import annotations

import fcntl
import gc
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.support.processes import until
from tests.support.turns import Turns

SETUP = Path(__file__).parents[1] / "setup.cfg"
TWICE = """
import pathlib, pytest
FIRST = pathlib.Path(__file__).with_name("first")

class Outage(Exception):
    pass

class Unanswered(Outage):
    pass

@pytest.mark.parametrize(
    "told",
    [
        *[Outage("no answer"), Unanswered("no answer")],
        *[TimeoutError("Timeout reading from socket"), AssertionError("assert 503 == 200")],
        *[AssertionError("waited 5 s in vain"), TimeoutError("timed out"), AssertionError("200 == 409")],
    ],
    ids=repr,
)
def test_it(told, request):
    first = FIRST.with_name(request.node.callspec.id)
    if not first.exists():
        first.touch()
        raise told
"""


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


def test_who_was_told_of_an_outage_is_run_once_more_and_listed_with_it_and_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "test_twice.py").write_text(TWICE)
    command = [sys.executable, "-m", "pytest", "-c", str(SETUP), "--rootdir", ".", ".", "-p", "no:cacheprovider"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "3 failed, 4 passed, 4 rerun" in told.stdout, told.stdout
    for outage in (
        *("Outage('no answer')", "Unanswered('no answer')"),
        *("TimeoutError('Timeout reading from socket')", "AssertionError('assert 503 == 200')"),
    ):
        assert f"RERUN test_twice.py::test_it[{outage}]" in told.stdout
    assert told.stdout.rpartition("rerun test summary info")[2].count("raise told") == 4


def test_what_was_there_before_the_first_test_is_not_looked_through_for_garbage() -> None:
    assert gc.get_freeze_count() > len(gc.get_objects())


def _is_held(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
