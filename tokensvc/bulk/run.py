"""The loop: a few files at a time, a credential for each just before it is used, and again with a new one if need be.

An upload without an answer may have been done. What is sent again then is met, if it was, by the refusal to put one
file over another; that refusal counts as stored, and only for a file that this run or its manifest has begun.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from .answers import Meaning, in_words, meaning_of
from .credentials import Later, Lender, Lent, Never
from .form import ChangedError, Form
from .manifest import Manifest, ManifestError, sha256_of
from .outcomes import Manner, Outcome, Result, Watcher
from .plan import Item
from .wire import Answer, Unanswered, Wire

_OUTAGES_IN_A_ROW: Final = 3
"""So many files for which every try went unanswered are enough: the rest would take as long."""


@dataclass(frozen=True, slots=True)
class _Again:
    """A try that did not settle it. `pause` is what the other side asked for, in seconds."""

    why: str
    is_outage: bool
    may_be_there: bool = False
    pause: float = 0.0


class Run:
    """Uploads files, once. `dice` returns a number from 0 to 1, by which pauses are longer or shorter."""

    def __init__(
        self,
        wire: Wire,
        lender: Lender,
        manner: Manner,
        watcher: Watcher,
        dice: Callable[[], float],
        manifest: Manifest | None = None,
    ) -> None:
        self._wire = wire
        self._lender = lender
        self._manner = manner
        self._watcher = watcher
        self._dice = dice
        self._manifest = manifest
        self._waiting: deque[Item] = deque()
        self._lent: dict[str, Lent] = {}
        self._lock = threading.Lock()
        self._lending = threading.Lock()
        self._ending = threading.Event()
        self._aborting = threading.Event()
        self._outages = 0
        self._threads: list[threading.Thread] = []
        self.fault = ""
        """Why nothing can be uploaded at all, if that has turned out."""

    def start(self, items: Iterable[Item]) -> None:
        """Begin. Returns at once."""
        self._waiting.extend(items)
        for _ in range(min(self._manner.jobs, len(self._waiting))):
            self._threads.append(threading.Thread(target=self._work, daemon=True))
        for thread in self._threads:
            thread.start()

    def over(self, within_seconds: float) -> bool:
        """Whether all is over, after at most about so many seconds."""
        for thread in self._threads:
            thread.join(within_seconds)
            if thread.is_alive():
                return False
        self._wire.close()
        self._lender.close()
        return True

    @property
    def unsent(self) -> tuple[Item, ...]:
        """What was not even begun."""
        with self._lock:
            return tuple(self._waiting)

    @property
    def ending(self) -> bool:
        """Whether nothing more is begun."""
        return self._ending.is_set()

    def end(self) -> None:
        """Begin nothing more; what is being sent goes on."""
        self._ending.set()

    def abort(self) -> None:
        """End now, in the middle of what is being sent."""
        self._aborting.set()
        self._ending.set()
        self._wire.abort()
        self._lender.abort()

    def _work(self) -> None:
        while (item := self._next()) is not None:
            result = self._settle(item)
            with self._lock:
                if result.outcome is Outcome.UNANSWERED:
                    self._outages += 1
                elif result.outcome is not Outcome.UNCHANGED:
                    self._outages = 0
                if self._outages >= max(_OUTAGES_IN_A_ROW, self._manner.jobs):
                    self._ending.set()
            self._watcher.ended(result)

    def _next(self) -> Item | None:
        with self._lock:
            return None if self._ending.is_set() or not self._waiting else self._waiting.popleft()

    def _settle(self, item: Item) -> Result:
        """Everything about one file."""
        try:
            found = os.stat(item.path)  # noqa: PTH116 - as when it was planned
            item = replace(item, size=found.st_size, modified_ns=found.st_mtime_ns)
            if self._manifest is not None and self._manifest.stored(item):
                return Result(item, Outcome.UNCHANGED)
            may_be_there = self._manifest is not None and self._manifest.begun(item)
            again = _Again("", is_outage=False)
            for tried in range(self._manner.tries):
                if tried and self._pauses(item, tried, again):
                    return Result(item, Outcome.UNSENT, tried, again.why)
                settled = self._try(item, tried, may_be_there=may_be_there)
                if isinstance(settled, Result):
                    return settled
                again = settled
                may_be_there = may_be_there or again.may_be_there
            outcome = Outcome.UNANSWERED if again.is_outage else Outcome.REFUSED
            return Result(item, outcome, self._manner.tries, again.why)
        except ChangedError:
            return Result(item, Outcome.REFUSED, 1, "it changed while it was read")
        except OSError as exc:
            return Result(item, Outcome.REFUSED, 0, exc.strerror or "cannot be read")
        except (Never, ManifestError) as exc:
            self.fault = str(exc)
            self._ending.set()
            return Result(item, Outcome.UNSENT, 0, str(exc))

    def _try(self, item: Item, tried: int, *, may_be_there: bool) -> Result | _Again:
        try:
            lent = self._credential(item, alone=tried > 0)
        except Later as later:
            return _Again(str(later), later.is_outage, pause=later.seconds)
        except Unanswered as unanswered:
            return _Again(f"no credential: {unanswered}", is_outage=True)
        if lent.why_not:
            return Result(item, Outcome.REFUSED, tried, lent.why_not)
        if self._manifest is not None and not self._manifest.begun(item):
            self._manifest.note_begun(item)
        self._watcher.began(item)
        with item.path.open("rb") as content:
            form = Form(lent.fields, content, item.size)
            try:
                answer = self._wire.upload(form, lambda sent: self._watcher.moved(item, sent))
            except Unanswered as unanswered:
                return _Again(str(unanswered), is_outage=True, may_be_there=unanswered.begun)
        return self._judge(answer, Result(item, Outcome.REFUSED, tried + 1), form.sha256, may_be_there=may_be_there)

    def _judge(self, answer: Answer, result: Result, sha256: str, *, may_be_there: bool) -> Result | _Again:
        meaning, why = meaning_of(answer), in_words(answer)
        if meaning is Meaning.LATER:
            return _Again(why, is_outage=True, may_be_there=True, pause=answer.retry_after)
        if meaning is Meaning.SPOILT:
            return _Again(why, is_outage=False)
        if meaning is Meaning.STORED:
            result = replace(result, outcome=Outcome.STORED, answer=answer.body)
        elif meaning is Meaning.TAKEN and may_be_there:
            result = replace(result, outcome=Outcome.FOUND)
        else:
            result = replace(result, why=why)
        if self._manifest is not None:
            if result.outcome is not Outcome.REFUSED:
                self._manifest.note_stored(result.item, sha256 or sha256_of(result.item.path), result.answer)
            elif not may_be_there:
                self._manifest.note_refused(result.item, why)
        return result

    def _credential(self, item: Item, *, alone: bool) -> Lent:
        """One that nobody has used. The first ones are asked for together with those of the files that come next."""
        with self._lending:
            lent = self._lent.pop(item.target, None)
            if lent is not None and not alone:
                return lent
            ahead = 0 if alone else min(self._manner.jobs, self._lender.at_once) - 1
            with self._lock:
                items = [item, *islice((each for each in self._waiting if each.target not in self._lent), ahead)]
            found = self._lender.lend([self._fields(each) for each in items])
            self._lent |= {each.target: one for each, one in zip(items[1:], found[1:], strict=True)}
            return found[0]

    def _fields(self, item: Item) -> dict[str, str]:
        return {"fileName": item.name, "folder": item.folder, **self._manner.fields}

    def _pauses(self, item: Item, tried: int, again: _Again) -> bool:
        """Wait before the next try; whether there is to be none."""
        usual = min(self._manner.longest_pause, self._manner.first_pause * 2 ** (tried - 1)) * (0.5 + self._dice() / 2)
        pause = min(max(usual, again.pause), self._manner.longest_pause)
        self._watcher.waits(item, again.why, pause)
        return self._ending.wait(pause)
