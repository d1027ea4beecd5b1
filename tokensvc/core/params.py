"""ImageKit's upload parameters as data: the one table that issuing and accepting both read.

On the wire every parameter is a text field, whatever its type: `Kind` says how an SDK's value becomes that text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from . import strict_json
from .errors import Code, Refusal


class Kind(Enum):
    """How a parameter's value is written as text."""

    TEXT = "text"
    FLAG = "true or false"
    LIST = "values joined by a comma"
    JSON = "JSON text"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One form field. `guarded` ones cost money or overwrite things: a profile must allow them by name."""

    name: str
    kind: Kind = Kind.TEXT
    guarded: bool = False
    meaning: str = ""


def _table(*parameters: Parameter) -> Mapping[str, Parameter]:
    return {parameter.name: parameter for parameter in parameters}


PARAMETERS: Final = _table(
    Parameter("fileName", meaning="name to store the file under"),
    Parameter("useUniqueFileName", Kind.FLAG, meaning="add a suffix that makes the name unique; default true"),
    Parameter("tags", Kind.LIST, meaning="at most 500 characters in sum, no %"),
    Parameter("folder", meaning="letters, digits, /, _ and -; at most 50 levels; default /"),
    Parameter("isPrivateFile", Kind.FLAG, meaning="default false"),
    Parameter("isPublished", Kind.FLAG, guarded=True, meaning="default true"),
    Parameter("customCoordinates", meaning="x,y,width,height"),
    Parameter("responseFields", Kind.LIST, meaning="further members of the answer"),
    Parameter("extensions", Kind.JSON, guarded=True, meaning="array of paid extensions"),
    Parameter("webhookUrl", guarded=True, meaning="URL told of the extensions' status"),
    Parameter("overwriteFile", Kind.FLAG, guarded=True, meaning="replace a file of that name; default true"),
    Parameter("overwriteAITags", Kind.FLAG, guarded=True, meaning="default true"),
    Parameter("overwriteTags", Kind.FLAG, guarded=True, meaning="default true"),
    Parameter("overwriteCustomMetadata", Kind.FLAG, guarded=True, meaning="default true"),
    Parameter("customMetadata", Kind.JSON, meaning="object of the account's fields"),
    Parameter("transformation", Kind.JSON, guarded=True, meaning="object with pre and post"),
    Parameter("checks", meaning="expression that the upload must satisfy"),
    Parameter("description", meaning="text"),
)
"""Every parameter that a v2 payload may hold."""

ENVELOPE: Final = frozenset({"file", "token", "signature", "expire", "publicKey"})
"""Form fields that carry the file or the credential; never signed in a v2 payload."""

CLAIMED_BY_US: Final = frozenset({"iat", "exp", "nbf", "jti"})
"""Payload members that only the issuer writes, or nobody."""

CLIENT_CHOICES: Final = frozenset({"fileName", "tags", "customCoordinates", "responseFields", "useUniqueFileName"})
"""What a v2 client may choose under a profile that says nothing about it."""

MAX_VALUE_CHARACTERS: Final = 4096


def elements(name: str, text: str) -> tuple[str, ...]:
    """The values that a parameter's text holds: one, or those of a list, each bare of blanks and quotes around it.

    Android <= 2.0.1 joins tags as `'a', 'b'`. That is for comparing only; what is signed is the text as it came.
    """
    if PARAMETERS[name].kind is not Kind.LIST:
        return (text,)
    return tuple(_bare(element.strip(" ")) for element in text.split(",")) if text else ()


def _bare(element: str) -> str:
    is_quoted = len(element) > 1 and element[0] == element[-1] and element[0] in "'\""
    return element[1:-1] if is_quoted else element


def require_text(name: str, text: str) -> str:
    """Return `text` if it may be the value of a form field; controls and half surrogates are refused.

    A control character in a signed value ends up in a header or a log line; a bidirectional one shows `exe.jpg` for
    `gpj.exe`.
    """
    if len(text) <= MAX_VALUE_CHARACTERS and text.isascii() and text.isprintable():  # nearly all are
        return text
    reason = unfit(text)
    if reason:
        raise Refusal(Code.PARAMETER_INVALID, f"{name} {reason}.", "Remove those characters.", field=name)
    if len(text) > MAX_VALUE_CHARACTERS:
        raise Refusal(
            Code.PARAMETER_INVALID,
            f"{name} has {len(text)} characters; at most {MAX_VALUE_CHARACTERS} are allowed.",
            "Send a shorter value.",
            field=name,
        )
    return text


def unfit(text: str) -> str | None:
    """Say why a text may not be a parameter's value, or nothing if it may."""
    if text.isascii() and text.isprintable():  # nearly all are, and this takes a tenth of the time
        return None
    return next((f"contains {what}" for what, found in _UNFIT if found.search(text)), None)


_UNFIT: Final = (
    ("a control character", re.compile(r"[\x00-\x1f\x7f-\x9f]")),
    ("half of a surrogate pair", re.compile(r"[\ud800-\udfff]")),
    ("a character that changes the direction of text", re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")),
    ("the replacement character, so it was not valid UTF-8", re.compile(r"\ufffd")),
)


def as_text(name: str, value: Any) -> str:  # noqa: ANN401 - a member of somebody's JSON
    """Return the form text of a payload member: texts verbatim, others as the SDKs write them."""
    if isinstance(value, str):
        return require_text(name, value)
    kind = PARAMETERS[name].kind
    if isinstance(value, bool) and kind in (Kind.FLAG, Kind.TEXT):
        return "true" if value else "false"
    if isinstance(value, int) and not isinstance(value, bool) and kind is Kind.TEXT:
        return str(value)
    if isinstance(value, list) and kind is Kind.LIST and all(isinstance(item, str) for item in value):
        if any("," in item for item in value):
            raise Refusal(Code.PARAMETER_INVALID, f"{name} has a value with a comma in it.", field=name)
        return require_text(name, ",".join(value))
    if isinstance(value, dict | list) and kind is Kind.JSON:
        return require_text(name, strict_json.dumps(value).decode())
    raise Refusal(
        Code.PARAMETER_INVALID,
        f"{name} is {strict_json.type_names[type(value)]}; it must be a string: {kind.value}.",
        "Send the exact text that the form field will contain.",
        field=name,
    )
