"""After a start, the nonces that are out are good if nothing was lost, and all refused if anything may have been."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.embedded import Service
from tests.support.processes import until
from tokensvc.adapters.embedded import StoreFault, load, start
from tokensvc.adapters.embedded.home import Home, take
from tokensvc.adapters.embedded.server import Child
from tokensvc.core.nonces import NonceId
from tokensvc.ports import Outcome


def tail_of(home: Home) -> Path:
    """The file that the server appends to."""
    (file,) = home.append_only.glob("*.incr.aof")
    return file


def spend_and_stop(directory: Path) -> tuple[NonceId, NonceId]:
    """Two nonces of a store that was then stopped: one spent, one still good."""
    store = start(directory)
    service = Service(directory)
    try:
        spent, good = service.issue(), service.issue()
        assert service.redeem(spent) is Outcome.SPENT
        for _ in range(20):
            service.issue()
    finally:
        service.close()
        store.stop()
    return spent, good


def redeem_after_start(directory: Path, *nonces: NonceId) -> list[Outcome]:
    """What these come to in a store started anew; and a nonce issued then must be good."""
    store = start(directory)
    service = Service(directory)
    try:
        outcomes = [service.redeem(nonce) for nonce in nonces]
        assert service.redeem(service.issue()) is Outcome.SPENT
    finally:
        service.close()
        store.stop()
    return outcomes


def test_a_whole_load_goes_on(directory: Path) -> None:
    spent, good = spend_and_stop(directory)
    assert redeem_after_start(directory, spent, good, good) == [Outcome.REPLAYED, Outcome.SPENT, Outcome.REPLAYED]


def test_a_torn_file_begins_a_new_epoch(directory: Path, home: Home) -> None:
    spent, good = spend_and_stop(directory)
    tail_of(home).write_bytes(tail_of(home).read_bytes()[:-3])
    assert redeem_after_start(directory, spent, good) == [Outcome.STALE, Outcome.STALE]
    assert "loaded anyway" in home.log.read_text()


def test_a_new_epoch_is_kept(directory: Path, home: Home) -> None:
    """The old one does not come back with the next, whole load."""
    spent, good = spend_and_stop(directory)
    tail_of(home).write_bytes(tail_of(home).read_bytes()[:-3])
    redeem_after_start(directory)
    assert redeem_after_start(directory, spent, good) == [Outcome.STALE, Outcome.STALE]


def test_a_load_that_nobody_judged_is_judged_by_the_next_supervisor(directory: Path, home: Home) -> None:
    """Everything is killed after a torn file was cut: the next load looks whole, and is not."""
    _, good = spend_and_stop(directory)
    tail_of(home).write_bytes(tail_of(home).read_bytes()[:-3])
    lock = take(home.server_lock)
    assert lock is not None
    load.begin(home)
    child = Child(home, lock)
    os.close(lock)
    until(lambda: "loaded anyway" in load.unjudged_log(home) and home.socket.exists())
    child.signal(signal.SIGKILL)
    until(child.ended)
    assert redeem_after_start(directory, good) == [Outcome.STALE]


def test_damage_before_the_end_stops_the_start_in_words(directory: Path, home: Home) -> None:
    _, good = spend_and_stop(directory)
    whole = tail_of(home).read_bytes()
    middle = len(whole) // 2
    damaged = whole[:middle] + b"\xff" * 64 + whole[middle + 64 :]
    tail_of(home).write_bytes(damaged)
    with pytest.raises(StoreFault) as refused:
        start(directory)
    assert f"{tail_of(home)} is damaged before its end, so nothing was loaded and nothing changed." in str(
        refused.value
    )
    assert "Bad file format" in str(refused.value)
    assert tail_of(home).read_bytes() == damaged
    # What the message proposes: a good copy may be an old one, so it brings a new epoch.
    tail_of(home).write_bytes(whole)
    assert redeem_after_start(directory, good) == [Outcome.STALE]


def test_an_emptied_store_refuses_what_is_out(directory: Path, home: Home) -> None:
    spent, good = spend_and_stop(directory)
    shutil.rmtree(home.append_only)
    assert redeem_after_start(directory, spent, good) == [Outcome.UNISSUED, Outcome.UNISSUED]


def test_a_copy_of_the_directory_spends_nothing_again(directory: Path) -> None:
    """Beside the original or put back later: each nonce is good in the original only."""
    spent, good = spend_and_stop(directory)
    copy = directory.parent / "copy"
    shutil.copytree(directory, copy)
    assert redeem_after_start(directory, good) == [Outcome.SPENT]
    assert redeem_after_start(copy, good, spent) == [Outcome.STALE, Outcome.STALE]


def test_a_copy_put_in_place_spends_nothing_again(directory: Path) -> None:
    _, good = spend_and_stop(directory)
    copy = directory.parent / "copy"
    shutil.copytree(directory, copy)
    assert redeem_after_start(directory, good) == [Outcome.SPENT]
    shutil.rmtree(directory)
    shutil.copytree(copy, directory)
    assert redeem_after_start(directory, good) == [Outcome.STALE]


def test_a_long_log_is_put_aside(directory: Path, home: Home) -> None:
    """Two files of a megabyte and a bit are the most that it takes; and the load is judged all the same."""
    _, good = spend_and_stop(directory)
    with home.log.open("a") as log:
        log.write("x" * (1 << 20))
    assert redeem_after_start(directory, good) == [Outcome.SPENT]
    assert home.log.stat().st_size < 1 << 20
    assert (home.path / "valkey.log.1").stat().st_size > 1 << 20


_AT = "1:M 1 Jan 2030 00:00:00.000"
_LOADED = f"{_AT} * DB loaded from append only file: 0.001 seconds\n"


@pytest.mark.parametrize(
    ("log", "whole"),
    [
        (_LOADED, True),
        (f"{_AT} * Creating AOF incr file x on server start\n", True),
        (f"{_AT} # WARNING Memory overcommit must be enabled!\n{_LOADED}", True),
        (f"{_AT} # Current maximum open files is 1024.\n{_LOADED}", True),
        (f"{_AT} # !!! Truncating the AOF x at offset 1 !!!\n{_LOADED}", False),
        (f"{_AT} # AOF x loaded anyway because aof-load-truncated is enabled\n{_LOADED}", False),
        (f"{_AT} # Bad file format reading the append only file x\n{_LOADED}", False),
        (f"{_AT} * Server initialized\n", False),
        ("", False),
    ],
)
def test_what_a_log_says(directory: Path, home: Home, log: str, whole: bool) -> None:
    directory.mkdir()
    home.append_only.mkdir()
    home.server_lock.touch()
    load.judged(home)
    load.begin(home)
    home.log.write_text(log)
    assert load.is_whole(home) is whole
