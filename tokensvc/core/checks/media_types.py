"""MIME types and the ranges of them that a profile names: `image/png`, `image/*`, `*/*`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_NAME: Final = r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}"
_RANGE: Final = re.compile(rf"\*/\*|{_NAME}/(?:\*|{_NAME})")


def essence(mime: str) -> str:
    """The type without its parameters, in small letters: `text/plain` of `Text/Plain; charset=utf-8`."""
    return mime.partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One MIME type, or all that begin alike. `text` is in small letters."""

    text: str

    @classmethod
    def parse(cls, text: str) -> MediaRange:
        """Read `type/subtype`, `type/*` or `*/*`; anything else is a `ValueError`."""
        lowered = text.lower()
        if not _RANGE.fullmatch(lowered):
            raise ValueError(f"{text[:64]!r} is not a MIME type, nor a range such as image/*")
        return cls(lowered)

    @property
    def is_everything(self) -> bool:
        """Whether every type is in it."""
        return self.text == "*/*"

    @property
    def is_exact(self) -> bool:
        """Whether it is one type."""
        return not self.text.endswith("/*")

    @property
    def prefix(self) -> str:
        """What the types in it begin with."""
        return "" if self.is_everything else self.text.removesuffix("*")

    def __contains__(self, mime: str) -> bool:
        return essence(mime) == self.text if self.is_exact else essence(mime).startswith(self.prefix)
