"""How a line is made and put out: JSON for machines, or for people who develop.

A line is one write, so that those of several workers are not mixed, and what cannot be written is lost: a log that is
full or gone must not keep the service from answering. The audit is another matter.
"""

from __future__ import annotations

import io
import logging
import os
import re
import select
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any, Final, Literal, TextIO, TypeVar

import structlog

from tokensvc.core.json_text import text_maker

from .about import request_facts
from .redaction import REDACTION

Form = Literal["json", "console"]
Facts = MutableMapping[str, Any]
_Stream = TypeVar("_Stream", bound=TextIO)

_dumps: Final = text_maker(default=repr)
_CONTROL: Final = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # a traceback keeps its lines
_clock: Final = structlog.processors.TimeStamper(key="time")
_AT_ONCE_BYTES: Final = select.PIPE_BUF
"""As many bytes into a pipe are one write to whoever reads it (POSIX)."""


def json_line(_level: str, facts: Facts) -> str:
    """Plain ASCII: control characters, line breaks and all else are escaped, so a line stays a line."""
    return _dumps(facts)


class ConsoleLine:
    """For a terminal: coloured if it is one, and with nothing in it that a terminal would obey."""

    def __init__(self, *, colors: bool) -> None:
        self._renderer = structlog.dev.ConsoleRenderer(colors=colors, timestamp_key="time")

    def __call__(self, level: str, facts: Facts) -> str:
        """The line."""
        for name, fact in facts.items():
            if isinstance(fact, str):
                facts[name] = _CONTROL.sub(lambda found: ascii(found[0])[1:-1], fact)
        facts["time"] = str(facts.get("time", ""))[11:23]
        return self._renderer(None, level, facts)


def opened(level: str, event: str, facts: Mapping[str, Any]) -> Facts:
    """The facts that there are, after what every line begins with and what is known of the request."""
    line: Facts = {"time": _stamp(), "level": level, "event": event, **request_facts()}
    for name, fact in facts.items():
        if fact is not None:
            line[name] = fact
    return line


def _stamp() -> str:
    """Now, in UTC."""
    now: float = _clock(None, "", {})["time"]
    second = int(now)
    return f"{_second(second)}.{int((now - second) * 1_000_000):06}Z"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    """A Unix time, up to its second."""
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]


class Sink:
    """Where lines go, and how they look; nowhere until it is told."""

    def __init__(self) -> None:
        self.stream: TextIO | None = None
        self.render: Callable[[str, Facts], str] = json_line

    def put(self, line: str) -> None:
        """Write one line, or some that have line breaks between them, at once and whole."""
        stream = self.stream
        if stream is None:
            return
        try:
            descriptor = stream.fileno()
            rest = (line + "\n").encode(errors="backslashreplace")
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except (io.UnsupportedOperation, AttributeError):
            with suppress(OSError, ValueError):
                stream.write(line + "\n")  # it is no file
        except (OSError, ValueError):
            return  # full, gone, or closed

    def put_all(self, lines: Sequence[str]) -> None:
        """Write lines, if several of plain ASCII, by as few writes as leave each of them whole."""
        if len(lines) == 1:
            self.put(lines[0])
            return
        together, size = list[str](), 0
        for line in lines:
            size += len(line) + 1
            if size > _AT_ONCE_BYTES and together:
                self.put("\n".join(together))
                together, size = [], len(line) + 1
            together.append(line)
        if together:
            self.put("\n".join(together))


SINK: Final = Sink()
"""Where the lines of this process go."""


def rendered(level: str, facts: Facts) -> Sequence[str]:
    """Its line; or of `nonces` a line each, with all that they have in common rendered once."""
    nonces: Sequence[str] | None = facts.pop("nonces", None)
    if nonces is None:
        return (SINK.render(level, facts),)
    if SINK.render is json_line:
        head = json_line(level, facts)[:-1]
        return [f'{head}, "nonce": {encode_basestring_ascii(nonce)}}}' for nonce in nonces]
    return [SINK.render(level, {**facts, "nonce": nonce}) for nonce in nonces]


def tell(level: str, event: str, facts: Mapping[str, Any]) -> None:
    """Write a line of an event and the facts that are not None; or with `nonces` among them a line of each."""
    SINK.put_all(rendered(level, REDACTION(opened(level, event, facts))))


class RecordLine(logging.Formatter):
    """Makes a line of a record of Python's own logging. `facts` of it, in `extra`, come along."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        level = record.levelname.lower()
        facts: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": level,
            "event": "logged",
        }
        if record.name.startswith("gunicorn"):  # between requests, the last one may still be noted
            facts |= {"event": "server", "pid": record.process}
        else:
            facts |= {"logger": record.name, **request_facts()}
        if record.msg:
            facts["message"] = record.getMessage()
        facts |= getattr(record, "facts", {})
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        return SINK.render(level, REDACTION(facts))


def write_to(stream: TextIO, form: Form = "json") -> None:
    """Send this process's lines to a stream, unless they have one already."""
    if SINK.stream is not None:
        return
    set_form(form, stream)
    SINK.stream = stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(RecordLine())
    for name in ("tokensvc", "py.warnings"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
            logger.propagate = False


def set_form(form: Form, stream: TextIO) -> None:
    """How lines look from now on."""
    with suppress(ValueError):
        SINK.render = json_line if form == "json" else ConsoleLine(colors=stream.isatty())


@contextmanager
def written_to(stream: _Stream) -> Iterator[_Stream]:
    """Send events elsewhere while the block lasts: for tests, which look at them."""
    before, SINK.stream = SINK.stream, stream
    try:
        yield stream
    finally:
        SINK.stream = before
