"""What a client may choose for one parameter: anything, values of a list, of a shape, or of a length.

A pattern is matched by RE2, whose time grows with the text only; Python's own `re` can be kept busy for hours by 40
characters. RE2 knows no look-around and no back-references, and its `\\d` and `\\w` are ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import re2

from .params import MAX_VALUE_CHARACTERS
from .templates import Place, Values, compile_template, fill, read_parts, require_apart

_SHOWN: Final = 10
"""Values of a list that a refusal quotes."""


@dataclass(frozen=True, slots=True)
class AllowAny:
    """Anything. It is still a rule of its own: guarded parameters are allowed by naming them."""

    def __str__(self) -> str:
        return "anything"

    def objection(self, value: str, values: Values) -> str | None:  # noqa: ARG002 - the shape of a rule
        """Why a client may not choose `value`, to be read after it; None if it may."""
        return None


@dataclass(frozen=True, slots=True)
class AllowList:
    """One of some values, to the letter. Each is a template: `{{` and `}}` stand for braces."""

    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("an empty list allows nothing; leave the name out instead")
        for value in self.values:
            compile_template(value)

    def __str__(self) -> str:
        more = ", …" if len(self.values) > _SHOWN else ""
        return f"one of {', '.join(self.values[:_SHOWN])}{more}"

    def objection(self, value: str, values: Values) -> str | None:
        """Why a client may not choose `value`; None if it is in the list. Places are filled only if need be."""
        if value in _fixed_texts(self.values):
            return None
        templates = map(compile_template, self.values)
        return None if any(value == fill(each, values) for each in templates) else f"is not {self}"


@dataclass(frozen=True, slots=True)
class AllowGlob:
    """A shape with wildcards, in which `/` stands for itself only.

    `*` is any text without `/`, `?` one character but `/`, `[a-z]` and `[!a-z]` one of these or none of these. `**` is
    any text, `/**/` also a single `/`, and `/**` at the end also nothing: `/a/**` is `/a` and all below it. A glob is a
    template too: `/users/{subject}/**`.
    """

    pattern: str

    def __post_init__(self) -> None:
        if not self.pattern:
            raise ValueError("an empty text allows nothing; leave the name out instead")
        _regex("".join(piece.regex for piece in _pieces(self.pattern) if isinstance(piece, _Wild)))

    def __str__(self) -> str:
        return f"like {self.pattern}"

    def objection(self, value: str, values: Values) -> str | None:
        """Why a client may not choose `value`; None if all of it has this shape."""
        regex = _regex_of_all(self.pattern)
        if regex is None:
            regex = _regex("".join(_as_regex(piece, values) for piece in _pieces(self.pattern)))
        return None if regex.fullmatch(value) else f"is not {self}"


@dataclass(frozen=True, slots=True)
class AllowPattern:
    """A regular expression of RE2 that all of the value must match."""

    regex: str

    def __post_init__(self) -> None:
        _regex(self.regex)

    def __str__(self) -> str:
        return f"whatever matches {self.regex}"

    def objection(self, value: str, values: Values) -> str | None:  # noqa: ARG002 - the shape of a rule
        """Why a client may not choose `value`; None if all of it matches."""
        return None if _regex(self.regex).fullmatch(value) else f"does not match {self.regex}"


@dataclass(frozen=True, slots=True)
class AllowLength:
    """Anything of at most `most` characters."""

    most: int

    def __post_init__(self) -> None:
        if not 1 <= self.most <= MAX_VALUE_CHARACTERS:
            raise ValueError(f"max_length must be from 1 to {MAX_VALUE_CHARACTERS}")

    def __str__(self) -> str:
        return f"at most {self.most} characters"

    def objection(self, value: str, values: Values) -> str | None:  # noqa: ARG002 - the shape of a rule
        """Why a client may not choose `value`; None if it is short enough."""
        return None if len(value) <= self.most else f"has more than {self.most} characters"


Rule = AllowAny | AllowList | AllowGlob | AllowPattern | AllowLength
"""One entry of a profile's `allow`. For `tags` and `responseFields` it holds for each element."""


def compile_rule(spec: object) -> Rule:
    """Read `true`, a list, a glob, `{regex = "…"}` or `{max_length = 64}`; anything else is a `ValueError` in words."""
    match spec:
        case True:
            return AllowAny()
        case str():
            return AllowGlob(spec)
        case list() | tuple() if all(isinstance(value, str) for value in spec):
            return AllowList(tuple(spec))
        case Mapping() if len(spec) == 1:
            return _of_table(spec)
        case _:
            raise ValueError('write true, ["a", "list"], "a*glob", {regex = "…"} or {max_length = 64}')


def _of_table(spec: Mapping[Any, Any]) -> Rule:
    match dict(spec):
        case {"regex": str(regex)}:
            return AllowPattern(regex)
        case {"max_length": int(most)} if most is not True:
            return AllowLength(most)
        case _:
            raise ValueError('write {regex = "…"} or {max_length = 64}')


_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False  # RE2 would write a stranger's pattern to the standard error


@lru_cache(maxsize=512)
def _regex(pattern: str) -> Any:  # noqa: ANN401 - RE2 ships no types
    try:
        return re2.compile(pattern, _OPTIONS)
    except re2.error as exc:
        reason = exc.args[0].decode(errors="replace") if isinstance(exc.args[0], bytes) else str(exc)
        raise ValueError(f"{pattern[:64]!r} is not a pattern of RE2: {reason}") from None


@dataclass(frozen=True, slots=True)
class _Wild:
    """A wildcard. A `bounded` one brings its own slashes, so that no value beside it can go on into it."""

    regex: str
    bounded: bool = False


_WILDCARD: Final = re.compile(r"/\*\*/|/\*\*\Z|\*\*|\*|\?|\[([!^]?)(\]?[^\]]*)\]|\[", re.DOTALL)
_FIXED_WILDCARDS: Final = {
    "/**/": _Wild("/(?:(?s:.*)/)?", bounded=True),
    "/**": _Wild("(?:/(?s:.*))?", bounded=True),
    "**": _Wild("(?s:.*)"),
    "*": _Wild("[^/]*"),
    "?": _Wild("[^/]"),
}


@lru_cache(maxsize=512)
def _pieces(glob: str) -> tuple[str | Place | _Wild, ...]:
    pieces: list[str | Place | _Wild] = []
    for part in read_parts(glob):
        pieces += [part] if isinstance(part, Place) else _split(part)
    require_apart([(("/" if piece.bounded else None) if isinstance(piece, _Wild) else piece) for piece in pieces])
    return tuple(pieces)


@lru_cache(maxsize=512)
def _fixed_texts(texts: tuple[str, ...]) -> frozenset[str]:
    """Those of a list that are the same for everybody."""
    return frozenset(each.fixed for each in map(compile_template, texts) if each.fixed is not None)


@lru_cache(maxsize=512)
def _regex_of_all(glob: str) -> Any:  # noqa: ANN401 - as above
    """The pattern of a glob that is the same for everybody; None if it has places."""
    pieces = _pieces(glob)
    if any(isinstance(piece, Place) for piece in pieces):
        return None
    return _regex("".join(piece.regex if isinstance(piece, _Wild) else re2.escape(str(piece)) for piece in pieces))


def _split(literal: str) -> list[str | _Wild]:
    pieces: list[str | _Wild] = []
    end = 0
    for found in _WILDCARD.finditer(literal):
        if found.start() > end:
            pieces.append(literal[end : found.start()])
        end = found.end()
        pieces.append(_FIXED_WILDCARDS.get(found[0]) or _class(found))
    return [*pieces, literal[end:]] if end < len(literal) else pieces


def _class(found: re.Match[str]) -> _Wild:
    if found[2] is None:
        raise ValueError("[ has no ]; write [[] for the character itself")
    negated, members, regex = bool(found[1]), found[2], ""
    if not members:
        raise ValueError(f"{found[0]} holds nothing")
    while members:
        low, high = members[0], members[2] if members[1:2] == "-" and members[2:] else members[0]
        members = members[3:] if members[1:2] == "-" and members[2:] else members[1:]
        if low > high or (low <= "/" <= high and not negated):
            raise ValueError(f"{found[0]} {'holds /' if low <= high else 'has a range that runs backwards'}")
        regex += f"{re2.escape(low)}-{re2.escape(high)}" if high != low else re2.escape(low)
    return _Wild(f"[^{regex}/]" if negated else f"[{regex}]")


def _as_regex(piece: str | Place | _Wild, values: Values) -> str:
    if isinstance(piece, _Wild):
        return piece.regex
    return str(re2.escape(piece if isinstance(piece, str) else values(piece)))
