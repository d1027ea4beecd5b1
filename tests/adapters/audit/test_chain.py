"""An audit tells what was done to it: one line altered, removed, put in, moved, with and without the key."""

from __future__ import annotations

import gzip
import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from tokensvc.adapters.audit import AuditFile, Report, Seal, verify
from tokensvc.adapters.audit.chain import Head
from tokensvc.adapters.audit.file import head_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LINES = 9
SEALS = {"plain": Seal(), "keyed": Seal(b"k" * 32)}


@pytest.fixture(params=SEALS)
def seal(request: pytest.FixtureRequest) -> Seal:
    return SEALS[request.param]


def audit(folder: Path, seal: Seal) -> AuditFile:
    return AuditFile(folder / "audit.jsonl", seal, lambda: 1_700_000_000.25)


@pytest.fixture
def written(tmp_path: Path, seal: Seal) -> Path:
    """An audit of nine lines."""
    file = audit(tmp_path, seal)
    for number in range(1, LINES + 1):
        file.append("issued", {"nonce": f"nonce{number}", "subject": "ü\n\x1b", "size": number, "left_out": None})
    return file.path


def change(path: Path, how: Callable[[list[bytes]], object]) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    how(lines)
    path.write_bytes(b"".join(lines))


def told(report: Report) -> list[tuple[int, str]]:
    return [(finding.place.line, finding.what) for finding in report.faults]


def test_an_untouched_one_is_intact(written: Path, seal: Seal) -> None:
    report = verify([written], seal)
    assert (report.intact, report.lines, report.first, report.last.number) == (True, LINES, 1, LINES)
    assert (report.faults, report.notes) == ([], [])


def test_a_line_is_json_with_its_number_time_event_and_seals(written: Path) -> None:
    first = written.read_bytes().splitlines()[0]
    assert first.startswith(
        b'{"n": 1, "time": "2023-11-14T22:13:20.250000Z", "event": "issued", "nonce": "nonce1", '
        b'"subject": "\\u00fc\\n\\u001b", "size": 1, "before": "' + b"0" * 64 + b'", "'
    )


def test_the_seal_without_a_key_can_be_made_by_hand(tmp_path: Path) -> None:
    audit(tmp_path, Seal()).append("issued", {})
    body, _, end = (tmp_path / "audit.jsonl").read_text().partition(', "sha256": "')
    assert end == hashlib.sha256(body.encode()).hexdigest() + '"}\n'


@pytest.mark.parametrize("number", [1, 2, 5, LINES])
@pytest.mark.parametrize(
    "place", [b'"issued"', b'"nonce', b"2023-", b'"before": "', b'": "'], ids=["event", "fact", "time", "before", "end"]
)
def test_one_altered_line_is_named(written: Path, seal: Seal, number: int, place: bytes) -> None:
    def alter(lines: list[bytes]) -> None:
        line = bytearray(lines[number - 1])
        at = line.rindex(place) + len(place)
        line[at] = ord("1") if line[at] != ord("1") else ord("2")
        lines[number - 1] = bytes(line)

    change(written, alter)
    (fault,) = told(verify([written], seal))
    assert fault[0] == number
    assert "was altered" in fault[1]


@pytest.mark.parametrize("number", [1, 5, LINES])
def test_a_line_that_is_nonsense_now_is_named(written: Path, seal: Seal, number: int) -> None:
    change(written, lambda lines: lines.__setitem__(number - 1, b"nonsense\n"))
    assert told(verify([written], seal)) == [(number, "was altered: it is no line of an audit")]


@pytest.mark.parametrize(("first", "count"), [(2, 1), (5, 1), (4, 3), (8, 1)])
def test_removed_lines_are_counted_where_they_are_missing(written: Path, seal: Seal, first: int, count: int) -> None:
    change(written, lambda lines: lines.__delitem__(slice(first - 1, first - 1 + count)))
    lines = "1 line is" if count == 1 else f"{count} lines are"
    assert told(verify([written], seal)) == [(first, f"{lines} missing before this one, number {first + count}")]


def test_lines_removed_at_the_end_are_missing_by_what_the_file_beside_says(written: Path, seal: Seal) -> None:
    change(written, lambda lines: lines.__delitem__(slice(7, None)))
    assert told(verify([written], seal)) == [(7, "2 lines are missing after this one, at the end")]


def test_lines_removed_at_the_start_are_older_files_that_were_not_given(written: Path, seal: Seal) -> None:
    change(written, lambda lines: lines.__delitem__(slice(0, 2)))
    report = verify([written], seal)
    assert report.intact
    assert [note.what for note in report.notes] == ["begins with number 3: older files were not given"]


@pytest.mark.parametrize("after", [1, 5, 8])
def test_a_line_that_was_put_in_is_named(written: Path, seal: Seal, after: int) -> None:
    change(written, lambda lines: lines.insert(after, lines[after].replace(b"nonce", b"forged")))
    (fault,) = told(verify([written], seal))
    assert fault == (after + 1, "was put in later: the lines before and after it belong together")


def test_a_line_that_was_put_in_with_a_seal_of_its_own_is_named(written: Path, seal: Seal) -> None:
    """Whoever has no key can do that only to an audit without one."""

    def put_in(lines: list[bytes]) -> None:
        fourth = seal.read(lines[3].rstrip())
        assert fourth is not None
        lines.insert(4, seal.line(fourth.head, "2023", "issued", {"nonce": "forged"})[0])

    change(written, put_in)
    assert told(verify([written], seal)) == [(5, "was put in later: the line after it builds on the one before")]


def test_a_line_that_was_altered_and_sealed_anew_is_named(written: Path, seal: Seal) -> None:
    def forge(lines: list[bytes]) -> None:
        fourth = seal.read(lines[3].rstrip())
        assert fourth is not None
        lines[4] = seal.line(fourth.head, "2023", "issued", {"nonce": "forged"})[0]

    change(written, forge)
    assert told(verify([written], seal)) == [(5, "was altered and sealed anew: number 6 builds on another line")]


def test_a_repeated_line_is_named(written: Path, seal: Seal) -> None:
    change(written, lambda lines: lines.insert(6, lines[1]))
    assert told(verify([written], seal)) == [(7, "does not belong here: it is number 2, after number 6")]


def test_swapped_lines_are_named(written: Path, seal: Seal) -> None:
    change(written, lambda lines: lines.__setitem__(slice(3, 5), [lines[4], lines[3]]))
    assert not verify([written], seal).intact


def test_who_has_no_key_cannot_write_the_whole_audit_anew(tmp_path: Path) -> None:
    audit(tmp_path, Seal()).append("issued", {"nonce": "forged"})
    report = verify([tmp_path / "audit.jsonl"], SEALS["keyed"])
    assert told(report) == [(1, "is sealed without the key")]
    assert not report.intact


@pytest.mark.parametrize("name", [b"sha256", b"hmac"])
def test_even_the_name_of_the_seal_cannot_be_altered(written: Path, seal: Seal, name: bytes) -> None:
    old = seal.kind.encode()
    change(written, lambda lines: lines.__setitem__(4, lines[4].replace(b'"%s": ' % old, b'"%s": ' % name)))
    assert verify([written], seal).intact is (name == old)


@pytest.mark.parametrize("wrong", [Seal(), Seal(b"j" * 32)])
def test_another_key_or_none_finds_nothing_genuine(tmp_path: Path, wrong: Seal) -> None:
    audit(tmp_path, SEALS["keyed"]).append("issued", {})
    report = verify([tmp_path / "audit.jsonl"], wrong)
    assert not report.intact
    assert report.wrong_key is (wrong.kind == "sha256")


def test_no_repr_shows_the_key() -> None:
    assert repr(Seal(b"CANARY" * 6)) == "<Seal hmac>"


# Rotation


def test_the_chain_goes_on_over_files_in_whatever_order_they_are_given(tmp_path: Path, seal: Seal) -> None:
    file = audit(tmp_path, seal)
    for part in range(3):
        for _ in range(3):
            file.append("issued", {"part": part})
        if part < 2:
            file.path.rename(tmp_path / f"audit.jsonl.{part}")
    packed = tmp_path / "audit.jsonl.0.gz"
    packed.write_bytes(gzip.compress((tmp_path / "audit.jsonl.0").read_bytes()))
    files = [file.path, tmp_path / "audit.jsonl.1", packed]
    report = verify(files, seal)
    assert (report.intact, report.notes, report.first, report.last.number) == (True, [], 1, 9)
    assert told(verify([files[0], files[2]], seal)) == [(1, "3 lines are missing before this one, number 7")]
    assert verify([files[1]], seal).first == 4


def test_a_file_that_was_copied_and_emptied_goes_on_too(written: Path, seal: Seal, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(written.read_bytes())
    os.truncate(written, 0)
    audit(tmp_path, seal).append("issued", {})
    assert verify([tmp_path / "old", written], seal).intact
    assert verify([written], seal).first == LINES + 1


# Crashes


@pytest.mark.parametrize("cut", [2, 30, 100])
def test_a_line_that_a_crash_cut_short_stays_and_the_next_says_so(written: Path, seal: Seal, cut: int) -> None:
    whole = written.read_bytes()
    next_line, _ = seal.line(_head(written, seal), "2023", "issued", {"nonce": "lost", "long": "x" * 100})
    written.write_bytes(whole + next_line[:-cut])
    unfinished = verify([written], seal)
    assert unfinished.intact
    assert [note.what for note in unfinished.notes] == ["is not finished: it is being written, or a crash cut it short"]
    audit(written.parent, seal).append("issued", {"nonce": "next"})
    report = verify([written], seal)
    assert report.intact, told(report)
    assert [(note.place.line, note.what) for note in report.notes] == [
        (LINES + 1, "was cut short by a crash, as the next line says")
    ]
    assert report.last.number == LINES + 2
    change(written, lambda lines: lines.__setitem__(LINES, lines[LINES][:-2] + b"?\n"))
    assert not verify([written], seal).intact, "what is left of it cannot be altered either"


def test_a_line_of_which_only_the_break_is_missing_is_whole(written: Path, seal: Seal) -> None:
    written.write_bytes(written.read_bytes()[:-1])
    audit(written.parent, seal).append("issued", {})
    report = verify([written], seal)
    assert (report.faults, report.notes, report.last.number) == ([], [], LINES + 1)


@pytest.mark.parametrize("state", ["lost", "old", "nonsense"])
def test_the_file_beside_may_be_behind_or_lost(written: Path, seal: Seal, state: str) -> None:
    beside = head_path(written)
    old = beside.read_bytes()
    audit(written.parent, seal).append("issued", {})
    match state:
        case "lost":
            beside.unlink()
        case "old":
            beside.write_bytes(old)
        case _:
            beside.write_bytes(b"?" * 200)
    audit(written.parent, seal).append("issued", {})
    report = verify([written], seal)
    assert report.intact, told(report)
    assert report.last.number == LINES + 2


def _head(path: Path, seal: Seal) -> Head:
    line = seal.read(path.read_bytes().splitlines()[-1])
    assert line is not None
    return line.head


# Disks


def test_what_does_not_fit_on_the_disk_leaves_no_part_of_a_line(
    written: Path, seal: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, before = os.write, written.read_bytes()
    calls: list[int] = []

    def write(descriptor: int, text: bytes) -> int:
        calls.append(descriptor)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(descriptor, text[:10])

    with monkeypatch.context() as full:
        full.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space left"):
            audit(written.parent, seal).append("issued", {})
    assert written.read_bytes() == before
    audit(written.parent, seal).append("issued", {})
    assert verify([written], seal).last.number == LINES + 1


@pytest.mark.parametrize("sync", [True, False])
def test_a_line_is_on_the_disk_before_append_returns_if_so_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    file = AuditFile(tmp_path / "a", Seal(), lambda: 0.0, sync=sync)
    file.append("issued", {})
    assert bool(synced) is sync


def test_many_lines_are_one_sync_and_one_chain_or_none_of_them_is_there(
    tmp_path: Path, seal: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    file = audit(tmp_path, seal)
    with monkeypatch.context() as watched:
        watched.setattr(os, "fdatasync", synced.append)
        file.append("issued", *({"nonce": f"n{number}"} for number in range(100)))
    assert len(synced) == 1
    report = verify([file.path], seal)
    assert (report.intact, report.last.number) == (True, 100)
    with monkeypatch.context() as full:
        full.setattr(os, "write", fail)
        with pytest.raises(OSError, match="No space left"):
            file.append("issued", {}, {})
    assert verify([file.path], seal) == report


def fail(*_arguments: object) -> int:
    raise OSError(28, "No space left on device")


def test_only_the_owner_may_read_it(written: Path) -> None:
    assert {written.stat().st_mode & 0o777, head_path(written).stat().st_mode & 0o777} == {0o600}


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        audit(tmp_path, Seal()).append("issued", {})
