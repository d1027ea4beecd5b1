"""What is wrong with a configuration, in words: where, what, and what to do.

pydantic's own sentences are for programmers, and some quote the input, which may be a key; ours never do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

_OF_UNION: Final = re.compile(
    r"(?<=^callers\.)([^.]+)\.(?:api_key|demo|session|bearer|ticket|forwarded|anonymous)(?=[.\[]|$)"
)
"""pydantic names the member of the union after the table's name; the file does not."""

_SENTENCES: Final = {
    "extra_forbidden": "is not a setting",
    "missing": "is missing",
    "union_tag_not_found": "has no kind",
    "union_tag_invalid": "is of a kind that does not exist",
    "literal_error": "must be {expected}",
    "string_type": "must be a text in quotes",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "bool_type": "must be true or false",
    "list_type": "must be a list in [ ]",
    "too_short": "must not be empty",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "datetime_type": "must be a time such as 2026-12-01T00:00:00Z, without quotes",
    "timezone_aware": "has no time zone",
}
_REMEDIES: Final = {
    "extra_forbidden": "remove it, or look up its spelling in docs/configuration.md",
    "union_tag_not_found": 'add kind = "api_key"',
    "union_tag_invalid": 'use kind = "api_key"',
    "timezone_aware": "add Z, as in 2026-12-01T00:00:00Z",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with the configuration: where, what, and what to do."""

    place: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.what}" + (f" -> {self.remedy}" if self.remedy else "")


class ConfigurationError(Exception):
    """All faults of a configuration."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


def faults_of(error: ValidationError, places: Mapping[str, str]) -> list[Fault]:
    """The faults that pydantic found, at the places where the operator wrote what is wrong."""
    found = []
    for detail in error.errors(include_url=False, include_input=False):
        place = _OF_UNION.sub(r"\1", place_of(detail["loc"])) or "configuration"
        kind, limits = detail["type"], detail.get("ctx", {})
        if kind == "too_short" and limits.get("min_length", 1) > 1:  # a secret: pydantic takes it for a list
            kind = "string_too_short"
        what = _SENTENCES.get(kind, "{msg}").format(msg=detail["msg"], **limits)
        found.append(Fault(places.get(place, place), what, _REMEDIES.get(kind, "")))
    return found


def place_of(path: tuple[int | str, ...]) -> str:
    """`("a", 0, "b")` as `a[0].b`. The mark that pydantic puts behind a table's own name is left out."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path if part != "[key]")
    return "".join(parts).lstrip(".")
