"""The workers' common directory: who has which number, and that nothing is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.service import clean_environment
from tokensvc.adapters import metrics_files
from tokensvc.adapters.metrics_files import fresh_directory, take_number

_HOLD = (
    "import sys; from pathlib import Path; from tokensvc.adapters.metrics_files import {name}\n"
    "{take}\nprint({told}, flush=True); sys.stdin.read()"
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where directories are made: not where a service that runs has its own."""
    monkeypatch.setattr(metrics_files, "_IN_MEMORY", tmp_path)
    return tmp_path


def holder(name: str, take: str, told: str) -> subprocess.Popen[str]:
    """A process that has taken something, and holds it until its standard input ends."""
    program = _HOLD.format(name=name, take=take, told=told)
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_number_is_one_process_s_until_it_dies(tmp_path: Path) -> None:
    with holder("take_number", f"n = take_number(Path({str(tmp_path)!r}))", "n") as first:
        assert line_of(first) == "0"
        with holder("take_number", f"n = take_number(Path({str(tmp_path)!r}))", "n") as second:
            assert line_of(second) == "1"
            first.send_signal(signal.SIGKILL)
            first.wait()
            assert take_number(tmp_path) == 0
            assert take_number(tmp_path) == 2
            second.kill()


def test_a_directory_is_private_and_gone_at_the_end(place: Path) -> None:
    with fresh_directory() as directory:
        assert directory.parent == place
        assert directory.stat().st_mode & 0o777 == 0o700
        (directory / "counter_0.db").touch()
    assert list(place.iterdir()) == []


def test_a_directory_that_a_killed_launcher_left_is_removed_and_a_living_one_s_is_not(place: Path) -> None:
    take = (
        "from tokensvc.adapters import metrics_files\n"
        f"metrics_files._IN_MEMORY = Path({str(place)!r})\nc = fresh_directory(); d = c.__enter__()"
    )
    with holder("fresh_directory", take, "d") as launcher:
        other = Path(line_of(launcher))
        (other / "counter_0.db").touch()
        with fresh_directory():
            assert (other / "counter_0.db").exists()
        launcher.send_signal(signal.SIGKILL)
        launcher.wait()
    assert other.exists()
    with fresh_directory() as directory:
        assert list(place.iterdir()) == [directory]


def test_where_memory_cannot_be_written_it_is_among_the_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_files, "_IN_MEMORY", tmp_path / "none")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with fresh_directory() as directory:
        assert directory.parent == tmp_path
        assert os.access(directory, os.W_OK)
