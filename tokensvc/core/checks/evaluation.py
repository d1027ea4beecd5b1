"""Whether an upload satisfies an expression.

What is unknown satisfies nothing, not even `NOT =`: a file whose codec could not be read is not known to be no H.264.
Custom metadata that was not sent is not unknown but absent: it equals nothing, and `NOT IN` holds.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from .facts import Facts, plain_folder
from .fields import METADATA_PREFIX, FieldKind, Operator, bytes_of, kind_of
from .language import Comparison, Expression, Scalar

_ORDER: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
}
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:.,+\-Z]{1,30})?", re.ASCII)


def evaluate(expression: Expression, facts: Facts) -> bool:
    """Whether the upload satisfies the expression."""
    if isinstance(expression, Comparison):
        return _holds(expression, facts)
    parts = (evaluate(part, facts) for part in expression.parts)
    return all(parts) if expression.word == "AND" else any(parts)


def first_unmet(expression: Expression, facts: Facts) -> Expression:
    """The first part that an expression which does not hold fails on; of an OR, all of it."""
    while not isinstance(expression, Comparison) and expression.word == "AND":
        expression = next((part for part in expression.parts if not evaluate(part, facts)), expression.parts[0])
    return expression


def _holds(comparison: Comparison, facts: Facts) -> bool:
    name, asked = comparison.field, comparison.operator
    if name.startswith(METADATA_PREFIX) and name not in facts.values:
        return asked.is_negated
    actual = facts.values.get(name)
    if actual is None:
        return False
    wanted = comparison.value if isinstance(comparison.value, tuple) else (comparison.value,)
    if kind_of(name) is FieldKind.SIZE:
        wanted = tuple(_size(each) for each in wanted)
    if asked.takes_list:
        found = actual if isinstance(actual, tuple) else (actual,)
        return any(_same(name, one, each) for one in found for each in wanted) is not asked.is_negated
    if isinstance(actual, tuple):  # a multiple selection is compared with lists only
        return False
    if asked is Operator.STARTS_WITH:
        return _starts_with(name, actual, wanted[0])
    if asked in _ORDER:
        return _in_order(_ORDER[asked], actual, wanted[0])
    return _same(name, actual, wanted[0]) is not asked.is_negated


def _size(value: Scalar) -> Scalar:
    return (bytes_of(value) or Decimal(0)) if isinstance(value, str) else value


def _same(name: str, actual: Scalar, wanted: Scalar) -> bool:
    if isinstance(actual, bool) or isinstance(wanted, bool):
        return actual is wanted  # Python holds that 1 == True
    if not isinstance(actual, str) or not isinstance(wanted, str):
        return actual == wanted
    if name == "request.folder":
        return actual == plain_folder(wanted)
    if name.startswith(METADATA_PREFIX):
        instant = _instant(actual)
        return actual == wanted or (instant is not None and instant == _instant(wanted))
    return actual == wanted


def _starts_with(name: str, actual: Scalar, wanted: Scalar) -> bool:
    """As texts begin. `marketing/` is the beginning of the folder `marketing` itself too, as ImageKit says."""
    if not isinstance(actual, str) or not isinstance(wanted, str):
        return False
    if name == "request.folder":
        closing = "/" if wanted.endswith("/") else ""
        plain = plain_folder(wanted)
        return not plain or f"{actual}/".startswith(plain + closing)
    return actual.startswith(wanted)


def _in_order(compare: Callable[[Any, Any], bool], actual: Scalar, wanted: Scalar) -> bool:
    """Numbers have an order, and dates have; other texts have none."""
    if isinstance(actual, bool) or isinstance(wanted, bool):
        return False
    if isinstance(actual, str) and isinstance(wanted, str):
        one, other = _instant(actual), _instant(wanted)
        return one is not None and other is not None and compare(one, other)
    return not isinstance(actual, str) and not isinstance(wanted, str) and compare(actual, wanted)


def _instant(text: str) -> datetime | None:
    """The time that an ISO 8601 text means; without an offset it is UTC, without a time midnight."""
    if not _DATE.fullmatch(text):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
