"""One sweep an hour, whoever of many workers does it, and none that anything depends on."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.app import Clock
from tests.support.files import content_at, keep, received
from tests.support.processes import until
from tokensvc.adapters.disk_files import DiskFiles
from tokensvc.adapters.sweeper import OLD_SECONDS, SWEEP_SECONDS, Sweeper
from tokensvc.core.errors import Outage
from tokensvc.ports import Audit


class Notes(Audit):
    """What was noted, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, object]]] = []

    def note(self, event: str, facts: Mapping[str, object]) -> None:
        self.events.append((event, facts))


class Counted(DiskFiles):
    """Counts the sweeps, and may fail or wait in them."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.sweeps: list[tuple[int, int]] = []
        self.outage: Outage | None = None
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def sweep(self, now: int, older_than: int) -> int:
        self.sweeps.append((now, older_than))
        self.entered.set()
        assert self.go_on.wait(10)
        if self.outage is not None:
            raise self.outage
        return super().sweep(now, older_than)


@pytest.fixture
def files(tmp_path: Path) -> Counted:
    return Counted(tmp_path / "files")


@pytest.fixture
def notes() -> Notes:
    return Notes()


NOW = 1_800_000_000


def sweeper(files: Counted, notes: Notes, tmp_path: Path, now: int = NOW) -> Sweeper:
    return Sweeper(files, tmp_path / "below" / "lock", Clock(now), notes)


def test_debris_is_removed_and_noted_and_kept_files_stay(files: Counted, notes: Notes, tmp_path: Path) -> None:
    keep(files, b"kept")
    left = received(files, b"left")
    assert sweeper(files, notes, tmp_path, 1 << 40).once() == 1
    assert content_at(files) == b"kept"
    with pytest.raises(Outage):
        left.open()
    assert notes.events == [("swept", {"removed": 1})]


def test_a_sweep_without_debris_is_not_worth_a_note(files: Counted, notes: Notes, tmp_path: Path) -> None:
    assert sweeper(files, notes, tmp_path).once() == 0
    assert files.sweeps == [(NOW, OLD_SECONDS)]
    assert notes.events == []


@pytest.mark.parametrize(
    ("later", "swept"), [(0, False), (SWEEP_SECONDS - 1, False), (SWEEP_SECONDS, True), (-1, True)]
)
def test_workers_that_come_and_go_sweep_once_an_hour_in_all(
    files: Counted, notes: Notes, tmp_path: Path, later: int, swept: bool
) -> None:
    """A clock that was set back is no reason to wait for years."""
    sweeper(files, notes, tmp_path).once()
    assert (sweeper(files, notes, tmp_path, NOW + later).once() == 0) is swept
    assert len(files.sweeps) == 1 + swept


def test_of_many_workers_at_once_one_sweeps(files: Counted, notes: Notes, tmp_path: Path) -> None:
    files.go_on.clear()
    first = threading.Thread(target=sweeper(files, notes, tmp_path).once)
    first.start()
    assert files.entered.wait(10)
    assert [sweeper(files, notes, tmp_path).once() for _ in range(5)] == [None] * 5
    files.go_on.set()
    first.join()
    assert len(files.sweeps) == 1


def test_a_sweep_that_failed_is_noted_and_due_again(files: Counted, notes: Notes, tmp_path: Path) -> None:
    files.outage = Outage("The file store does not answer.")
    assert sweeper(files, notes, tmp_path).once() is None
    assert notes.events == [("unswept", {"reason": "The file store does not answer."})]
    files.outage = None
    assert sweeper(files, notes, tmp_path).once() == 0


def test_a_place_that_cannot_be_written_is_noted(files: Counted, notes: Notes, tmp_path: Path) -> None:
    (tmp_path / "below").write_text("a file")
    assert sweeper(files, notes, tmp_path).once() is None
    assert [event for event, _ in notes.events] == ["unswept"]
    assert files.sweeps == []


@pytest.mark.parametrize("text", ["", "yesterday", "9" * 30])
def test_a_lock_that_tells_no_time_holds_nobody_back(files: Counted, notes: Notes, tmp_path: Path, text: str) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "lock").write_text(text)
    assert sweeper(files, notes, tmp_path).once() == 0


def test_once_started_it_sweeps_by_itself(files: Counted, notes: Notes, tmp_path: Path) -> None:
    sweeper(files, notes, tmp_path).start()
    until(lambda: files.sweeps)
