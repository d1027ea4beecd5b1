"""ImageKit's upload API: `POST /api/v1/files/upload` and `POST /api/v2/files/upload`.

`POST /v1/files/upload`, at which SDKs of 2020 and before send (JS 1.0, Android 2.0), is the same as v1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

from flask import Blueprint, Response, g, json, request
from werkzeug.exceptions import HTTPException, UnsupportedMediaType

from tokensvc.core import forms
from tokensvc.core.errors import Refusal
from tokensvc.core.nonces import Version
from tokensvc.ports import Incoming
from tokensvc.service.accept import Accept, Offer
from tokensvc.service.fetching import Remote

from . import imagekit
from .identity import client_address
from .multipart import FormLimits, read_form, receive_within
from .parts import Source, malformed
from .problems import request_id

CREDENTIAL_HEADERS: Final[Mapping[Version, Mapping[str, str]]] = {
    "v1": {
        "token": "X-Upload-Token",
        "expire": "X-Upload-Expire",
        "signature": "X-Upload-Signature",
        "publicKey": "X-Upload-Public-Key",
    },
    "v2": {"token": "X-Upload-Token"},
}
"""Headers in which a credential may come besides its form fields, or instead."""

_DRAIN_BYTES: Final = 64 * 1024
_MOST_UNREAD_BYTES: Final = 1024 * 1024
"""Read of a body whose credential was refused before it; that is to spare the rest."""


def uploads_blueprint(accept: Accept, limits: FormLimits, base_url: Callable[[str], str]) -> Blueprint:
    """The routes that accept. `base_url` tells where an account's files are served."""
    blueprint = Blueprint("uploads", __name__)

    @blueprint.post("/api/<any(v1, v2):version>/files/upload")
    def upload(version: Version) -> Response:
        with _offer(version, limits, accept) as offer:
            stored = accept(offer)
        if forms.is_queued(stored):
            return _answer(imagekit.QUEUED, HTTPStatus.ACCEPTED)
        return _answer(imagekit.success(stored, base_url(stored.account)), HTTPStatus.OK)

    blueprint.add_url_rule("/v1/files/upload", "first_v1", partial(upload, "v1"), methods=["POST"])
    return blueprint


def _answer(body: Mapping[str, Any], status: HTTPStatus) -> Response:
    return imagekit.name_request(Response(json.dumps(body), status, mimetype="application/json"), request_id())


@contextmanager
def _offer(version: Version, limits: FormLimits, accept: Accept) -> Iterator[Offer]:
    """The request's form with its file on disk; what was not kept is gone at the end, whatever happened."""
    stream = cast("Source", request.stream)
    whole = limits  # of a file that is fetched: by then its sender is known
    early, private_key, client = _header_fields(version), _private_key(), client_address()
    key = request.headers.get("Idempotency-Key")
    g.spent_token = early.get("token", "")
    if early or private_key is not None:
        try:
            accept.require_genuine(Offer(version, early, None, private_key, client, key))
        except Refusal:
            _drain(stream, _MOST_UNREAD_BYTES)
            raise
    else:
        limits = limits.unverified()
    try:
        _require_multipart()
        receive, inspect, kind = accept.files.receive, accept.inspect, request.content_type or ""
        form = read_form(stream, kind, open_file=receive, limits=limits, inspect=inspect)
    except (Refusal, UnsupportedMediaType):
        _drain(stream, limits.max_body_bytes)
        raise
    with ExitStack() as after:

        def take_in(pieces: Iterator[bytes]) -> Incoming:
            file = receive()
            after.callback(file.discard)
            receive_within(whole, file, pieces, inspect)
            return file

        if form.file is not None:
            after.callback(form.file.discard)
        fields = _merged(form.fields, early)
        g.spent_token = fields.get("token", "")
        remote = None if form.url is None else Remote(form.url, take_in)
        yield Offer(version, fields, form.file, private_key, client, key, remote)


def _header_fields(version: Version) -> dict[str, str]:
    """The credential's form fields that came as headers, so that it can be verified before the body is read."""
    named = {name: request.headers.get(header, "") for name, header in CREDENTIAL_HEADERS[version].items()}
    return {name: text for name, text in named.items() if text}


def _merged(fields: dict[str, str], early: Mapping[str, str]) -> dict[str, str]:
    for name, text in early.items():
        if fields.get(name, text) != text:
            raise malformed(f"{name} differs between form and header.", "Send it in one of the two.", field=name)
    return {**fields, **early}


def _require_multipart() -> None:
    if request.mimetype != "multipart/form-data" or request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMediaType


def _drain(stream: Source, at_most: int) -> None:
    """Read what the client still sends, within bounds: a browser that is cut off shows a network error, no answer."""
    with suppress(OSError, ValueError, HTTPException):
        buffer = memoryview(bytearray(_DRAIN_BYTES))
        while at_most > 0 and (received := stream.readinto(buffer[:at_most])):
            at_most -= received


def _private_key() -> str | None:
    """The user name of Basic authentication; SDKs send anything as the password."""
    authorization = request.authorization
    return authorization.username or "" if authorization is not None and authorization.type == "basic" else None
