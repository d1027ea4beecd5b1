"""What every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.canaries import pytest_runtest_makereport, silent_logs
from tests.support.object_store import ObjectStore
from tests.support.valkey import Valkey

__all__ = ["pytest_runtest_makereport", "silent_logs"]


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
