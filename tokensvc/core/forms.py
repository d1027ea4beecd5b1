"""What an upload form asks for, in one spelling, and held to what ImageKit demands of it.

Old SDKs send every field that they know, set or not: as an empty text, or as the texts `null` and `undefined`. What
is unset is left out here, so nothing after this has to know about them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from . import constraints, strict_json, upload
from .errors import Code, Refusal
from .nonces import Version
from .params import ENVELOPE, PARAMETERS, Kind, elements

_UNSET: Final[Mapping[Version, frozenset[str]]] = {
    "v1": frozenset({"", "null", "undefined"}),
    "v2": frozenset({""}),
}
"""A v2 form is what was signed, text by text: there `null` may be a description."""

_FILM_ONLY: Final = frozenset({"abs", "thumbnail"})
"""Post-transformations that need a video."""

_LENIENT: Final = frozenset({"responseFields", "checks"})
"""Unknown response fields are passed over; `checks` has its own place, after the file was looked into."""


def settle(fields: Mapping[str, str], version: Version) -> dict[str, str]:
    """Return the parameters that are set, lists as texts joined by commas; other fields are left out."""
    settled = {}
    for name in PARAMETERS.keys() - ENVELOPE:
        text = fields.get(name, "")
        if text in _UNSET[version] or (PARAMETERS[name].kind is Kind.FLAG and text in _UNSET["v1"]):
            continue
        if PARAMETERS[name].kind is Kind.LIST:
            text = _joined(name, text)
        settled[name] = text
    return settled


def require(settled: Mapping[str, str]) -> None:
    """Refuse a form with a parameter that ImageKit would not take; `settled` comes from `settle`."""
    for name, text in sorted(settled.items()):
        if name not in _LENIENT:
            constraints.require(name, text)


def require_suits(settled: Mapping[str, str], kind: upload.Kind) -> None:
    """Refuse transformations of a file that cannot be transformed, or not like that."""
    transformation = _json(settled, "transformation")
    if not transformation:
        return
    if not kind.mime.startswith(("image/", "video/")):
        raise Refusal(
            Code.PARAMETER_INVALID,
            f"transformation is for images and videos; the file is {kind.mime}.",
            "Leave transformation out.",
            field="transformation.file",
        )
    for entry in transformation.get("post", []):
        if (entry["type"] in _FILM_ONLY and not kind.mime.startswith("video/")) or (
            entry["type"] == "gif-to-video" and kind.mime != "image/gif"
        ):
            raise Refusal(
                Code.PARAMETER_INVALID,
                f"transformation has a post of type {entry['type']}, which does not fit {kind.mime}.",
                "Leave it out, or send a file that it fits: a GIF for gif-to-video, a video for thumbnail and abs.",
                field="transformation.post",
            )


def is_queued(file: upload.StoredFile) -> bool:
    """Whether ImageKit would answer before it has the file: a video with a pre-transformation."""
    transformation = _json(file.fields, "transformation")
    return file.kind.mime.startswith("video/") and bool(transformation) and "pre" in transformation


def extension_names(fields: Mapping[str, str]) -> tuple[str, ...]:
    """The extensions that a kept file's form asked for."""
    return tuple(dict.fromkeys(extension["name"] for extension in _json(fields, "extensions") or ()))


def custom_metadata(fields: Mapping[str, str]) -> dict[str, Any]:
    """A kept file's custom metadata; empty if there is none."""
    found: dict[str, Any] = _json(fields, "customMetadata") or {}
    return found


def _json(fields: Mapping[str, str], name: str) -> Any:  # noqa: ANN401 - JSON, held to its shape before
    return strict_json.loads(fields[name].encode()) if fields.get(name) else None


def _joined(name: str, text: str) -> str:
    """The list's texts joined by commas. JS 1.4 sends `["a","b"]`, Android 2 `'a', 'b'`."""
    if name == "responseFields" and text.startswith("["):
        try:
            listed = strict_json.loads(text.encode())
        except ValueError:
            return text
        return ",".join(item for item in listed if isinstance(item, str))
    return ",".join(element for element in elements(name, text) if element)
