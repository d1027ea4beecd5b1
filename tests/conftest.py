"""What every test may ask for, and where and when tests run."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.canaries import pytest_runtest_makereport, silent_logs
from tests.support.object_store import ObjectStore
from tests.support.service import Deployment
from tests.support.turns import Turns
from tests.support.valkey import Valkey

__all__ = ["pytest_runtest_makereport", "silent_logs"]

IN_MEMORY: Final = Path("/dev/shm")
ROOM_BYTES: Final = 2 << 30
TURNS: Final = pytest.StashKey[Turns]()
FOLDER_OF_TURNS: Final = "PYTEST_TURNS"


def pytest_configure(config: pytest.Config) -> None:
    """Keep what the tests write in memory, where there is room, and let some tests have the machine to themselves.

    To the service a disk that stalls for a quarter of a second is an outage; where others use it too, it does stall.
    """
    if "TMPDIR" not in os.environ and IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > ROOM_BYTES:
        os.environ["TMPDIR"] = tempfile.tempdir = str(IN_MEMORY)
    if FOLDER_OF_TURNS not in os.environ:  # it is there in the processes that xdist starts
        os.environ[FOLDER_OF_TURNS] = folder = tempfile.mkdtemp(prefix="turns-")
        config.add_cleanup(lambda: _forget(folder))
    config.stash[TURNS] = Turns(Path(os.environ[FOLDER_OF_TURNS]))


def pytest_collection_finish() -> None:
    """Have the garbage collector pass over what is there before the first test.

    To look at all of it takes half a second, in which no thread of a test runs; a store has a quarter to answer.
    """
    gc.collect()
    gc.freeze()


def _forget(folder: str) -> None:
    del os.environ[FOLDER_OF_TURNS]
    shutil.rmtree(folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run a test that is marked `alone` while no other process runs one."""
    with item.config.stash[TURNS].take(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """One server a session, shared by tests that use nonces of their own and leave the epoch alone.

    Who flushes, restarts, pauses or configures a server starts one: `with Valkey() as own:`.
    """
    with Valkey() as server:
        yield server


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """One server of S3 a session, shared by tests that use prefixes of their own and never stop it."""
    with ObjectStore() as server:
        yield server


@pytest.fixture
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A configuration of its own, in a folder whose name is short: sockets are in it, and their paths are limited."""
    made = Deployment(tmp_path_factory.mktemp("d"))
    made.write()
    return made
