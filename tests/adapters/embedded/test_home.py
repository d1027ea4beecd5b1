"""The directory of a store: refused in words when it cannot serve, and closed to everybody else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.support.processes import inside
from tokensvc.adapters.embedded import Store, StoreFault, start, url
from tokensvc.adapters.embedded.home import Home, locate, prepare


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_everything_in_it_is_for_the_owner_alone(directory: Path, home: Home) -> None:
    """Whatever the umask of who starts it."""
    umask = os.umask(0)
    try:
        store = start(directory)
    finally:
        os.umask(umask)
    try:
        assert mode(directory) == 0o700
        assert mode(home.append_only) == 0o700
        assert mode(home.socket) == 0o700
        named = [home.configuration, home.users, home.password_file("app"), home.password_file("sup"), home.pid_file]
        files = [path for path in directory.rglob("*") if path.is_file()]
        assert set(named) < set(files)
        assert {path: mode(path) for path in files} == dict.fromkeys(files, 0o600)
    finally:
        store.stop()


def test_a_directory_that_is_there_is_closed(directory: Path, home: Home) -> None:
    directory.mkdir()
    directory.chmod(0o755)
    prepare(home)
    assert mode(directory) == 0o700


def test_a_directory_of_other_things_is_left_alone(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o755)
    (directory / "letter.txt").touch()
    with pytest.raises(StoreFault, match="holds files and is no store"):
        start(directory)
    assert mode(directory) == 0o755
    assert [path.name for path in directory.iterdir()] == ["letter.txt"]


def test_a_symbolic_link_is_refused(directory: Path) -> None:
    """It could be pointed elsewhere between two looks at it."""
    (directory.parent / "elsewhere").mkdir()
    directory.symlink_to("elsewhere")
    with pytest.raises(StoreFault, match="is a symbolic link"):
        start(directory)
    assert list((directory.parent / "elsewhere").iterdir()) == []


def test_a_file_in_its_place_is_refused(directory: Path) -> None:
    directory.touch()
    with pytest.raises(StoreFault, match=r"cannot be made: File exists\. Choose another data directory"):
        start(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(directory: Path) -> None:
    directory.mkdir()
    os.chown(directory, 65534, 65534)
    with pytest.raises(StoreFault, match="belongs to user 65534, and this is user 0"):
        start(directory)


@pytest.mark.parametrize("spare", [0, -1])
def test_the_path_of_the_socket_fits_or_is_refused_in_words(directory: Path, spare: int) -> None:
    """107 bytes are the system's limit; bytes, not letters."""
    room = 107 - spare - len(os.fsencode(directory.parent)) - len("//s.sock") - len("é".encode())
    path = directory.parent / ("é" + "d" * room)
    if spare < 0:
        with pytest.raises(StoreFault, match=r"has 108 bytes, and the system takes 107: .* shorter path"):
            start(path)
        assert not path.exists()
    else:
        start(path).stop()


def test_a_name_with_blanks_and_quotes_works(directory: Path) -> None:
    path = directory.parent / "a \"b\" 'c' \\n #é%20@"
    store = start(path)
    try:
        assert locate(path).socket.is_socket()
        assert url(path).startswith("unix://app:")
        assert inside(path)
    finally:
        store.stop()


def test_a_relative_name_means_the_same_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store.directory.parent)
    assert url(Path(store.directory.name)) == url(store.directory)


def test_without_a_store_there_is_no_url(directory: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No store was ever started in"):
        url(directory)
