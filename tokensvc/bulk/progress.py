"""What a person sees: on a terminal a bar for each file that is being sent and one for all, elsewhere a line a file.

It is drawn by the one thread that calls `draw`; the others only leave notes.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from typing import Final, TextIO

from .outcomes import Outcome, Result
from .plan import Item

_MOST_BARS: Final = 8
_BAR: Final = 24
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
_THOUSAND: Final = 1000.0
_DONE: Final = frozenset({Outcome.STORED, Outcome.FOUND, Outcome.UNCHANGED})


class Progress:
    """`run.Watcher` for people. `seconds` counts them, from anywhere."""

    def __init__(
        self, out: TextIO, *, files: int, size: int, bars: bool, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._out = out
        self._files = files
        self._size = size
        self._bars = bars
        self._seconds = seconds
        self._began_at = seconds()
        self._lock = threading.Lock()
        self._sent: dict[Item, int] = {}
        self._notes: dict[Item, str] = {}
        self._lines: list[str] = []
        self._ended = 0
        self._settled = 0
        self._drawn = 0

    def began(self, item: Item) -> None:
        """As `Watcher` says."""
        with self._lock:
            self._sent[item] = 0
            self._notes.pop(item, None)

    def moved(self, item: Item, sent: int) -> None:
        """As `Watcher` says."""
        with self._lock:
            self._sent[item] = sent

    def waits(self, item: Item, why: str, seconds: float) -> None:
        """As `Watcher` says."""
        with self._lock:
            self._sent[item] = 0
            self._notes[item] = f"again in {seconds:.1f} s: {why}"
            if not self._bars:
                self._lines.append(f"  again in {seconds:.1f} s: {item.path}: {plain(why)}")

    def ended(self, result: Result) -> None:
        """As `Watcher` says."""
        with self._lock:
            self._sent.pop(result.item, None)
            self._notes.pop(result.item, None)
            self._ended += 1
            self._settled += result.item.size
            if result.outcome not in _DONE or not self._bars:
                self._lines.append(line_of(result))

    def say(self, line: str) -> None:
        """A line above the bars."""
        with self._lock:
            self._lines.append(line)

    def draw(self) -> None:
        """Write what has changed."""
        with self._lock:
            lines, self._lines = self._lines, []
            bars = self._bar_lines() if self._bars else []
        width = shutil.get_terminal_size().columns - 1
        text = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
        text += "".join(f"{line}\n" for line in lines) + "".join(f"{bar[:width]}\n" for bar in bars)
        self._drawn = len(bars)
        if text:
            self._out.write(text)
            self._out.flush()

    def clear(self) -> None:
        """Take the bars away, and write what is left to say."""
        self.draw()
        self._bars = False
        self.draw()

    def _bar_lines(self) -> list[str]:
        shown = list(self._sent.items())[:_MOST_BARS]
        bars = []
        for item, sent in shown:
            share = sent / item.size if item.size else 1.0
            what = plain(self._notes.get(item, "")) or f"{_size(sent)} of {_size(item.size)}"
            bars.append(f"{_bar(share)} {plain(str(item.path))}  {what}")
        sent = self._settled + sum(self._sent.values())
        elapsed = max(self._seconds() - self._began_at, 0.001)
        total = f"{self._ended} of {self._files} files, {_size(sent)} of {_size(self._size)}, {_size(sent / elapsed)}/s"
        return [*bars, f"{_bar(sent / self._size if self._size else 0.0)} {total}"]


def line_of(result: Result) -> str:
    """One line about one file."""
    tries = f" (try {result.tries})" if result.tries > 1 else ""
    why = f": {plain(result.why)}" if result.why else ""
    return f"{result.outcome:<10} {plain(str(result.item.path))} -> {result.item.target}{tries}{why}"


def _bar(share: float) -> str:
    full = int(min(1.0, share) * _BAR)
    return f"[{'#' * full}{'.' * (_BAR - full)}] {min(100, int(share * 100)):3d}%"


def _size(number: float) -> str:
    for unit in _UNITS:
        if number < _THOUSAND or unit == _UNITS[-1]:
            break
        number /= _THOUSAND
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def plain(text: str) -> str:
    """Nothing that a terminal would obey: names of files and answers of servers are other people's texts."""
    return "".join(character if character.isprintable() else "?" for character in text)
