"""ImageKit's upload API: `POST /api/v1/files/upload` and `POST /api/v2/files/upload`.

`POST /v1/files/upload`, at which SDKs of 2020 and before send (JS 1.0, Android 2.0), is the same as v1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import Any, BinaryIO, Final, cast

from flask import Blueprint, Response, g, json, request
from werkzeug.exceptions import HTTPException, UnsupportedMediaType

from tokensvc.core import forms
from tokensvc.core.errors import Refusal
from tokensvc.core.nonces import Version
from tokensvc.ports import Incoming
from tokensvc.service.accept import Accept, Offer

from . import imagekit
from .identity import client_address
from .multipart import FormLimits, read_form
from .problems import request_id

_DRAIN_BYTES: Final = 64 * 1024


def uploads_blueprint(accept: Accept, limits: FormLimits, base_url: Callable[[str], str]) -> Blueprint:
    """The routes that accept. `base_url` tells where an account's files are served."""
    blueprint = Blueprint("uploads", __name__)

    @blueprint.post("/api/<any(v1, v2):version>/files/upload")
    def upload(version: Version) -> Response:
        with _offer(version, limits, accept.files.receive) as offer:
            stored = accept(offer)
        if forms.is_queued(stored):
            return _answer(imagekit.QUEUED, HTTPStatus.ACCEPTED)
        return _answer(imagekit.success(stored, base_url(stored.account)), HTTPStatus.OK)

    blueprint.add_url_rule("/v1/files/upload", "first_v1", partial(upload, "v1"), methods=["POST"])
    return blueprint


def _answer(body: Mapping[str, Any], status: HTTPStatus) -> Response:
    return imagekit.name_request(Response(json.dumps(body), status, mimetype="application/json"), request_id())


@contextmanager
def _offer(version: Version, limits: FormLimits, receive: Callable[[], Incoming]) -> Iterator[Offer]:
    """The request's form with its file on disk; what was not kept is gone at the end, whatever happened."""
    stream = cast("BinaryIO", request.stream)
    try:
        _require_multipart()
        form = read_form(stream, request.content_type or "", open_file=receive, limits=limits)
    except (Refusal, UnsupportedMediaType):
        _drain(stream, limits.max_body_bytes)
        raise
    g.spent_token = form.fields.get("token", "")
    try:
        yield Offer(version, form.fields, form.file, _private_key(), client_address())
    finally:
        if form.file is not None:
            form.file.discard()


def _require_multipart() -> None:
    if request.mimetype != "multipart/form-data" or request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMediaType


def _drain(stream: BinaryIO, at_most: int) -> None:
    """Read what the client still sends, within bounds: a browser that is cut off shows a network error, no answer."""
    with suppress(OSError, ValueError, HTTPException):
        while at_most > 0 and (chunk := stream.read(min(at_most, _DRAIN_BYTES))):
            at_most -= len(chunk)


def _private_key() -> str | None:
    """The user name of Basic authentication; SDKs send anything as the password."""
    authorization = request.authorization
    return authorization.username or "" if authorization is not None and authorization.type == "basic" else None
