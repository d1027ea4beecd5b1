"""A service whose profiles trust whichever sources a test puts into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.app import Service, Tables
from tests.support.callers import seat
from tests.support.valkey import Valkey
from tokensvc.ports import CallerSource

SeatSources = Callable[..., Service]
"""Takes sources by name, and `profiles`: the names of further profiles. The default one trusts them in their order."""


@pytest.fixture
def seated(valkey: Valkey, tmp_path: Path) -> Iterator[SeatSources]:
    made: list[Service] = []

    def make(sources: Mapping[str, CallerSource], *, profiles: Mapping[str, list[str]] | None = None) -> Service:
        def trust(tables: Tables) -> None:
            tables["profiles"]["default"]["callers"] = list(sources)
            for name, callers in (profiles or {}).items():
                tables["profiles"][name] = {"callers": callers}

        made.append(Service(valkey.url, tmp_path / f"data{len(made)}", change=trust))
        return seat(made[-1], sources)

    yield make
    for service in made:
        service.close()
