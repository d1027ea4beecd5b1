"""What only a disk can do to a file store: fill up, fail, be read by others, and outlive a killed worker."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.support.files import content_at, keep, received, record_of
from tokensvc.adapters.disk_files import DiskFiles
from tokensvc.adapters.spool import SpooledFile
from tokensvc.core.errors import Outage
from tokensvc.ports import NameTaken

STEPS = ["mkdir", "open", "write", "fsync", "link", "replace", "unlink"]
"""The calls by which the store changes the disk."""


def files_in(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "files"


def test_one_file_is_one_object_and_one_document(root: Path) -> None:
    keep(DiskFiles(root), b"content", file_id="5f0c1d2e3f405162738495a6")
    assert [path.split("/")[0] for path in files_in(root)] == ["index", "objects"]


def test_nobody_else_can_look_into_the_store(root: Path) -> None:
    before = os.umask(0)
    try:
        store = DiskFiles(root)
        keep(store, b"content")
        incoming = received(store, b"more")
        modes = {stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")] if path.is_dir()}
        assert modes == {0o700}
        assert {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*") if path.is_file()} == {0o600}
        incoming.discard()
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../x",
        "/..",
        "/a/../../x",
        "\\..\\x",
        "/C:/x",
        "/CON",
        "/x\0.png",
        "/" + "x" * 5000,
        "/x.",
        "/%2e%2e/x",
    ],
)
def test_no_path_leads_out_of_the_store(tmp_path: Path, path: str) -> None:
    """Not even one that `core.upload` should never have let through."""
    store = DiskFiles(tmp_path / "deep" / "er" / "files")
    keep(store, b"content", path)
    assert content_at(store, path) == b"content"
    assert {name.split("/")[2] for name in files_in(tmp_path)} == {"files"}
    assert all("x" not in Path(name).name.removesuffix(".json") for name in files_in(tmp_path))


@pytest.mark.parametrize("version_id", ["", "../x", "a/b", "a" * 65, ".", "a\n"])
def test_a_version_id_that_is_no_name_is_not_kept(root: Path, version_id: str) -> None:
    store = DiskFiles(root)
    with pytest.raises(ValueError, match="version id"):
        keep(store, b"content", version_id=version_id)


def test_a_version_id_is_never_given_to_a_second_file(root: Path) -> None:
    store = DiskFiles(root)
    keep(store, b"first", version_id="abc")
    with pytest.raises(Outage):
        keep(store, b"second", "/a/y.png", version_id="abc")
    assert (content_at(store), content_at(store, "/a/y.png")) == (b"first", None)


def test_two_versions_are_two_objects_and_one_document(root: Path) -> None:
    store = DiskFiles(root)
    keep(store, b"first")
    keep(store, b"second", replace=True)
    assert [path.split("/")[0] for path in files_in(root)] == ["index", "objects", "objects"]


def test_sweep_keeps_every_version(root: Path) -> None:
    store = DiskFiles(root)
    for content in (b"first", b"second", b"third"):
        keep(store, content, replace=True)
    before = files_in(root)
    assert store.sweep(now=1 << 40, older_than=0) == 0
    assert files_in(root) == before


def test_a_taken_name_leaves_only_the_incoming_file(root: Path) -> None:
    store = DiskFiles(root)
    keep(store, b"first")
    before = files_in(root)
    incoming = received(store, b"second")
    with pytest.raises(NameTaken):
        store.keep(incoming, record_of(b"second"), replace=False)
    assert len(files_in(root)) == len(before) + 1
    incoming.discard()
    assert files_in(root) == before


def test_a_document_without_its_bytes_is_as_good_as_none(root: Path) -> None:
    store = DiskFiles(root)
    keep(store, b"content")
    next(root.glob("objects/*/*")).unlink()
    assert store.find("default", "/a/x.png") is None


def test_a_document_that_cannot_be_read_is_an_outage(root: Path) -> None:
    store = DiskFiles(root)
    keep(store, b"content")
    next(root.glob("index/*/*")).write_bytes(b"{")
    with pytest.raises(Outage, match="index cannot be read"):
        store.find("default", "/a/x.png")


class Faults:
    """Counts the store's steps, and lets something happen at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, happen: Callable[[], None]) -> None:
        self.steps: list[str] = []
        for name in STEPS:
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name), at, happen))

    def _wrapped(
        self, name: str, real: Callable[..., object], at: int, happen: Callable[[], None]
    ) -> Callable[..., object]:
        def step(*args: object, **kwargs: object) -> object:
            self.steps.append(name)
            if len(self.steps) == at:
                happen()
            return real(*args, **kwargs)

        return step


def upload(store: DiskFiles, *, replace: bool, **changed: str) -> None:
    """A whole upload, as a request does it."""
    incoming = store.receive()
    try:
        incoming.write(b"new content")
        incoming.seal()
        store.keep(incoming, record_of(b"new content", **changed), replace=replace)
    finally:
        incoming.discard()


def outage_of(act: Callable[[], None]) -> Outage | None:
    try:
        act()
    except Outage as outage:
        return outage
    return None


def raise_full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("replace", [False, True])
def test_a_full_disk_at_any_step_is_an_outage_and_leaves_the_old_file_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    """Only at the last fsync, when the file is visible already, it stays; whole."""
    old = b"old" if replace else None
    outcomes = []
    for at in range(1, 100):
        root = tmp_path / str(at)
        store = DiskFiles(root)
        if old is not None:
            keep(store, old)
        before = files_in(root)
        with monkeypatch.context() as patch:
            faults = Faults(patch, at, raise_full)
            outage = outage_of(partial(upload, store, replace=replace))
        content = content_at(store)
        if outage is None:
            assert content == b"new content"
            if len(faults.steps) < at:
                break
        else:
            assert outage.detail == "There is no room left for files."
            assert content != old or files_in(root) == before
            outcomes.append((faults.steps[at - 1], content or b""))
    assert {content for _, content in outcomes} == {old or b"", b"new content"}
    assert [step for step, content in outcomes if content == b"new content"][-1] == "fsync"
    assert sum(content == b"new content" for _, content in outcomes) <= 2  # opening the folder, and its fsync


@pytest.mark.parametrize("early", [False, True])
def test_the_bytes_are_durable_before_they_have_a_name_to_be_kept_by(
    root: Path, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    """And once: who secured them before has nothing left for `keep` to wait for."""
    store, synced = DiskFiles(root), list[str]()
    incoming = store.receive()
    incoming.write(b"content")
    incoming.seal()
    monkeypatch.setattr(os, "fsync", lambda at: synced.append(str(Path(f"/proc/self/fd/{at}").readlink())))
    link = os.link

    def noted(*names: str) -> None:
        synced.append("link")
        link(*names)

    monkeypatch.setattr(os, "link", noted)
    if early:
        incoming.secure()
        assert synced == [str(incoming.path)]
    store.keep(incoming, record_of(b"content"), replace=False)
    assert synced[: synced.index("link")].count(str(incoming.path)) == 1
    assert synced.count(str(incoming.path)) == 1
    assert Path(synced[synced.index("link") + 1]).parent.name == "objects"  # the folder of its name
    assert [Path(path).parent.name for path in synced[-2:]] == ["incoming", "index"]  # the document, and its folder


@pytest.mark.parametrize("raced", [False, True])
def test_a_new_folder_is_durable_before_there_is_something_in_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, raced: bool
) -> None:
    """Even if another worker made it a moment ago, and has not come to that yet. It is not made again."""
    store, mkdir, steps = DiskFiles(root), os.mkdir, list[str]()

    def made(name: str, mode: int) -> None:
        steps.append(f"mkdir {Path(name).parent.name}")
        mkdir(name, mode)
        if raced:
            raise FileExistsError

    monkeypatch.setattr(os, "mkdir", made)
    monkeypatch.setattr(os, "fsync", lambda at: steps.append(Path(f"/proc/self/fd/{at}").readlink().name))
    keep(store, b"first", version_id="the-same")
    assert [step for step in steps if step in {"mkdir index", "index", "mkdir objects", "objects"}] == [
        "mkdir index",
        "index",
        "mkdir objects",
        "objects",
    ]
    steps.clear()
    keep(store, b"second", version_id="another", replace=True)
    assert "mkdir index" not in steps


def test_a_file_that_is_being_received_is_never_opened_by_another(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DiskFiles(root)
    monkeypatch.setattr("secrets.token_hex", lambda count: "ab" * count)
    first = store.receive()
    first.write(b"first")
    with pytest.raises(Outage, match="File exists"):
        store.receive()
    assert first.path.read_bytes() == b"first"
    first.discard()


def test_an_error_of_the_disk_is_an_outage_in_words(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    incoming = DiskFiles(root).receive()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", _raise_io_error)
        with pytest.raises(Outage, match="The file store does not work: Input/output error"):
            incoming.write(b"content")
    incoming.discard()
    assert files_in(root) == []


def _raise_io_error(*_: object) -> int:
    raise OSError(errno.EIO, "Input/output error")


def test_a_write_that_takes_only_a_part_is_carried_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, write = DiskFiles(root), os.write
    monkeypatch.setattr(os, "write", lambda descriptor, rest: write(descriptor, rest[:3]))
    keep(store, b"0123456789")
    assert content_at(store) == b"0123456789"


KILLED = """
import os, sys
from pathlib import Path
import pytest
from tests.adapters.test_disk_files import Faults, upload
from tokensvc.adapters.disk_files import DiskFiles
from tests.support.files import keep

top, replace = Path(sys.argv[1]), sys.argv[2] == "replace"
for at in range(1, 100):
    store = DiskFiles(top / str(at))
    if replace:
        keep(store, b"old")
    child = os.fork()
    if child == 0:
        faults = Faults(pytest.MonkeyPatch(), at, lambda: os._exit(9))
        upload(store, replace=replace, version_id="the-same")
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        print(at)
        break
"""


def killed_at_each_step(tmp_path: Path, mode: str) -> int:
    """How many stores there are now: in each a worker was killed one step later."""
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", KILLED, str(tmp_path), mode],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    last = int(answer.stdout)
    assert last > 10
    return last


@pytest.mark.parametrize("mode", ["keep", "replace"])
def test_wherever_a_worker_was_killed_the_same_version_is_kept_after_it_and_once(tmp_path: Path, mode: str) -> None:
    """Before anything is swept; by two at a time."""
    for at in range(1, killed_at_each_step(tmp_path, mode) + 1):
        root = tmp_path / str(at)
        again = partial(upload, DiskFiles(root), replace=mode == "replace", version_id="the-same")
        with ThreadPoolExecutor(2) as threads:
            for resumed in [threads.submit(again) for _ in range(2)]:
                resumed.result()
        again()
        assert content_at(DiskFiles(root)) == b"new content"
        kept = [path for path in files_in(root) if not path.startswith("incoming")]
        assert len(kept) == (2 if mode == "keep" else 3)
        found = DiskFiles(root).find("default", "/a/x.png")
        assert found is not None
        found[1].close()
        assert found[0].version_name == ("Version 1" if mode == "keep" else "Version 2")


def test_bytes_of_another_file_are_not_taken_for_those_of_a_killed_worker(root: Path) -> None:
    """Nor are they touched: whoever gave two files one version id loses neither."""
    store = DiskFiles(root)
    keep(store, b"first", version_id="the-same")
    incoming = received(store, b"second")
    with pytest.raises(Outage, match="another file has its version id"):
        store.keep(incoming, record_of(b"second", "/b/y.png", version_id="the-same"), replace=False)
    incoming.discard()
    assert content_at(store) == b"first"
    assert content_at(store, "/b/y.png") is None


@pytest.mark.parametrize("mode", ["keep", "replace"])
def test_a_worker_killed_at_any_step_leaves_the_old_file_or_the_new_and_sweep_the_rest(
    tmp_path: Path, mode: str
) -> None:
    last = killed_at_each_step(tmp_path, mode)
    old = b"old" if mode == "replace" else None
    seen = []
    for at in range(1, last + 1):
        store = DiskFiles(tmp_path / str(at))
        seen.append(content_at(store))
        for path in (tmp_path / str(at)).rglob("*"):
            if path.is_file():
                os.utime(path, (1000, 1000))
        store.sweep(now=5000, older_than=3600)
        assert content_at(store) == seen[-1]
        assert (
            len(files_in(tmp_path / str(at)))
            == ({None: 0, b"old": 2, b"new content": 2 if old is None else 3}[seen[-1]])
        )
    published = seen.index(b"new content")
    assert seen == [old] * published + [b"new content"] * (last - published)
    upload(DiskFiles(tmp_path / "1"), replace=True)
    assert content_at(DiskFiles(tmp_path / "1")) == b"new content"


def test_sweep_takes_what_is_older_and_not_what_is_younger_or_kept(root: Path) -> None:
    store = DiskFiles(root)
    keep(store, b"kept")
    old, young = received(store, b"old"), received(store, b"young")
    assert isinstance(old, SpooledFile)
    assert isinstance(young, SpooledFile)
    lost = root / "objects" / "ab" / "abcdef"
    lost.parent.mkdir(exist_ok=True)
    lost.write_bytes(b"lost")
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (1000, 1000))
    os.utime(young.path, (1001, 1001))
    assert store.sweep(now=4601, older_than=3600) == 2
    assert not lost.exists()
    assert not old.path.exists()
    assert (content_at(store), len(files_in(root))) == (b"kept", 3)
    assert store.sweep(now=4601, older_than=3600) == 0
    young.discard()


def test_sweep_removes_no_object_while_a_document_cannot_be_read(root: Path) -> None:
    store = DiskFiles(root)
    keep(store, b"content")
    next(root.glob("index/*/*")).write_bytes(b"{")
    with pytest.raises(Outage):
        store.sweep(now=1 << 40, older_than=0)
    assert len(files_in(root)) == 2
