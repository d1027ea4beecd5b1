"""Folders and limits of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tokensvc.adapters.machine import look_at, most_open_files, our_user

MOUNTS = (
    "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
    "2 1 0:5 / {at} rw,nosuid shared:7 - overlay none rw\n"
    "3 2 0:6 / {at}/in\\040memory rw - tmpfs none rw\n"
    "4 1 0:7 / /elsewhere rw - xfs none rw\n"
    "broken\n"
)


@pytest.mark.parametrize(("name", "kind"), [("", "overlay"), ("in memory", "tmpfs"), ("in memory/a", "tmpfs")])
def test_the_file_system_is_that_of_the_deepest_mount(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / "in memory" / "a").mkdir(parents=True)
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(at=tmp_path.resolve()))
    assert look_at(tmp_path / name, "here", mounts=mounts).file_system == kind
    assert look_at(tmp_path / name, "here", mounts=tmp_path / "none").file_system is None


def test_this_machine_says_what_its_root_is() -> None:
    assert look_at(Path("/"), "here").file_system


def test_a_folder_is_told_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    folder.chmod(0o1757)
    found = look_at(folder, "here")
    assert (found.path, found.exists, found.owner, found.mode) == (str(folder), True, os.geteuid(), 0o1757)
    assert our_user() == os.geteuid()


def test_of_one_that_is_not_there_yet_the_next_above_is_told(tmp_path: Path) -> None:
    found = look_at(tmp_path / "a" / "b", "here")
    assert (found.path, found.exists) == (str(tmp_path), False)


def test_how_many_files_may_be_open_is_known() -> None:
    assert most_open_files() != 0
