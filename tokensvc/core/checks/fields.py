"""The fields that a check may name, each with its operators.

A number has no `NOT =` and no `IN`, except in custom metadata: so ImageKit's own table says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Final


class Operator(StrEnum):
    """The operators as they are written, in capitals: whether ImageKit reads small letters is not published."""

    EQUALS = "="
    NOT_EQUALS = "NOT ="
    STARTS_WITH = ":"
    IN = "IN"
    NOT_IN = "NOT IN"
    GREATER = ">"
    AT_LEAST = ">="
    LESS = "<"
    AT_MOST = "<="
    HAS = "HAS"
    NOT_HAS = "NOT HAS"

    @property
    def is_negated(self) -> bool:
        """Whether it is one of the three that begin with NOT."""
        return self.startswith("NOT ")

    @property
    def takes_list(self) -> bool:
        """Whether a list may stand after it."""
        return self.removeprefix("NOT ") in ("IN", "HAS")


class FieldKind(Enum):
    """What kind of value a field has; the text says it in words."""

    TEXT = "a text in quotes"
    FLAG = "true or false, without quotes"
    TAGS = "a tag in quotes"
    SIZE = 'a number of bytes, or a text such as "10kb" or "1mb"'
    NUMBER = "a number, without quotes"
    METADATA = "a text in quotes, a number, or true or false"


_EQUALITY: Final = frozenset({Operator.EQUALS, Operator.NOT_EQUALS})
_MEMBERSHIP: Final = frozenset({Operator.IN, Operator.NOT_IN})
_ORDER: Final = frozenset({Operator.GREATER, Operator.AT_LEAST, Operator.LESS, Operator.AT_MOST})

OPERATORS: Final[Mapping[FieldKind, frozenset[Operator]]] = {
    FieldKind.TEXT: _EQUALITY | _MEMBERSHIP | {Operator.STARTS_WITH},
    FieldKind.FLAG: _EQUALITY,
    FieldKind.TAGS: _MEMBERSHIP | {Operator.HAS, Operator.NOT_HAS},
    FieldKind.SIZE: _ORDER | {Operator.EQUALS},
    FieldKind.NUMBER: _ORDER | {Operator.EQUALS},
    # A metadata field's own type is known to the account only, so all that any type has may be written.
    FieldKind.METADATA: _EQUALITY | _MEMBERSHIP | _ORDER | {Operator.STARTS_WITH},
}

FLAG_DEFAULTS: Final[Mapping[str, bool]] = {
    "useUniqueFileName": True,
    "isPrivateFile": False,
    "isPublished": True,
    "overwriteFile": True,
    "overwriteAITags": True,
    "overwriteTags": True,
    "overwriteCustomMetadata": True,
}
"""The upload parameters that are flags, with what an absent one means."""

FIELDS: Final[Mapping[str, FieldKind]] = {
    "request.fileName": FieldKind.TEXT,
    "request.folder": FieldKind.TEXT,
    "request.customCoordinates": FieldKind.TEXT,
    "request.webhookUrl": FieldKind.TEXT,
    "request.tags": FieldKind.TAGS,
    "file.size": FieldKind.SIZE,
    "file.mime": FieldKind.TEXT,
    "mediaMetadata.width": FieldKind.NUMBER,
    "mediaMetadata.height": FieldKind.NUMBER,
    "mediaMetadata.duration": FieldKind.NUMBER,
    "mediaMetadata.bitRate": FieldKind.NUMBER,
    "mediaMetadata.videoCodec": FieldKind.TEXT,
    "mediaMetadata.audioCodec": FieldKind.TEXT,
    **{f"request.{name}": FieldKind.FLAG for name in FLAG_DEFAULTS},
}

METADATA_PREFIX: Final = "request.customMetadata."


def kind_of(field: str) -> FieldKind | None:
    """The kind of a field's value, or None if there is no such field."""
    if field.startswith(METADATA_PREFIX) and len(field) > len(METADATA_PREFIX):
        return FieldKind.METADATA
    return FIELDS.get(field)


_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?(b|kb|mb|gb)", re.IGNORECASE)
_BYTES_PER_UNIT: Final = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3}


def bytes_of(text: str) -> Decimal | None:
    """The number of bytes that a size such as "1.5mb" means, or None if it is not one.

    ImageKit does not publish whether its kb is 1000 or 1024 bytes. Here it is 1000, as everywhere in tokensvc: the
    smaller reading, so that what passes an upper limit here passes it there too.
    """
    found = _SIZE.fullmatch(text)
    return None if found is None else Decimal(found[1]) * _BYTES_PER_UNIT[found[2].lower()]
