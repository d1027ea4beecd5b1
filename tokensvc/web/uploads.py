"""ImageKit's upload API: `POST /api/v1/files/upload` and `POST /api/v2/files/upload`.

`POST /v1/files/upload`, at which SDKs of 2020 and before send (JS 1.0, Android 2.0), is the same as v1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, cast
from wsgiref.types import WSGIEnvironment

from flask import Blueprint, Response, request
from werkzeug.datastructures import Authorization
from werkzeug.exceptions import HTTPException, UnsupportedMediaType
from werkzeug.wsgi import get_input_stream

from tokensvc.core import forms
from tokensvc.core.addresses import Peers
from tokensvc.core.errors import Refusal
from tokensvc.core.nonces import Version
from tokensvc.ports import Incoming
from tokensvc.service.accept import Accept, Offer
from tokensvc.service.fetching import Remote

from . import imagekit
from .identity import client_address, own_url
from .json_bodies import Answer, dumps
from .multipart import FormLimits, read_form, receive_within
from .parts import Source, malformed
from .problems import SPENT_TOKEN, trail_in

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

_KEYS: Final = {
    version: {name: "HTTP_" + header.upper().replace("-", "_") for name, header in headers.items()}
    for version, headers in CREDENTIAL_HEADERS.items()
}
"""The same, as WSGI's environment has them."""

FIRST_V1: Final = "/v1/files/upload"

_DRAIN_BYTES: Final = 64 * 1024
_MOST_UNREAD_BYTES: Final = 1024 * 1024
"""Read of a body whose credential was refused before it; that is to spare the rest."""


@dataclass(frozen=True, slots=True)
class Accepting:
    """What the routes do. `base_url` tells where an account's files are served, by this service's own address.

    `proxies` are as for `presented_by`.
    """

    accept: Accept
    limits: FormLimits
    base_url: Callable[[str, str], str]
    proxies: Peers

    def upload(self, environ: WSGIEnvironment, version: Version) -> Answer:
        """Take a file in."""
        own = own_url(environ)  # a request for no host that can be is refused before anything is kept
        with _offer(environ, version, self) as offer:
            stored = self.accept(offer)
        status = "200 OK"
        if forms.is_queued(stored):
            status, body = "202 ACCEPTED", dumps(imagekit.QUEUED).encode()
        else:
            body = dumps(imagekit.success(stored, self.base_url(own, stored.account))).encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            *imagekit.named(trail_in(environ).request),
            ("Vary", "Origin"),
        ]
        return Answer(body, headers, status)


def uploads_blueprint(accepting: Accepting) -> Blueprint:
    """The routes that accept."""
    blueprint = Blueprint("uploads", __name__)

    @blueprint.post("/api/<any(v1, v2):version>/files/upload")
    def upload(version: Version) -> Response:
        return accepting.upload(request.environ, version).response()

    blueprint.add_url_rule(FIRST_V1, "first_v1", partial(upload, "v1"), methods=["POST"])
    return blueprint


@contextmanager
def _offer(environ: WSGIEnvironment, version: Version, accepting: Accepting) -> Iterator[Offer]:
    """The request's form with its file on disk; what was not kept is gone at the end, whatever happened."""
    accept, limits = accepting.accept, accepting.limits
    stream = cast("Source", get_input_stream(environ))
    whole = limits  # of a file that is fetched: by then its sender is known
    early, private_key = _header_fields(environ, version), _private_key(environ)
    client, key = client_address(environ, accepting.proxies), environ.get("HTTP_IDEMPOTENCY_KEY")
    environ[SPENT_TOKEN] = early.get("token", "")
    if early or private_key is not None:
        try:
            accept.require_genuine(Offer(version, early, None, private_key, client, key))
        except Refusal:
            _drain(stream, _MOST_UNREAD_BYTES)
            raise
    else:
        limits = limits.unverified()
    try:
        _require_multipart(environ)
        receive, inspect, kind = accept.files.receive, accept.inspect, environ["CONTENT_TYPE"]
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
        environ[SPENT_TOKEN] = fields.get("token", "")
        remote = None if form.url is None else Remote(form.url, take_in)
        yield Offer(version, fields, form.file, private_key, client, key, remote)


def _header_fields(environ: WSGIEnvironment, version: Version) -> dict[str, str]:
    """The credential's form fields that came as headers, so that it can be verified before the body is read."""
    return {name: text for name, key in _KEYS[version].items() if (text := environ.get(key, ""))}


def _merged(fields: dict[str, str], early: Mapping[str, str]) -> dict[str, str]:
    for name, text in early.items():
        if fields.get(name, text) != text:
            raise malformed(f"{name} differs between form and header.", "Send it in one of the two.", field=name)
    return {**fields, **early}


def _require_multipart(environ: WSGIEnvironment) -> None:
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data" or environ.get("HTTP_CONTENT_ENCODING", "identity") != "identity":
        raise UnsupportedMediaType


def _drain(stream: Source, at_most: int) -> None:
    """Read what the client still sends, within bounds: a browser that is cut off shows a network error, no answer."""
    with suppress(OSError, ValueError, HTTPException):
        buffer = memoryview(bytearray(_DRAIN_BYTES))
        while at_most > 0 and (received := stream.readinto(buffer[:at_most])):
            at_most -= received


def _private_key(environ: WSGIEnvironment) -> str | None:
    """The user name of Basic authentication; SDKs send anything as the password."""
    authorization = Authorization.from_header(environ.get("HTTP_AUTHORIZATION"))
    return authorization.username or "" if authorization is not None and authorization.type == "basic" else None
