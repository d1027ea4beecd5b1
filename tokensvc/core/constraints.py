"""What ImageKit is known to demand of each parameter's text, checked before anything is signed.

A credential is good for one upload, and a refused upload has used it up: so what will be refused is not signed.
Nothing is rewritten, and what ImageKit itself rewrites (odd characters in `fileName`) passes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from . import strict_json, upload
from .checks import require_syntax
from .errors import Code, Refusal
from .params import PARAMETERS, Kind, elements

MAX_TAGS_CHARACTERS: Final = 500
"""Of all tags in sum, without the commas."""

MAX_POST_TRANSFORMATIONS: Final = 5

RESPONSE_FIELDS: Final = (
    "tags",
    "customCoordinates",
    "isPrivateFile",
    "isPublished",
    "embeddedMetadata",
    "customMetadata",
    "metadata",
    "selectedFieldsSchema",
)
EXTENSIONS: Final = (
    "remove-bg",
    "google-auto-tagging",
    "aws-auto-tagging",
    "ai-auto-description",
    "ai-tasks",
    "saved-extension",
)
POST_TYPES: Final = ("transformation", "gif-to-video", "thumbnail", "abs")
PROTOCOLS: Final = ("hls", "dash")


class _Unfit(Exception):  # noqa: N818 - becomes a refusal in `require`
    """What is wrong with a text, to be read after the parameter's name, and what to send instead."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


def require(name: str, text: str) -> None:
    """Refuse a text that ImageKit would not take for this parameter; `name` is one of `PARAMETERS`."""
    try:
        _CONSTRAINTS[name](text)
    except _Unfit as unfit:
        raise Refusal(Code.PARAMETER_INVALID, f"{name} {unfit.reason}.", unfit.remedy, field=name) from None


def _anything(text: str) -> None:
    """No constraint is known."""


def _flag(text: str) -> None:
    if text not in ("true", "false"):
        raise _Unfit("is neither true nor false", "Send the text true or false.")


def _file_name(text: str) -> None:
    upload.safe_name(text)


def _folder(text: str) -> None:
    upload.safe_folder(text)


def _tags(text: str) -> None:
    if "%" in text:
        raise _Unfit("holds a %", "Leave the % out.")
    length = len(text) - text.count(",")
    if length > MAX_TAGS_CHARACTERS:
        raise _Unfit(
            f"has {length} characters in all tags together; at most {MAX_TAGS_CHARACTERS} are allowed",
            "Send fewer or shorter tags.",
        )


def _response_fields(text: str) -> None:
    for element in elements("responseFields", text):
        _one_of(element, RESPONSE_FIELDS, "names")


_COORDINATES: Final = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:,|\Z)){4}(?<!,)", re.ASCII)


def _coordinates(text: str) -> None:
    if text and not _COORDINATES.fullmatch(text):
        raise _Unfit("is not x,y,width,height", "Send four numbers joined by commas, such as 10,10,200,100.")


def _url(text: str) -> None:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and " " not in text and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise _Unfit("is not an http or https URL", "Send a whole URL, such as https://app.example/hook.")


def _checks(text: str) -> None:
    require_syntax(text)


def _custom_metadata(text: str) -> None:
    _json(text, dict, 'an object, such as {"price":10}')


def _extensions(text: str) -> None:
    remedy = 'an array of objects, such as [{"name":"google-auto-tagging","maxTags":5,"minConfidence":95}]'
    for extension in _json(text, list, remedy):
        if not isinstance(extension, dict) or not isinstance(extension.get("name"), str):
            raise _Unfit("has an entry that is no object with a name", f"Send {remedy}.")
        name = extension["name"]
        _one_of(name, EXTENSIONS, "names")
        if name == "saved-extension" and not _is_text(extension.get("id")):
            raise _Unfit("has a saved-extension without id", "Send the id of the saved extension.")
        if name.endswith("-auto-tagging"):
            for member in ("minConfidence", "maxTags"):
                if not _is_number(extension.get(member, 1)):
                    raise _Unfit(f"has a {member} that is no number", "Send a number, such as 5.")


def _transformation(text: str) -> None:
    remedy = 'an object with pre or post, such as {"pre":"w-800"}'
    transformation = _json(text, dict, remedy)
    if not transformation.keys() & {"pre", "post"}:
        raise _Unfit("has neither pre nor post", f"Send {remedy}.")
    if not _is_text(transformation.get("pre", "-")):
        raise _Unfit("has a pre that is empty or no text", 'Send a text such as "w-800", or leave pre out.')
    post = transformation.get("post", [])
    if not isinstance(post, list):
        raise _Unfit("has a post that is no list", "Send a list, or leave post out.")
    if len(post) > MAX_POST_TRANSFORMATIONS:
        raise _Unfit(
            f"has {len(post)} entries in post; at most {MAX_POST_TRANSFORMATIONS} are allowed", "Send fewer of them."
        )
    for entry in post:
        _post(entry)


def _post(entry: object) -> None:
    if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
        raise _Unfit("has an entry in post that is no object with a type", f"Use a type of {', '.join(POST_TYPES)}.")
    kind = entry["type"]
    _one_of(kind, POST_TYPES, "has a post of type")
    if kind in ("transformation", "abs") and not _is_text(entry.get("value")):
        raise _Unfit(f"has a post of type {kind} without value", "Send its value as a text.")
    if not isinstance(entry.get("value", ""), str):
        raise _Unfit(f"has a post of type {kind} whose value is no text", "Send its value as a text.")
    if "protocol" in entry:
        if kind != "abs":
            raise _Unfit(f"has a post of type {kind} with a protocol", "Leave protocol out; it is for abs.")
        _one_of(entry["protocol"], PROTOCOLS, "has the protocol")


def _json(text: str, shape: type[Any], remedy: str) -> Any:  # noqa: ANN401 - any JSON of that shape
    try:
        value = strict_json.loads(text.encode())
    except ValueError as exc:
        raise _Unfit(f"is not good JSON text: {exc}", f"Send {remedy}.") from None
    if not isinstance(value, shape):
        raise _Unfit(f"is {strict_json.type_names[type(value)]}", f"Send {remedy}.")
    return value


def _one_of(value: object, known: tuple[str, ...], verb: str) -> None:
    if value not in known:
        raise _Unfit(f"{verb} {str(value)[:64]!r}, which is not known", f"Use some of {', '.join(known)}.")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


_CONSTRAINTS: Final[Mapping[str, Callable[[str], None]]] = {
    **{name: _flag for name, parameter in PARAMETERS.items() if parameter.kind is Kind.FLAG},
    "fileName": _file_name,
    "tags": _tags,
    "folder": _folder,
    "customCoordinates": _coordinates,
    "responseFields": _response_fields,
    "extensions": _extensions,
    "webhookUrl": _url,
    "customMetadata": _custom_metadata,
    "transformation": _transformation,
    "checks": _checks,
    "description": _anything,
}
