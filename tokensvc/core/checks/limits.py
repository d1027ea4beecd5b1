"""The own endpoint's enforcement of what `compiler` has ImageKit enforce, and of the `checks` of a request.

The same declaration, read without a detour through the language: so a fault of one enforcer is not the other's too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tokensvc.core.errors import Code, Refusal
from tokensvc.core.upload import flag

from .compiler import require_syntax
from .evaluation import evaluate, first_unmet
from .facts import Facts, plain_folder
from .fields import FLAG_DEFAULTS
from .language import Comparison, Expression, write
from .media_types import MediaRange

_MOST_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Restrictions:
    """What one upload is held to: the `Limits` of a profile, and the form texts that it forces."""

    max_bytes: int | None = None
    types: tuple[str, ...] = ()
    forced: Mapping[str, str] = field(default_factory=dict)


def require_limits(restrictions: Restrictions, *, size: int, mime: str, fields: Mapping[str, str]) -> None:
    """Refuse an upload of `size` bytes that is not within the restrictions; `fields` are the form's texts.

    A forced `checks` is not looked at: that is for `require_checks`.
    """
    if restrictions.max_bytes is not None and size > restrictions.max_bytes:
        raise Refusal(
            Code.TOO_LARGE,
            f"The file has {size:,} bytes; at most {restrictions.max_bytes:,} are allowed.",
            "Send a smaller file.",
            field="file",
        )
    if restrictions.types and not any(mime in MediaRange.parse(text) for text in restrictions.types):
        raise Refusal(
            Code.PARAMETER_INVALID,
            f"The file is {mime[:_MOST_SHOWN]}; allowed is {', '.join(restrictions.types)}.",
            "Send a file of an allowed type; what counts is its content, not its name.",
            field="file",
        )
    for name, text in restrictions.forced.items():
        if name != "checks" and not _is_as_forced(name, text, fields):
            raise Refusal(
                Code.PARAMETER_FORBIDDEN,
                f"{name} is not the client's to choose; it must be {_shortened(text)!r}.",
                f"Send {name} with that value.",
                field=name,
            )


def require_checks(text: str, facts: Facts) -> None:
    """Refuse an upload that does not satisfy its `checks`, saying which part it fails on.

    A text that is not an expression is PARAMETER_INVALID, one that does not hold PARAMETER_FORBIDDEN; both name the
    field `checks`.
    """
    expression = require_syntax(text)
    if not evaluate(expression, facts):
        unmet = first_unmet(expression, facts)
        raise Refusal(
            Code.PARAMETER_FORBIDDEN,
            f"checks is not satisfied: {_shortened(write(unmet))} does not hold{_because(unmet, facts)}.",
            "Send a file and fields that satisfy every part of checks.",
            field="checks",
        )


def _is_as_forced(name: str, text: str, fields: Mapping[str, str]) -> bool:
    if name == "folder":
        return plain_folder(fields.get(name, "")) == plain_folder(text)
    if name in FLAG_DEFAULTS:
        return flag(fields, name, default=FLAG_DEFAULTS[name]) is (text == "true")
    return fields.get(name, "") == text


def _because(unmet: Expression, facts: Facts) -> str:
    if not isinstance(unmet, Comparison) or unmet.field.startswith("request."):
        return ""
    actual = facts.values.get(unmet.field)
    return "; it is not known of this file" if actual is None else f"; it is {_shortened(str(actual))}"


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
