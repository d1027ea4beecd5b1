"""A line is a line: one write, ASCII, and with what every line has."""

from __future__ import annotations

import contextvars
import io
import json
import logging
import os
import select
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from tokensvc.adapters.event_log import ERRORS, WARNINGS, EventLog
from tokensvc.adapters.logs import about, lines
from tokensvc.core.nonces import NonceId
from tokensvc.core.trail import Trail


def said(event: str, **facts: str | int | None) -> str:
    with lines.written_to(io.StringIO()) as stream:
        EventLog().note(event, facts)
    return stream.getvalue()


def test_an_event_says_when_how_grave_what_and_in_which_request() -> None:
    about.begin(Trail("12" * 12, "34" * 16, "56" * 8))
    line = json.loads(said("issued", subject="u1", profile="default", code=None))
    assert list(line) == ["time", "level", "event", "request", "trace", "parent", "ms", "subject", "profile"]
    assert (line["request"], line["trace"], line["parent"]) == ("12" * 12, "34" * 16, "56" * 8)
    assert 0 <= line["ms"] < 60_000


@pytest.mark.parametrize("now", ["2026-01-02T03:04:59.999999Z", "2026-01-02T03:05:00.000000Z"])
def test_the_time_is_told_to_the_microsecond_in_utc(now: str) -> None:
    with time_machine.travel(datetime.fromisoformat(now), tick=False):
        told = json.loads(said("issued"))["time"]
    assert len(told) == len(now)
    assert abs(datetime.fromisoformat(told) - datetime.fromisoformat(now)) <= timedelta(microseconds=1)


def test_what_is_known_of_a_request_is_on_its_later_lines_and_not_on_those_of_the_next() -> None:
    about.begin(Trail("12" * 12, "34" * 16))
    said("issued")
    about.concern(subject="u1", profile="default", source=None)
    about.concern(profile="other")
    line = json.loads(said("refused", code="expire.invalid"))
    assert (line["subject"], line["profile"], line["code"], "source" in line) == (
        "u1",
        "other",
        "expire.invalid",
        False,
    )
    assert json.loads(said("redeemed", subject="u2"))["subject"] == "u2", "an event's own facts are told"
    about.begin(Trail("56" * 12, "34" * 16))
    assert "subject" not in json.loads(said("refused"))


def test_outside_of_a_request_nothing_is_kept() -> None:
    def told() -> str:
        about.concern(subject="u1")
        return said("issued")

    assert "subject" not in json.loads(contextvars.Context().run(told))


@pytest.mark.parametrize(
    ("event", "level"),
    [
        ("issued", "info"),
        ("refused", "info"),
        *((each, "warning") for each in sorted(WARNINGS)),
        *((each, "error") for each in sorted(ERRORS)),
    ],
)
def test_the_level_is_that_of_the_event(event: str, level: str) -> None:
    assert json.loads(said(event))["level"] == level


def test_what_a_client_sends_cannot_begin_a_line_or_drive_a_terminal() -> None:
    text = 'a\nb\r\x1b[2J\x00"}\u2028\u0085\ud800'
    line = said("issued", subject=text)
    assert line.isascii()
    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert json.loads(line)["subject"] == text


def test_a_line_is_written_whole_and_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    real = os.write

    def write(descriptor: int, text: bytes) -> int:
        writes.append(len(text))
        return real(descriptor, text[:100])

    with (tmp_path / "log").open("w") as stream, lines.written_to(stream), monkeypatch.context() as watched:
        watched.setattr(os, "write", write)
        EventLog().note("issued", {"subject": "u" * 150})
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["subject"] == "u" * 150
    assert writes[0] == len(line) + 1, "all of it is offered to the first write"


@pytest.mark.parametrize("form", ["json", "console"])
@given(facts=st.dictionaries(st.text(max_size=8), st.text() | st.integers(), max_size=5), nonces=st.lists(st.text()))
def test_the_lines_of_a_batch_are_those_that_would_be_written_one_by_one(
    form: lines.Form, facts: dict[str, str | int], nonces: list[str]
) -> None:
    for taken in ("event", "nonce", "nonces"):
        facts.pop(taken, None)
    with pytest.MonkeyPatch.context() as still, lines.written_to(io.StringIO()) as stream:
        still.setattr(lines, "_stamp", lambda: "2026-01-02T03:04:05.678901Z")
        still.setattr(lines, "request_facts", dict)
        still.setattr(lines.SINK, "render", lines.json_line if form == "json" else lines.ConsoleLine(colors=False))
        for nonce in nonces:
            EventLog().note("issued", {**facts, "nonce": nonce})
        one_by_one = stream.getvalue()
        EventLog().note_each("issued", facts, nonces)
        assert stream.getvalue() == 2 * one_by_one


def test_many_lines_are_few_writes_and_each_of_them_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers write to one pipe: what is longer than PIPE_BUF could be cut by another's line."""
    writes: list[bytes] = []
    real = os.write

    def write(descriptor: int, text: bytes) -> int:
        writes.append(text)
        return real(descriptor, text)

    nonces = [NonceId(f"{number:022}") for number in range(100)]
    with (tmp_path / "log").open("w") as stream, lines.written_to(stream), monkeypatch.context() as watched:
        watched.setattr(os, "write", write)
        EventLog().note_each("issued", {"subject": "u1"}, nonces)
    assert [json.loads(line)["nonce"] for line in (tmp_path / "log").read_text().splitlines()] == nonces
    assert all(len(text) <= select.PIPE_BUF and text.endswith(b"\n") for text in writes)
    assert 2 < len(writes) < 20


@pytest.mark.parametrize("broken", ["closed", "full"])
def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path, broken: str) -> None:
    path = Path("/dev/full" if broken == "full" else tmp_path / "log")
    stream = path.open("w")
    if broken == "closed":
        stream.close()
    with lines.written_to(stream):
        EventLog().note("issued", {})
    stream.close()


def test_neither_does_one_that_is_no_file_and_was_closed() -> None:
    stream = io.StringIO()
    stream.close()
    with lines.written_to(stream):
        EventLog().note("issued", {})


def test_nothing_is_written_before_it_is_said_where(capfd: pytest.CaptureFixture[str]) -> None:
    before, lines.SINK.stream = lines.SINK.stream, None
    EventLog().note("issued", {})
    lines.SINK.stream = before
    assert "".join(capfd.readouterr()) == ""


def test_the_first_who_says_where_decides() -> None:
    with lines.written_to(io.StringIO()) as first:
        lines.write_to(io.StringIO())
        assert lines.SINK.stream is first


def test_people_get_words_and_terminals_no_orders() -> None:
    with lines.written_to(io.StringIO()) as stream:
        before = lines.SINK.render
        lines.set_form("console", stream)
        EventLog().note("issued", {"subject": "u1\x1b[2J\nnext"})
        lines.SINK.render = before
    line = stream.getvalue()
    assert "issued" in line
    assert "subject=" in line
    assert "\x1b" not in line
    assert "{" not in line
    assert line.count("\n") == 1


def test_a_record_of_python_s_own_logging_becomes_such_a_line_too() -> None:
    about.begin(Trail("12" * 12, "34" * 16))
    exc = ValueError("Bearer CANARY0123")
    record = logging.LogRecord("redis", logging.ERROR, "", 0, "lost %s", ("it",), (type(exc), exc, None))
    text = lines.RecordLine().format(record)
    line = json.loads(text)
    assert (line["level"], line["event"], line["logger"], line["message"]) == ("error", "logged", "redis", "lost it")
    assert line["request"] == "12" * 12
    assert line["exception"] == "ValueError: [redacted]"
    assert "\n" not in text
