"""The use cases on a real store and a real disk, without HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.app import Service
from tokensvc.core.callers import Presented
from tokensvc.ports import Audit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.valkey import Valkey


@pytest.fixture
def service(valkey: Valkey, tmp_path: Path) -> Iterator[Service]:
    made = Service(valkey.url, tmp_path)
    yield made
    made.close()


def bearer(key: str) -> Presented:
    """A request with that api key."""
    return Presented({"authorization": f"Bearer {key}"}, {}, "127.0.0.1")


class Notes(Audit):
    """An audit that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, dict[str, Any]]] = []

    def note(self, event: str, facts: Mapping[str, str | int | None]) -> None:
        self.notes.append((event, dict(facts)))

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.notes]
