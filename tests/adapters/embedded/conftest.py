"""A store of each test's own, and the certainty that nothing of it runs on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.embedded import Service
from tests.support.processes import end_all, inside
from tokensvc.adapters.embedded import Store, start
from tokensvc.adapters.embedded.home import Home


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Where a store may be started. Fails a test that leaves a process of it behind."""
    yield tmp_path / "store"
    left = inside(tmp_path)
    end_all(left)
    assert not left


@pytest.fixture
def home(directory: Path) -> Home:
    """The names of what is in `directory`."""
    return Home(directory)


@pytest.fixture
def store(directory: Path) -> Iterator[Store]:
    """A store that runs in `directory`."""
    store = start(directory)
    yield store
    store.stop()


@pytest.fixture
def service(store: Store) -> Iterator[Service]:
    """A service that uses the store."""
    service = Service(store.directory)
    yield service
    service.close()
