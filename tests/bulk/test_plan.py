"""Which files are found, and where they go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tokensvc.bulk.plan import NothingThereError, plan
from tokensvc.core.errors import Refusal


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with some files, which is the working one."""
    for name in ("photos/a.jpg", "photos/2026/b.jpg", "photos/2026/may day/c.png", "photos/.hidden/d.jpg", "note.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "photos/.DS_Store").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def targets(*arguments: str, into: str = "/") -> list[str]:
    planned = plan(arguments, into=into)
    assert planned.passed == ()
    return [item.target for item in planned.items]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["note.txt"], ["/note.txt"]),
        (["photos"], ["/photos/a.jpg", "/photos/2026/b.jpg", "/photos/2026/may_day/c.png"]),
        (["photos/"], ["/a.jpg", "/2026/b.jpg", "/2026/may_day/c.png"]),
        (["."], ["/note.txt", "/photos/a.jpg", "/photos/2026/b.jpg", "/photos/2026/may_day/c.png"]),
        (["photos/2026"], ["/2026/b.jpg", "/2026/may_day/c.png"]),
        (["photos/*.jpg"], ["/a.jpg"]),
        (["photos/**/*.jpg"], ["/2026/b.jpg", "/a.jpg"]),
        (["*/2026/*"], ["/photos/2026/b.jpg"]),
        (["photos/2026/*", "note.txt"], ["/b.jpg", "/note.txt"]),
        (["note.txt", "./note.txt", "photos/.hidden/d.jpg"], ["/note.txt", "/d.jpg"]),
    ],
)
def test_folders_patterns_and_files_keep_their_structure(arguments: list[str], found: list[str]) -> None:
    assert targets(*arguments) == found


@pytest.mark.usefixtures("here")
def test_all_of_it_comes_below_a_folder() -> None:
    assert targets("photos/2026", into="shop//2026/") == ["/shop/2026/2026/b.jpg", "/shop/2026/2026/may_day/c.png"]
    with pytest.raises(Refusal, match="folder may hold"):
        plan(["photos"], into="/a.b")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("argument", ["nothing.jpg", "*.gif", "photos/*/*.gif", ""])
def test_an_argument_that_names_no_file_is_an_error(argument: str) -> None:
    with pytest.raises(NothingThereError):
        plan([argument, "note.txt"])


def test_two_files_for_one_place_are_told_and_the_first_goes(here: Path) -> None:
    (here / "a b.jpg").write_text("1")
    (here / "a_b.jpg").write_text("2")
    planned = plan(["a b.jpg", "a_b.jpg"])
    assert [item.target for item in planned.items] == ["/a_b.jpg"]
    assert [str(passed.path) for passed in planned.passed] == ["a_b.jpg"]
    assert "a b.jpg comes to the same place, /a_b.jpg" in planned.passed[0].why


def test_what_cannot_be_sent_is_told(here: Path) -> None:
    os.mkfifo(here / "pipe")
    (here / "dangling").symlink_to("nowhere")
    Path(os.fsdecode(os.fsencode(here) + b"/\xff.jpg")).write_text("x")
    planned = plan([str(here) + "/"])
    assert {passed.why for passed in planned.passed} == {
        "not a regular file",
        "No such file or directory",
        "its name is not UTF-8",
    }
    assert len(planned.items) == 4


def test_links_to_files_are_followed_and_those_to_folders_are_not(here: Path) -> None:
    (here / "photos/note").symlink_to("../note.txt")
    (here / "photos/loop").symlink_to("..")
    assert targets("photos/") == ["/a.jpg", "/note", "/2026/b.jpg", "/2026/may_day/c.png"]
