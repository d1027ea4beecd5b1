"""What several end-to-end modules need: the SDKs from npm, and one service without TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.origin import NODE_MODULES
from tests.support.server import Service, serving


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The installed SDKs; absent ones are a failure, for a skipped test proves nothing."""
    missing = [name for name in ("@imagekit/javascript", "@imagekit/nodejs") if not (NODE_MODULES / name).is_dir()]
    if missing:
        pytest.fail(f"Not installed: {', '.join(missing)}. `make test` does it, or `npm ci` in tests/e2e.")
    return NODE_MODULES


@pytest.fixture(scope="session")
def plain_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of two workers for clients that are not browsers. Its users are one xdist group."""
    with serving(tmp_path_factory.mktemp("plain"), workers=2) as service:
        yield service
