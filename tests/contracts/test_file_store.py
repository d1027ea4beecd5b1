"""`ports.FileStore`, over every adapter: a file is visible whole or not at all, and a path has one file."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import pytest

from tests.support.files import content_at, keep, received, record_of
from tests.support.object_store import BUCKET, ObjectStore, client_environment
from tokensvc.adapters.disk_files import DiskFiles
from tokensvc.adapters.s3_files import S3Files, s3_bucket
from tokensvc.core.errors import Outage, Refusal
from tokensvc.core.upload import StoredFile
from tokensvc.ports import FileStore, NameTaken


def on_disk(_: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    return DiskFiles(tmp_path / "files")


def in_bucket(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    server: ObjectStore = request.getfixturevalue("object_store")
    with client_environment(server.environment):
        return S3Files(s3_bucket(BUCKET, f"tests/{secrets.token_hex(8)}", allow_http=True), tmp_path / "incoming")


@pytest.fixture(params=[on_disk, in_bucket])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    make: Callable[[pytest.FixtureRequest, Path], FileStore] = request.param
    return make(request, tmp_path)


def test_a_kept_file_is_found_with_its_record_and_its_bytes(store: FileStore) -> None:
    file = keep(store, b"content")
    found = store.find("default", "/a/x.png")
    assert found is not None
    with found[1] as handle:
        assert (found[0], handle.read()) == (file, b"content")


def test_an_empty_file_is_a_file(store: FileStore) -> None:
    keep(store, b"")
    assert content_at(store) == b""


def test_what_was_never_kept_is_not_found(store: FileStore) -> None:
    keep(store, b"content")
    assert store.find("default", "/a/y.png") is None
    assert store.find("default", "/a") is None
    assert store.find("default", "") is None


def test_a_path_is_a_path_of_one_account(store: FileStore) -> None:
    keep(store, b"ours")
    keep(store, b"theirs", account="other")
    assert content_at(store) == b"ours"
    assert content_at(store, account="other") == b"theirs"


def test_paths_are_told_apart_by_case_and_by_every_character(store: FileStore) -> None:
    paths = ["/a/x.png", "/a/X.png", "/a/x.png/", "//a/x.png", "/a/ä.png", "/a/a\u0308.png", "/a/../a/x.png"]
    for number, path in enumerate(paths):
        keep(store, bytes([number]), path)
    assert [content_at(store, path) for path in paths] == [bytes([number]) for number in range(len(paths))]


def test_nothing_is_visible_before_keep(store: FileStore) -> None:
    received(store, b"content")
    assert content_at(store) is None


def test_an_incoming_file_is_counted_hashed_and_read_back_from_the_start(store: FileStore) -> None:
    incoming = store.receive()
    incoming.write(b"con")
    assert incoming.size == 3
    incoming.write(b"tent")
    assert incoming.size == 7
    assert incoming.seal() == incoming.seal() == hashlib.sha256(b"content").hexdigest()
    for _ in range(2):
        with incoming.open() as handle:
            assert handle.read() == b"content"
    incoming.discard()


def test_a_sealed_file_may_be_secured_before_it_is_kept_and_again(store: FileStore) -> None:
    incoming = received(store, b"content")
    incoming.secure()
    incoming.secure()
    with pytest.raises(ValueError, match="sealed"):
        incoming.write(b"more")
    assert incoming.seal() == hashlib.sha256(b"content").hexdigest()
    store.keep(incoming, record_of(b"content"), replace=False)
    incoming.secure()
    assert content_at(store) == b"content"


def test_a_sealed_file_takes_no_more_bytes(store: FileStore) -> None:
    incoming = received(store, b"content")
    with pytest.raises(ValueError, match="sealed"):
        incoming.write(b"more")


def test_a_discarded_file_is_gone_and_may_be_discarded_again(store: FileStore) -> None:
    sealed, unsealed = received(store, b"content"), store.receive()
    for incoming in (sealed, unsealed):
        incoming.discard()
        incoming.discard()
    with pytest.raises(ValueError, match="discarded"):
        unsealed.write(b"more")
    with pytest.raises(ValueError, match="discarded"):
        unsealed.seal()


def test_discard_leaves_a_kept_file_alone(store: FileStore) -> None:
    incoming = received(store, b"content")
    store.keep(incoming, record_of(b"content"), replace=False)
    incoming.discard()
    assert content_at(store) == b"content"


def test_an_unsealed_file_is_not_kept(store: FileStore) -> None:
    incoming = store.receive()
    incoming.write(b"content")
    with pytest.raises(ValueError, match="sealed"):
        store.keep(incoming, record_of(b"content"), replace=False)
    incoming.discard()


def test_a_record_of_other_bytes_is_not_kept(store: FileStore) -> None:
    incoming = received(store, b"content")
    with pytest.raises(ValueError, match="other bytes"):
        store.keep(incoming, record_of(b"Content"), replace=False)
    assert content_at(store) is None


def test_a_taken_name_is_answered_and_changes_nothing(store: FileStore) -> None:
    keep(store, b"first")
    with pytest.raises(NameTaken):
        keep(store, b"second")
    assert content_at(store) == b"first"


def test_after_a_taken_name_the_file_can_be_kept_under_another(store: FileStore) -> None:
    keep(store, b"first")
    incoming = received(store, b"second")
    with pytest.raises(NameTaken):
        store.keep(incoming, record_of(b"second"), replace=False)
    store.keep(incoming, record_of(b"second", "/a/y.png"), replace=False)
    assert (content_at(store), content_at(store, "/a/y.png")) == (b"first", b"second")


def test_replace_puts_the_new_file_in_place_of_the_old(store: FileStore) -> None:
    keep(store, b"first")
    file = keep(store, b"second", replace=True)
    found = store.find("default", "/a/x.png")
    assert found is not None
    found[1].close()
    assert (found[0], content_at(store)) == (file, b"second")


def content_of(store: FileStore, version_id: str) -> bytes | None:
    found = store.find("default", "/a/x.png", version_id)
    if found is None:
        return None
    with found[1] as handle:
        assert found[0].version_id == version_id
        return handle.read()


def test_a_replaced_file_stays_as_an_earlier_version(store: FileStore) -> None:
    files = [keep(store, content, replace=True) for content in (b"first", b"second", b"third")]
    assert {file.file_id for file in files} == {files[0].file_id}
    assert [file.version_name for file in files] == ["Version 1", "Version 2", "Version 3"]
    assert [content_of(store, file.version_id) for file in files] == [b"first", b"second", b"third"]
    assert content_at(store) == b"third"
    for unknown in ("x", files[0].file_id, "../x"):
        assert store.find("default", "/a/x.png", unknown) is None


def test_a_version_belongs_to_one_path_of_one_account(store: FileStore) -> None:
    file, other, theirs = keep(store, b"1"), keep(store, b"2", "/a/y.png"), keep(store, b"3", account="other")
    assert content_of(store, file.version_id) == b"1"
    assert content_of(store, other.version_id) is None
    assert content_of(store, theirs.version_id) is None


def test_there_are_a_hundred_versions_and_no_more(store: FileStore) -> None:
    for number in range(100):
        last = keep(store, str(number).encode(), replace=True)
    assert last.version_name == "Version 100"
    incoming = received(store, b"more")
    with pytest.raises(Refusal) as refused:
        store.keep(incoming, record_of(b"more"), replace=True)
    incoming.discard()
    assert refused.value.detail == "The file at that path has 100 versions, and may not have more."
    assert content_at(store) == b"99"


def test_of_many_that_replace_one_path_at_once_each_becomes_a_version(store: FileStore) -> None:
    contents = [f"content {number}".encode() for number in range(20)]
    start = Barrier(len(contents))

    def race(content: bytes) -> str:
        incoming = received(store, content)
        start.wait()
        return store.keep(incoming, record_of(content), replace=True).version_id

    with ThreadPoolExecutor(len(contents)) as pool:
        kept = list(pool.map(race, contents))
    assert [content_of(store, version_id) for version_id in kept] == contents
    found = store.find("default", "/a/x.png")
    assert found is not None
    found[1].close()
    assert found[0].version_name == "Version 20"
    assert {earlier.version_id for earlier in found[0].earlier} | {found[0].version_id} == set(kept)


@pytest.mark.parametrize("replace", [False, True])
def test_the_same_version_is_kept_once_however_often_it_comes(store: FileStore, replace: bool) -> None:
    """As it was kept the first time, also when another has taken its place since."""
    first = keep(store, b"content", version_id="v1", uploaded_at=1)
    again = received(store, b"content")
    assert store.keep(again, record_of(b"content", version_id="v1", uploaded_at=2), replace=replace) == first
    later = keep(store, b"later", replace=True)
    third = received(store, b"content")
    assert store.keep(third, record_of(b"content", version_id="v1"), replace=replace).version_id == "v1"
    assert content_at(store) == b"later"
    assert later.version_name == "Version 2"


def test_of_many_that_keep_the_same_version_at_once_all_are_told_of_one(store: FileStore) -> None:
    start = Barrier(20)

    def race(number: int) -> StoredFile:
        incoming = received(store, b"content")
        start.wait()
        return store.keep(incoming, record_of(b"content", version_id="v1", uploaded_at=number), replace=False)

    with ThreadPoolExecutor(20) as pool:
        kept = list(pool.map(race, range(20)))
    assert all(one == kept[0] for one in kept)
    assert content_at(store) == b"content"


def test_replace_of_nothing_is_keep(store: FileStore) -> None:
    keep(store, b"first", replace=True)
    assert content_at(store) == b"first"


def test_who_reads_a_file_while_it_is_replaced_reads_it_to_its_end(store: FileStore) -> None:
    keep(store, b"first")
    found = store.find("default", "/a/x.png")
    assert found is not None
    keep(store, b"second", replace=True)
    with found[1] as handle:
        assert handle.read() == b"first"


def test_of_fifty_that_keep_one_path_at_once_exactly_one_does(store: FileStore) -> None:
    contents = [f"content {number}".encode() * 500 for number in range(50)]
    start = Barrier(len(contents))

    def race(content: bytes) -> bytes | None:
        incoming = received(store, content)
        start.wait()
        try:
            store.keep(incoming, record_of(content), replace=False)
        except NameTaken:
            incoming.discard()
            return None
        return content

    with ThreadPoolExecutor(len(contents)) as pool:
        winners = [content for content in pool.map(race, contents) if content is not None]
    assert len(winners) == 1
    assert content_at(store) == winners[0]


def test_a_path_that_is_replaced_all_the_time_always_holds_one_whole_file(store: FileStore) -> None:
    keep(store, b"0" * 4096)
    done = Event()

    def replace_often(letter: bytes) -> None:
        for number in range(1, 16):
            keep(store, letter * 4096 * number, replace=True)

    def read_often() -> int:
        reads = 0
        while not done.is_set():
            content = content_at(store)
            assert content is not None
            assert len(set(content)) == 1
            reads += 1
        return reads

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read_often) for _ in range(3)]
        try:
            list(pool.map(replace_often, [b"a", b"b", b"c", b"d"]))
        finally:
            done.set()
        assert all(reader.result() > 0 for reader in readers)


def test_a_sweep_touches_nothing_that_is_kept_or_being_received(store: FileStore) -> None:
    for content in (b"first", b"second"):
        last = keep(store, content, replace=True)
    incoming = received(store, b"content")
    assert store.sweep(int(time.time()), 3600) == 0
    assert content_of(store, last.earlier[0].version_id) == b"first"
    assert content_at(store) == b"second"
    store.keep(incoming, record_of(b"content", "/a/y.png"), replace=False)
    assert content_at(store, "/a/y.png") == b"content"


def test_a_sweep_takes_what_nobody_has_written_to_for_long(store: FileStore) -> None:
    keep(store, b"kept")
    left = received(store, b"left by a worker that is gone")
    assert store.sweep(int(time.time()) + 3601, 3600) == 1
    with pytest.raises(Outage):
        left.open()
    assert content_at(store) == b"kept"


def test_content_is_read_from_anywhere(store: FileStore) -> None:
    content = bytes(range(256)) * 9000
    keep(store, content)
    found = store.find("default", "/a/x.png")
    assert found is not None
    with found[1] as handle:
        assert handle.seekable()
        assert (handle.seek(2_000_000), handle.read(300)) == (2_000_000, content[2_000_000:2_000_300])
        assert (handle.seek(-5, 2), handle.read()) == (len(content) - 5, content[-5:])
        assert (handle.seek(len(content) + 7), handle.read(1)) == (len(content) + 7, b"")
        assert (handle.seek(1), handle.read(1), handle.tell()) == (1, content[1:2], 2)
