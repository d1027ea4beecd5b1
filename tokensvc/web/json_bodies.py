"""JSON in and out: one object from a stranger within bounds, and one answer that nothing on its way may keep."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Any, Final
from wsgiref.types import WSGIEnvironment

from flask import Response, request
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.wsgi import get_content_length, get_input_stream

from tokensvc.core import strict_json
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.json_text import text_maker

MAX_BODY_BYTES: Final = 64 * 1024


def read_object(most_bytes: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """Read the body of Flask's current request as one JSON object; see `read_object_of`."""
    return read_object_of(request.environ, most_bytes)


def read_object_of(environ: WSGIEnvironment, most_bytes: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """Read a request's body as one JSON object, whatever its Content-Type, or raise a refusal."""
    if environ.get("HTTP_CONTENT_ENCODING", "identity") != "identity":
        raise UnsupportedMediaType
    body = _read(environ, most_bytes)
    if len(body) > most_bytes:
        raise _too_large(most_bytes)
    try:
        return strict_json.loads_object(body)
    except ValueError as exc:
        raise Refusal(Code.REQUEST_MALFORMED, f"The body cannot be used: {exc}.", "Send one JSON object.") from None


def _read(environ: WSGIEnvironment, most_bytes: int) -> bytes:
    """The body, or of one that is too large some of it. One of a plain length is read past Werkzeug's stream."""
    length = environ.get("CONTENT_LENGTH", "")
    is_plain = _LENGTH.fullmatch(length) and "HTTP_TRANSFER_ENCODING" not in environ
    stated = int(length) if is_plain else get_content_length(environ) or 0
    if stated > most_bytes:
        raise _too_large(most_bytes)
    try:
        body: bytes = environ["wsgi.input"].read(stated) if is_plain else get_input_stream(environ).read(most_bytes + 1)
    except Exception as exc:
        # The client went away, or its chunks are not chunks: gunicorn's errors for that are not OSErrors.
        raise _cut_off() from exc
    if len(body) < stated:
        raise _cut_off()
    return body


def _cut_off() -> Refusal:
    return Refusal(Code.REQUEST_MALFORMED, "The request's body could not be read to its end.")


def require_members(members: Mapping[str, object], known: frozenset[str]) -> None:
    """Refuse an object with any other member: one that is misspelt must not be silently absent."""
    if not members.keys() <= known:
        names = ", ".join(sorted(known))
        raise Refusal(Code.REQUEST_MALFORMED, "The body has a member that is not known.", f"Send only: {names}.")


def text_of(members: Mapping[str, object], name: str) -> str:
    """The text of a member, empty if it is absent; a refusal if it is anything else."""
    value = members.get(name, "")
    if not isinstance(value, str):
        what = strict_json.type_names[type(value)]
        raise Refusal(Code.REQUEST_MALFORMED, f"{name} is {what}; it must be a string.", field=name)
    return value


@dataclass(frozen=True, slots=True)
class Answer:
    """A yes, before any class of a framework is made of it."""

    body: bytes
    headers: list[tuple[str, str]]
    status: str = "200 OK"

    def response(self) -> Response:
        """As a view of Flask returns it."""
        return Response(self.body, self.status, self.headers)


def private_answer(body: Mapping[str, Any], *more: tuple[str, str]) -> Answer:
    """This JSON, with what keeps it out of every cache and with more headers."""
    return private_text(dumps(body), *more)


def private_text(text: str, *more: tuple[str, str]) -> Answer:
    """The same of JSON that is written already."""
    body = text.encode()
    return Answer(body, [*_PRIVATE, ("Content-Length", str(len(body))), *more])


def private_json(body: Mapping[str, Any], *more: tuple[str, str]) -> Response:
    """The same for a view of Flask."""
    return private_answer(body, *more).response()


dumps: Final = text_maker()
"""JSON as all answers are written."""

quoted: Final[Callable[[str], str]] = encode_basestring_ascii
"""A text as `dumps` writes it, in a tenth of the time."""

_LENGTH: Final = re.compile("[0-9]{1,15}", re.ASCII)

_PRIVATE: Final = (
    ("Content-Type", "application/json"),
    ("Cache-Control", "no-store, private"),
    ("Pragma", "no-cache"),
    ("Vary", "Origin, Authorization, Cookie"),
)


def _too_large(most_bytes: int) -> Refusal:
    return Refusal(Code.TOO_LARGE, f"The body is larger than {most_bytes} bytes.", "Send the parameters only.")
