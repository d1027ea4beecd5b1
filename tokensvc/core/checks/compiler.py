"""From a profile's limits and forced parameters to the `checks` that ImageKit enforces for us.

A client's own expression is read and written anew before it is joined to ours, never pasted: a stray quote or
parenthesis that ImageKit's reader takes differently would let it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from tokensvc.core.errors import Code, Refusal

from .fields import FLAG_DEFAULTS, Operator
from .language import Comparison, Expression, Junction, Scalar, parse, write
from .media_types import MediaRange
from .tokens import ChecksSyntax

_COUNTED: Final = ("folder", *FLAG_DEFAULTS, "checks")
"""The forced parameters that are checked, in the order in which they are written."""

_REMEDY: Final = 'Write it like "file.size" <= 1000000 AND ("request.tags" IN ["a", "b"] OR "file.mime" : "image/").'


class Limits(Protocol):
    """What a profile limits about the file. `types` holds MIME types (`image/png`) and ranges (`image/*`, `*/*`)."""

    @property
    def max_bytes(self) -> int | None:
        """The most bytes that a file may have, or None."""

    @property
    def types(self) -> Sequence[str]:
        """The MIME types that a file may have; none means any."""


def compile_checks(limits: Limits, forced: Mapping[str, str], client: str | None = None) -> str | None:
    """Return the expression that holds an upload to `limits`, to `forced` and to `client`; None if nothing is to check.

    `forced` are the form texts that the profile forces. Of these the folder, the flags and `checks` itself count; a
    v2 credential binds the others as they are. Raises `ValueError` for a profile that cannot be written as checks,
    and a `Refusal` (field `checks`) for a client's expression.
    """
    counted = tuple((name, forced[name]) for name in _COUNTED if name in forced)
    ours = _compile_ours(limits.max_bytes, tuple(limits.types), counted)
    if not client:
        return None if ours is None else ours.text
    parts = [_read_client(client)] if ours is None else [ours.expression, _read_client(client)]
    text = write(_join(parts))
    try:
        parse(text)  # each part may be well and all of them too long, or too deep
    except ChecksSyntax as fault:
        raise Refusal(
            Code.PARAMETER_INVALID,
            f"checks cannot be joined to those of the profile: together, {fault.reason}.",
            "Send a shorter expression with fewer parentheses.",
            field="checks",
        ) from None
    return text


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A profile's part of the checks, read and written."""

    expression: Expression
    text: str


@lru_cache(maxsize=1024)
def _compile_ours(
    max_bytes: int | None, types: tuple[str, ...], forced: tuple[tuple[str, str], ...]
) -> _Compiled | None:
    """The same for every ask under a profile, or for every ask of one caller where its name is in a forced text."""
    texts = dict(forced)
    ours = [*_of_limits(max_bytes, types), *_of_forced(texts)]
    if "checks" in texts:
        ours.append(_read_ours(texts["checks"]))
    for each in ours:
        _require_plain(each)
    if not ours:
        return None
    expression = _join(ours)
    text = write(expression)
    _read_ours(text)
    return _Compiled(expression, text)


def require_syntax(text: str) -> Expression:
    """Read a client's expression, or refuse it with the place and the reason in words."""
    try:
        return parse(text)
    except ChecksSyntax as fault:
        raise unreadable(fault) from None


def unreadable(fault: ChecksSyntax) -> Refusal:
    """The refusal of an expression that is not one."""
    detail = f"checks cannot be read at character {fault.position}: {fault.reason}."
    return Refusal(Code.PARAMETER_INVALID, detail, _REMEDY, field="checks")


def _join(parts: Sequence[Expression]) -> Expression:
    return parts[0] if len(parts) == 1 else Junction("AND", tuple(parts))


def _of_limits(max_bytes: int | None, types: Sequence[str]) -> list[Expression]:
    parts: list[Expression] = []
    if max_bytes is not None:
        if max_bytes < 0:
            raise ValueError("max_bytes is negative")
        parts.append(Comparison("file.size", Operator.AT_MOST, max_bytes))
    ranges = [MediaRange.parse(text) for text in types]
    if ranges and not any(each.is_everything for each in ranges):
        exact = tuple(dict.fromkeys(each.text for each in ranges if each.is_exact))
        prefixes = dict.fromkeys(each.prefix for each in ranges if not each.is_exact)
        choices: list[Expression] = [Comparison("file.mime", Operator.STARTS_WITH, prefix) for prefix in prefixes]
        if exact:
            choices.append(_one_of("file.mime", exact))
        parts.append(choices[0] if len(choices) == 1 else Junction("OR", tuple(choices)))
    return parts


def _of_forced(forced: Mapping[str, str]) -> list[Expression]:
    parts: list[Expression] = []
    if "folder" in forced:
        parts.append(_one_of("request.folder", _spellings(forced["folder"])))
    for name in (name for name in FLAG_DEFAULTS if name in forced):
        if forced[name] not in ("true", "false"):
            raise ValueError(f"forced {name} is neither true nor false")
        parts.append(Comparison(f"request.{name}", Operator.EQUALS, forced[name] == "true"))
    return parts


def _spellings(folder: str) -> tuple[str, ...]:
    """A folder with and without its first slash: which of the two ImageKit compares with is not published.

    Its examples leave the slash out. A wrong guess would refuse every upload of the profile; naming both lets no
    other folder in.
    """
    bare = folder.strip("/")
    return tuple(dict.fromkeys((folder, f"/{bare}", bare) if bare else ("/", "")))


def _one_of(field: str, values: tuple[str, ...]) -> Comparison:
    if len(values) == 1:
        return Comparison(field, Operator.EQUALS, values[0])
    return Comparison(field, Operator.IN, values)


def _read_ours(text: str) -> Expression:
    try:
        return parse(text)
    except ChecksSyntax as fault:
        raise ValueError(f"the profile's checks cannot be read {fault}") from None


def _require_plain(expression: Expression) -> None:
    """Before it is written: a forced folder `a', "b` would be read back as two."""
    if any(_has_quote(each) for each in _comparisons(expression)):
        raise ValueError("the profile's folder or checks hold a quote inside of a text")


def _read_client(text: str) -> Expression:
    expression = require_syntax(text)
    for each in _comparisons(expression):
        if _has_quote(each):
            reason = "a text holds a quote, and how ImageKit reads one there is not published"
            raise unreadable(ChecksSyntax(each.position, reason))
    return expression


def _comparisons(expression: Expression) -> list[Comparison]:
    if isinstance(expression, Comparison):
        return [expression]
    return [each for part in expression.parts for each in _comparisons(part)]


def _has_quote(comparison: Comparison) -> bool:
    value = comparison.value
    values: tuple[Scalar, ...] = value if isinstance(value, tuple) else (value,)
    return any(quote in text for text in (comparison.field, *values) if isinstance(text, str) for quote in "\"'")
