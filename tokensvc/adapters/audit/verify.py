"""Reads an audit from end to end, and says in words which lines are not as they were written.

What a single change does to a chain is known, so the line itself is named and not only the place where the chain
breaks: an altered line no longer fits its seal; the line after a removed one builds on another; and the line after one
that was put in builds on the one before.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, cast

from .chain import MOST_LINE_BYTES, Head, Line, Seal
from .file import Note, head_path, read_note

MOST_FAULTS: Final = 100


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, from 1."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with, or worth knowing of, a line."""

    place: Place
    what: str


@dataclass(slots=True)
class Report:
    """`lines` is how many there are; `first` and `last` are the numbers they begin and end with."""

    lines: int = 0
    first: int = 0
    last: Head = field(default_factory=Head)
    faults: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    wrong_key: bool = False

    @property
    def intact(self) -> bool:
        """Whether every line is as it was written, and none is missing between the first and the last."""
        return not self.faults


def verify(paths: Sequence[Path], seal: Seal) -> Report:
    """Look at the files of one chain, in whatever order they are given, `.gz` too. OSError if one cannot be read."""
    reading = _Reading(seal)
    ordered = sorted(paths, key=lambda path: _first_number(path, seal))
    for path in ordered:
        for number, text in enumerate(_lines(path), 1):
            reading.take(Place(path, number), text)
    return reading.end(_note_beside(ordered[-1]) if ordered else None)


class _Reading:
    """`_good` is the last line that belongs to the chain; `_doubtful` are those after it that fit no seal."""

    def __init__(self, seal: Seal) -> None:
        self._keyed = seal.kind == "hmac"
        self._seal = seal
        self._report = Report()
        self._before_good = self._good = Head()
        self._good_place: Place | None = None
        self._doubtful: list[tuple[Place, bytes, Line | None]] = []

    def take(self, place: Place, text: bytes) -> None:
        """The next line of the files."""
        line = self._seal.read(text.removesuffix(b"\n"))
        self._report.lines += 1
        if line is None or not line.genuine:
            self._doubtful.append((place, text, line))
            return
        if self._good_place is None:
            self._begin(place, line)
        if line.follows(self._before_good) and line.number == self._good.number and self._good_place is not None:
            self._fault(self._good_place, "was put in later: the line after it builds on the one before")
            self._good = self._before_good
        if line.number <= self._good.number:
            self._fault(place, f"does not belong here: it is number {line.number}, after number {self._good.number}")
            return
        self._settle(place, line)
        self._before_good, self._good, self._good_place = self._good, line.head, place

    def end(self, note: Note | None) -> Report:
        """No more lines. `note` is what the file beside the last one says."""
        known = self._good.number if note is None else note.head.number
        for place, text, line in self._doubtful:
            if line is None and not text.endswith(b"\n") and known == self._good.number:
                self._note(place, "is not finished: it is being written, or a crash cut it short")
            else:
                self._fault(place, self._about(line))
                known -= 1
        if known > self._good.number and self._good_place is not None:
            self._fault(self._good_place, f"{_count(known - self._good.number)} missing after this one, at the end")
        self._report.last = self._good
        return self._report

    def _begin(self, place: Place, line: Line) -> None:
        self._report.first = max(1, line.number - len(self._doubtful))
        if self._report.first > 1:
            self._note(place, f"begins with number {self._report.first}: older files were not given")
            self._good = Head(self._report.first - 1, line.before)
        elif line.number == 1:
            self._good = Head()

    def _settle(self, place: Place, line: Line) -> None:
        """Say what the doubtful lines are, and whether this one follows, now that it is known where it belongs."""
        gap, direct = line.number - self._good.number - 1, line.number == self._good.number + 1
        for doubtful_place, text, doubtful in self._doubtful:
            if gap > 0:
                gap -= 1
                self._fault(doubtful_place, self._about(doubtful))
            elif _is_mended(line, text):
                self._note(doubtful_place, "was cut short by a crash, as the next line says")
            else:
                self._fault(doubtful_place, "was put in later: the lines before and after it belong together")
        self._doubtful.clear()
        if gap:
            self._fault(place, f"{_count(gap)} missing before this one, number {line.number}")
        elif direct and line.before != self._good.seal:
            what = f"was altered and sealed anew: number {line.number} builds on another line"
            self._fault(self._good_place or place, what)

    def _about(self, line: Line | None) -> str:
        if line is None:
            return "was altered: it is no line of an audit"
        if line.keyed is not self._keyed:
            self._report.wrong_key = True
            return "is sealed with a key, and none was given" if line.keyed else "is sealed without the key"
        return "was altered: it does not fit its seal"

    def _fault(self, place: Place, what: str) -> None:
        if len(self._report.faults) < MOST_FAULTS:
            self._report.faults.append(Finding(place, what))

    def _note(self, place: Place, what: str) -> None:
        self._report.notes.append(Finding(place, what))


def _is_mended(line: Line, text: bytes) -> bool:
    digest = hashlib.sha256(text.removesuffix(b"\n")).hexdigest()
    return line.facts.get("event") == "mended" and line.facts.get("fragment") == digest


def _count(lines: int) -> str:
    return "1 line is" if lines == 1 else f"{lines} lines are"


def _lines(path: Path) -> Iterator[bytes]:
    with cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb") as file:
        while line := file.readline(MOST_LINE_BYTES + 2):
            yield line


def _first_number(path: Path, seal: Seal) -> int:
    for text in _lines(path):
        if (line := seal.read(text.removesuffix(b"\n"))) is not None:
            return line.number
    return 0


def _note_beside(path: Path) -> Note | None:
    try:
        return read_note(head_path(path).read_bytes())
    except OSError:
        return None
