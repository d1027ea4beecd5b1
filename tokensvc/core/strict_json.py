"""JSON as RFC 8259 means it, from bytes of strangers.

Python's reader takes duplicate members (the last wins: a claim could be hidden behind another), NaN, UTF-16, lone
surrogates, and ends in a RecursionError on deep nesting. Here each of these is a `ValueError` with a reason.
"""

from __future__ import annotations

import json
import json.encoder
import math
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn

MAX_DEPTH = 16
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_SURROGATE = re.compile("[\ud800-\udfff]")

type_names = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def loads(data: bytes) -> Any:  # noqa: ANN401 - JSON is any value; the caller checks its shape
    """Parse UTF-8 bytes, or raise `ValueError` with the reason in words."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is not valid UTF-8") from None
    if text.startswith("\ufeff"):
        raise ValueError("it starts with a byte order mark")
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep") from None
    except json.JSONDecodeError as exc:
        raise ValueError(f"it is not JSON: {exc.msg} at line {exc.lineno} column {exc.colno}") from None
    _check(value, MAX_DEPTH, escaped="\\u" in text)
    return value


def loads_object(data: bytes) -> dict[str, Any]:
    """As `loads`, and the value must be an object."""
    value = loads(data)
    if not isinstance(value, dict):
        raise ValueError(f"it is {type_names[type(value)]}, not an object")
    return value


def whole(value: object) -> int | None:
    """The whole number that a value is, or None. JSON has one kind of number: `17.0` is 17, and `true` is none."""
    if type(value) is int:  # bool is an int
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def dumps(value: Any) -> bytes:  # noqa: ANN401 - as above
    """Compact UTF-8 JSON."""
    return _ENCODER.encode(value).encode()


quoted: Final[Callable[[str], str]] = json.encoder.encode_basestring
"""A text as `dumps` writes it."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice")
    return members


def _whole_number(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # thousands of digits; Python's own sentence is about its settings
        raise ValueError("a number is too large") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_int=_whole_number)


def _check(value: object, depth: int, *, escaped: bool) -> None:
    """Look at all that is in a value. Half of a surrogate pair can only come from an escape (`\\u`), so without one
    texts are passed over: most of what is read is texts.
    """
    if depth < 0:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, str):
        if escaped and not value.isascii() and _SURROGATE.search(value):
            raise ValueError("a string contains half of a surrogate pair")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a number is too large")
    elif isinstance(value, dict):
        _check_members(value, depth, escaped=escaped)
    elif isinstance(value, list):
        for member in value:
            _check(member, depth - 1, escaped=escaped)


def _check_members(members: dict[str, object], depth: int, *, escaped: bool) -> None:
    if depth and not escaped and {*map(type, members.values())} == {str}:
        return
    for name, member in members.items():
        if escaped or not depth or member.__class__ is not str:
            _check(name, depth, escaped=escaped)
            _check(member, depth - 1, escaped=escaped)
