"""Texts of a profile with places for what is known of the caller: `/users/{subject}`.

What is put into a place is letters, digits, `_` and `-`, or it is refused; it is never rewritten. Two subjects that
were made alike would share a folder. For the same reason two places need a character between them that neither can
hold: `{claims.org}-{subject}` would be `a-b-c` for `a-b` and `c`, and for `a` and `b-c`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from .callers import Caller
from .errors import Code, Refusal


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is put in: `subject`, `claims.NAME` or `date`."""

    name: str

    @property
    def is_callers(self) -> bool:
        """Whether the value comes from the caller; a date has one length, so it cannot run into its neighbour."""
        return self.name != "date"

    @property
    def claim(self) -> str | None:
        """The name of the claim that is put in, or None."""
        return self.name.removeprefix("claims.") if self.name.startswith("claims.") else None


@dataclass(frozen=True, slots=True)
class Template:
    """A text as it was written, and its parts: literal texts and places, in order."""

    text: str
    parts: tuple[str | Place, ...]

    @property
    def fixed(self) -> str | None:
        """The filled text, if it is the same for everybody; None if the template has places."""
        literals = [part for part in self.parts if isinstance(part, str)]
        return "".join(literals) if len(literals) == len(self.parts) else None


Values = Callable[[Place], str]
"""What stands in a place this once; raises a refusal if nothing fit to stand there is known."""

_MARK: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_CLAIM: Final = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_SAFE: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_SAFE_IN_WORDS: Final = "letters, digits, _ and -"


@lru_cache(maxsize=1024)
def compile_template(text: str) -> Template:
    """Read a template, or raise `ValueError` with words. `{{` and `}}` stand for the braces themselves."""
    parts = read_parts(text)
    require_apart(parts)
    return Template(text, parts)


def read_parts(text: str) -> tuple[str | Place, ...]:
    """The parts of a template, whose places may still stand too close; see `require_apart`."""
    parts: list[str | Place] = []
    literal, end = "", 0
    for mark in _MARK.finditer(text):
        literal, end = literal + text[end : mark.start()], mark.end()
        if mark[0] in ("{{", "}}"):
            literal += mark[0][0]
        elif mark[1] is None:
            raise ValueError(f"{mark[0]!r} stands alone; write it twice for the character itself")
        else:
            parts += [literal, _place(mark[1])] if literal else [_place(mark[1])]
            literal = ""
    literal += text[end:]
    return (*parts, literal) if literal else tuple(parts)


def require_apart(parts: Sequence[str | Place | None]) -> None:
    """Raise `ValueError` if two callers' values could be told apart no longer once they are put in.

    None is a wildcard of a glob: a value beside one could go on into it (`/users/{subject}*` takes in `/users/u12`).
    """
    open_since: str | Place | None = ""  # a place or a wildcard with no separator after it yet
    for part in parts:
        if isinstance(part, str):
            open_since = "" if _SAFE.sub("", part) else open_since
        elif part is None or part.is_callers:
            beside = [each.name for each in (open_since, part) if isinstance(each, Place)]
            if open_since != "" and beside:
                what = f"{{{beside[0]}}} and {f'{{{beside[1]}}}' if beside[1:] else 'a wildcard'}"
                raise ValueError(f"{what} need a character between them that no value can hold, such as /")
            open_since = part


def fill(template: Template, values: Values) -> str:
    """Return the text with every place filled."""
    return "".join(part if isinstance(part, str) else values(part) for part in template.parts)


def values_for(caller: Caller, now: int, field: str) -> Values:
    """The values of places for one ask; `field` is the parameter that they are needed for. `now` is Unix seconds."""

    def value_of(place: Place) -> str:
        if place.name == "date":
            return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
        value = caller.subject if place.claim is None else caller.claims.get(place.claim, "")
        if not value:
            raise _unfillable(place, field, "is missing or empty", f"Send a caller that has {place.name}.")
        if not _SAFE.fullmatch(value):
            raise _unfillable(place, field, f"holds more than {_SAFE_IN_WORDS}", f"Give it a {place.name} of those.")
        return value

    return value_of


def _unfillable(place: Place, field: str, reason: str, remedy: str) -> Refusal:
    detail = f"{field} is made with {{{place.name}}}, and the caller's {reason}."
    return Refusal(Code.CALLER_FORBIDDEN, detail, remedy, field=field)


def _place(name: str) -> Place:
    place = Place(name)
    if name in ("subject", "date") or (place.claim is not None and _CLAIM.fullmatch(place.claim)):
        return place
    raise ValueError(f"{{{name[:64]}}} is not known; there are {{subject}}, {{claims.NAME}} and {{date}}")
