"""An account's custom metadata fields, as ImageKit has them, and whether the values of an upload are such.

A value is held to the type that JSON gives it: `"10"` is no number, and `true` is not the option 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from . import strict_json
from .errors import Code, Refusal

FieldType = Literal["Text", "Textarea", "Number", "Date", "Boolean", "SingleSelect", "MultiSelect"]
Option = str | int | float | bool

_TEXTS: Final = ("Text", "Textarea")
_RANGES: Final = ("Number", "Date")
_SELECTS: Final = ("SingleSelect", "MultiSelect")


class _Unfit(Exception):  # noqa: N818 - becomes a refusal in `require_metadata`
    """What is wrong with a value, to be read after the field's name."""


@dataclass(frozen=True, slots=True)
class MetadataField:
    """One field. Lengths are characters; a date's bounds are ISO 8601 texts; both ends of a range are within it.

    Raises ValueError for what does not belong to the type, or leaves no value.
    """

    type: FieldType
    required: bool = False
    min_length: int | None = None
    max_length: int | None = None
    min_value: float | str | None = None
    max_value: float | str | None = None
    options: tuple[Option, ...] = ()

    def __post_init__(self) -> None:
        for name, types in (("length", _TEXTS), ("value", _RANGES)):
            least, most = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if (least is not None or most is not None) and self.type not in types:
                raise ValueError(f"min_{name} and max_{name} are for {' and '.join(types)}")
        for name in ("min_value", "max_value"):
            bound = getattr(self, name)
            if bound is not None and _comparable(self.type, bound) is None:
                raise ValueError(f"{name} is not a {_MEANINGS[self.type]}")
        if bool(self.options) is not (self.type in _SELECTS):
            raise ValueError(f"options are for {' and '.join(_SELECTS)}, which need some")
        if self._is_above(self.min_length, self.max_length) or self._is_above(
            _comparable(self.type, self.min_value), _comparable(self.type, self.max_value)
        ):
            raise ValueError("no value is between its bounds")

    @staticmethod
    def _is_above(least: float | None, most: float | None) -> bool:
        return least is not None and most is not None and least > most

    def require(self, value: object) -> None:
        """Raise `_Unfit` with what is wrong with a value that is set."""
        if self.type in _TEXTS:
            self._require_text(value)
        elif self.type in _RANGES:
            self._require_within(value)
        elif self.type == "Boolean":
            _require(isinstance(value, bool), "is neither true nor false")
        elif self.type == "SingleSelect":
            self._require_option(value)
        elif isinstance(value, list):
            for each in value:
                self._require_option(each)
        else:
            raise _Unfit("is no list of options")

    def _require_text(self, value: object) -> None:
        _require(isinstance(value, str), "is no text")
        length = len(str(value))
        if self.min_length is not None:
            _require(length >= self.min_length, f"has {length} characters; it needs {self.min_length}")
        if self.max_length is not None:
            _require(length <= self.max_length, f"has {length} characters; at most {self.max_length} are allowed")

    def _require_within(self, value: object) -> None:
        found = _comparable(self.type, value)
        if found is None:
            raise _Unfit(f"is no {_MEANINGS[self.type]}")
        least, most = _comparable(self.type, self.min_value), _comparable(self.type, self.max_value)
        _require(least is None or found >= least, f"is below {self.min_value}")
        _require(most is None or found <= most, f"is above {self.max_value}")

    def _require_option(self, value: object) -> None:
        found = any(value == option and isinstance(value, bool) is isinstance(option, bool) for option in self.options)
        _require(found, f"is none of {', '.join(strict_json.dumps(option).decode() for option in self.options)}")


_MEANINGS: Final[Mapping[str, str]] = {"Number": "number", "Date": "date in ISO 8601, such as 2026-11-30T10:11:10Z"}


def _comparable(kind: str, value: object) -> float | None:
    """A number as it is, a date as Unix seconds (UTC if it says no zone); None for what is neither."""
    if kind == "Number" and isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if kind == "Date" and isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return None
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    return None


def _require(good: bool, reason: str) -> None:
    if not good:
        raise _Unfit(reason)


def require_metadata(fields: Mapping[str, MetadataField], values: Mapping[str, Any]) -> None:
    """Refuse an upload's custom metadata if it has a field that is not declared, or a wrong value, or lacks one.

    `null` is no value. What is required is so in an upload that sends custom metadata, as at ImageKit.
    """
    for name, value in values.items():
        if name not in fields:
            raise _refusal(
                f"customMetadata has {name[:64]!r}, which is no field of the account.",
                f"Use some of {', '.join(fields)}, or declare it under metadata_fields." if fields else "Leave it out.",
            )
        if value is None:
            continue
        try:
            fields[name].require(value)
        except _Unfit as unfit:
            remedy = f"Send a value for a field of type {fields[name].type}."
            raise _refusal(f"customMetadata: {name} {unfit}.", remedy) from None
    missing = [name for name, each in fields.items() if each.required and values.get(name) is None]
    if missing:
        raise _refusal(f"customMetadata lacks {', '.join(missing)}.", "Send a value for each field that is required.")


def _refusal(detail: str, remedy: str) -> Refusal:
    return Refusal(Code.PARAMETER_INVALID, detail, remedy, field="customMetadata")
