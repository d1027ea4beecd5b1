"""Which events are kept, and that a yes which cannot be kept is none."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from tokensvc.adapters.audit import AUDITED, PERMISSIONS, Audited, AuditFile, Seal, verify
from tokensvc.adapters.logs import about
from tokensvc.core.errors import Outage
from tokensvc.core.nonces import NonceId
from tokensvc.core.trail import Trail
from tokensvc.ports import Audit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class Notes(Audit):
    """What was passed on."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, str | int | None]]] = []

    def note(self, event: str, facts: Mapping[str, str | int | None]) -> None:
        self.events.append((event, dict(facts)))


def here(function: Callable[..., object], *arguments: object) -> object:
    return function(*arguments)


def file_in(folder: Path) -> AuditFile:
    return AuditFile(folder / "audit", Seal(), lambda: 0.0, sync=False)


@pytest.mark.parametrize("event", sorted(AUDITED))
def test_what_becomes_of_credentials_is_kept_with_the_request_and_passed_on(tmp_path: Path, event: str) -> None:
    about.begin(Trail("12" * 12, "34" * 16))
    notes = Notes()
    Audited(notes, file_in(tmp_path), here).note(event, {"subject": "u1", "nonce": "n", "code": None})
    line = json.loads((tmp_path / "audit").read_text())
    assert {name: line[name] for name in ("event", "request", "trace", "subject", "nonce")} == {
        "event": event,
        "request": "12" * 12,
        "trace": "34" * 16,
        "subject": "u1",
        "nonce": "n",
    }
    assert "ms" not in line
    assert notes.events == [(event, {"subject": "u1", "nonce": "n", "code": None})]


@pytest.mark.parametrize("event", ["refused", "outage", "failed", "breaker_opened", "keys_fetched"])
def test_what_strangers_can_cause_at_will_is_not_kept(tmp_path: Path, event: str) -> None:
    notes = Notes()
    Audited(notes, file_in(tmp_path), here).note(event, {})
    assert not (tmp_path / "audit").exists()
    assert notes.events == [(event, {})]


def test_a_secret_that_comes_along_is_taken_out(tmp_path: Path) -> None:
    Audited(Notes(), file_in(tmp_path), here).note("issued", {"subject": "tsk_CANARY0123"})
    assert "CANARY" not in (tmp_path / "audit").read_text()


@pytest.mark.parametrize("event", sorted(PERMISSIONS))
def test_a_yes_that_cannot_be_kept_is_an_outage_and_never_told_as_a_yes(tmp_path: Path, event: str) -> None:
    notes = Notes()
    audited = Audited(notes, file_in(tmp_path / "nowhere"), here)
    with pytest.raises(Outage, match="audit file cannot be written"):
        audited.note(event, {})
    assert notes.events == [("audit_missed", {"missed": event, "reason": "No such file or directory"})]


def test_each_of_a_batch_is_kept_in_a_line_of_its_own_and_none_if_one_cannot_be(tmp_path: Path) -> None:
    notes, nonces = Notes(), [NonceId("n1"), NonceId("n2")]
    Audited(notes, file_in(tmp_path), here).note_each("issued", {"subject": "tsk_CANARY0123"}, nonces)
    kept = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    assert [(line["n"], line["nonce"], line["subject"]) for line in kept] == [
        (1, "n1", "[redacted]"),
        (2, "n2", "[redacted]"),
    ]
    assert [facts["nonce"] for _, facts in notes.events] == nonces
    with pytest.raises(Outage, match="audit file cannot be written"):
        Audited(Notes(), file_in(tmp_path / "nowhere"), here).note_each("issued", {}, nonces)


@pytest.mark.parametrize("event", sorted(AUDITED - PERMISSIONS))
def test_a_no_that_cannot_be_kept_is_answered_and_told_as_missed(tmp_path: Path, event: str) -> None:
    notes = Notes()
    Audited(notes, file_in(tmp_path / "nowhere"), here).note(event, {})
    assert [told for told, _ in notes.events] == ["audit_missed", event]


@pytest.mark.parametrize("event", sorted(PERMISSIONS))
def test_an_operator_may_decide_to_go_on_without(tmp_path: Path, event: str) -> None:
    notes = Notes()
    Audited(notes, file_in(tmp_path / "nowhere"), here, refuses=False).note(event, {})
    assert [told for told, _ in notes.events] == ["audit_missed", event]


def test_threads_add_lines_to_one_chain(tmp_path: Path) -> None:
    file = file_in(tmp_path)

    def add() -> None:
        for _ in range(50):
            AuditFile(file.path, Seal(), lambda: 0.0, sync=False).append("issued", {})

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = verify([file.path], Seal())
    assert (report.intact, report.last.number) == (True, 300)
