"""What is known of an upload when its checks are evaluated: the form as ImageKit reads it, and the file.

A flag that the form leaves out has ImageKit's default, and a text that it leaves out is empty: that is knowledge. Only
about the file can something be unknown.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from tokensvc.core import strict_json
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.upload import flag

from .fields import FLAG_DEFAULTS, METADATA_PREFIX
from .language import Scalar
from .media_types import essence

_UNSET: Final = ("", "null", "undefined")


@dataclass(frozen=True, slots=True)
class Media:
    """What was read out of an image or a video; None is unknown. Pixels, seconds, and bits a second."""

    width: int | None = None
    height: int | None = None
    duration: float | None = None
    bit_rate: int | None = None
    video_codec: str | None = None
    audio_codec: str | None = None


_NO_MEDIA: Final = Media()


@dataclass(frozen=True, slots=True)
class Facts:
    """An upload as checks see it: the value of each field by its name, None if unknown. `Facts.of` makes one.

    A tuple holds tags, or the choices of a multiple selection. Custom metadata that was not sent has no entry.
    """

    values: Mapping[str, Scalar | tuple[Scalar, ...] | None] = field(default_factory=dict)

    @classmethod
    def of(cls, fields: Mapping[str, str], *, size: int, mime: str | None, media: Media = _NO_MEDIA) -> Facts:
        """`fields` are the form's texts, `size` is in bytes. A `Refusal` names a field that cannot be read."""
        tags = tuple(tag.strip() for tag in fields.get("tags", "").split(","))
        values: dict[str, Scalar | tuple[Scalar, ...] | None] = {
            "request.fileName": fields.get("fileName", ""),
            "request.folder": plain_folder(fields.get("folder", "")),
            "request.customCoordinates": fields.get("customCoordinates", ""),
            "request.webhookUrl": fields.get("webhookUrl", ""),
            "request.tags": tuple(tag for tag in tags if tag),
            "file.size": size,
            "file.mime": None if mime is None else essence(mime),
            "mediaMetadata.width": media.width,
            "mediaMetadata.height": media.height,
            "mediaMetadata.duration": _exact(media.duration),
            "mediaMetadata.bitRate": media.bit_rate,
            "mediaMetadata.videoCodec": media.video_codec,
            "mediaMetadata.audioCodec": media.audio_codec,
        }
        for name, default in FLAG_DEFAULTS.items():
            values[f"request.{name}"] = flag(fields, name, default=default)
        for name, value in _metadata(fields.get("customMetadata", "")).items():
            values[METADATA_PREFIX + name] = value
        return cls(values)


def plain_folder(folder: str) -> str:
    """A folder as it is compared: NFC, without the slashes around it and repeated ones within; empty for the root."""
    return "/".join(part for part in unicodedata.normalize("NFC", folder).split("/") if part)


def _exact(number: float | None) -> Decimal | None:
    """The number that the shortest spelling of `number` means: 0.1 is 0.1."""
    return None if number is None or not math.isfinite(number) else Decimal(str(number))


def _metadata(text: str) -> dict[str, Scalar | tuple[Scalar, ...]]:
    if text in _UNSET:
        return {}
    try:
        members = strict_json.loads_object(text.encode())
        read = {name: _metadata_value(member) for name, member in members.items()}
    except ValueError as exc:
        detail = f"customMetadata cannot be read: {exc}."
        remedy = "Send the JSON text of an object whose members are texts, numbers, flags, or lists of these."
        raise Refusal(Code.PARAMETER_INVALID, detail, remedy, field="customMetadata") from None
    return {name: value for name, value in read.items() if value is not None}


def _metadata_value(member: Any) -> Scalar | tuple[Scalar, ...] | None:  # noqa: ANN401 - a member of somebody's JSON
    if isinstance(member, list):
        return tuple(_metadata_scalar(each) for each in member)
    return None if member is None else _metadata_scalar(member)


def _metadata_scalar(member: Any) -> Scalar:  # noqa: ANN401 - as above
    if isinstance(member, float):
        return Decimal(str(member))
    if isinstance(member, str | int):
        return member
    raise ValueError(f"it holds {strict_json.type_names[type(member)]} where a value belongs")
