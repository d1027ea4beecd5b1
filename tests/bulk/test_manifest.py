"""The manifest: what it tells, whatever moment the run was killed at."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tokensvc.bulk.manifest import Manifest, ManifestError
from tokensvc.bulk.plan import Item, plan

if TYPE_CHECKING:
    from pathlib import Path

TO = "https://upload.example/api/v1/files/upload"
SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def item(path: Path, text: str = "abc") -> Item:
    path.write_text(text)
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    return plan([str(path)]).items[0]


def test_it_tells_what_was_begun_and_what_was_stored(tmp_path: Path) -> None:
    first, second = item(tmp_path / "a.txt"), item(tmp_path / "b.txt")
    with Manifest(tmp_path / "m", TO) as manifest:
        assert (manifest.begun(first), manifest.stored(first)) == (False, False)
        manifest.note_begun(first)
        manifest.note_begun(second)
        assert (manifest.begun(first), manifest.stored(first)) == (True, False)
        manifest.note_stored(first, SHA256_OF_ABC, {"fileId": "f", "url": "u", "size": 3})
    with Manifest(tmp_path / "m", TO) as manifest:
        assert (manifest.begun(first), manifest.stored(first)) == (False, True)
        assert (manifest.begun(second), manifest.stored(second)) == (True, False)
        manifest.note_refused(second, "too large")
    with Manifest(tmp_path / "m", TO) as manifest:
        assert (manifest.begun(second), manifest.stored(second)) == (False, False)
    lines = [json.loads(line) for line in (tmp_path / "m").read_text().splitlines()]
    assert lines[2] == {
        "event": "stored",
        "to": TO,
        "target": "/a.txt",
        "path": str(tmp_path / "a.txt"),
        "size": 3,
        "modified_ns": 1_700_000_000_123_456_789,
        "sha256": SHA256_OF_ABC,
        "fileId": "f",
        "url": "u",
    }
    assert (tmp_path / "m").stat().st_mode & 0o777 == 0o600


def test_a_file_is_the_same_by_its_time_or_by_its_bytes(tmp_path: Path) -> None:
    before = item(tmp_path / "a.txt")
    with Manifest(tmp_path / "m", TO) as manifest:
        manifest.note_stored(before, SHA256_OF_ABC, {})
    with Manifest(tmp_path / "m", TO) as manifest:
        assert manifest.stored(before)
        os.utime(before.path, ns=(0, 1))
        assert manifest.stored(plan([str(before.path)]).items[0])
        before.path.write_text("abd")
        assert not manifest.stored(plan([str(before.path)]).items[0])
        before.path.write_text("abcd")
        assert not manifest.stored(plan([str(before.path)]).items[0])
        manifest.note_begun(before)
        assert not manifest.begun(plan([str(before.path)]).items[0])


def test_what_went_to_another_endpoint_is_not_here(tmp_path: Path) -> None:
    one = item(tmp_path / "a.txt")
    with Manifest(tmp_path / "m", TO) as manifest:
        manifest.note_stored(one, SHA256_OF_ABC, {})
    with Manifest(tmp_path / "m", "https://other.example/api/v1/files/upload") as manifest:
        assert not manifest.stored(one)


def test_a_line_that_was_being_written_is_cut_off_wherever_it_was(tmp_path: Path) -> None:
    one, two, path = item(tmp_path / "a.txt"), item(tmp_path / "b.txt"), tmp_path / "m"
    with Manifest(path, TO) as manifest:
        manifest.note_stored(one, SHA256_OF_ABC, {})
    whole = path.read_bytes()
    with Manifest(path, TO) as manifest:
        manifest.note_begun(two)
    for length in range(len(whole), path.stat().st_size):
        os.truncate(path, length)
        with Manifest(path, TO) as manifest:
            assert manifest.stored(one)
            assert not manifest.begun(two)
            assert path.read_bytes() == whole
            manifest.note_begun(two)


@pytest.mark.parametrize("text", ["Dear Sir,\n", "{}\n", '{"event": "stored"}\n', "[1]\n", "\n"])
def test_another_file_is_not_taken_for_one_and_not_written_to(tmp_path: Path, text: str) -> None:
    (tmp_path / "m").write_text(text)
    with pytest.raises(ManifestError, match="line 1 cannot be read"):
        Manifest(tmp_path / "m", TO)
    assert (tmp_path / "m").read_text() == text


def test_two_runs_do_not_share_one(tmp_path: Path) -> None:
    with Manifest(tmp_path / "m", TO), pytest.raises(ManifestError, match="used by another upload"):
        Manifest(tmp_path / "m", TO)
    Manifest(tmp_path / "m", TO).close()


def test_where_none_can_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be used: No such file or directory"):
        Manifest(tmp_path / "no" / "m", TO)
