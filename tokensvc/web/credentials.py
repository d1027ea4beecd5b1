"""`/auth`: GET fetches a v1 credential, POST a v2 one; `/auth/NAME` under the profile of that name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from wsgiref.types import WSGIEnvironment

from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.wrappers import Request

from tokensvc.core.addresses import Peers
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.policy import AskV1, AskV2
from tokensvc.service.issue import Issue

from .identity import presented_by
from .json_bodies import Answer, private_answer, read_object_of
from .rate_headers import left_headers


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the routes do. `proxies` are as for `presented_by`."""

    issue: Issue
    proxies: Peers

    def v1(self, environ: WSGIEnvironment, profile: str) -> Answer:
        """Issue a v1 credential."""
        issued = self.issue.v1(profile, presented_by(environ, self.proxies), ask_v1(environ))
        credential = issued.credential
        body = {
            "token": credential.token,
            "expire": credential.expire,
            "signature": credential.signature,
            "publicKey": credential.public_key,
        }
        return private_answer(body, *left_headers(issued.left))

    def v2(self, environ: WSGIEnvironment, profile: str) -> Answer:
        """Issue a v2 credential."""
        issued = self.issue.v2(profile, presented_by(environ, self.proxies), ask_v2(environ))
        untracked = () if issued.tracked else (("X-Tokensvc-Untracked", "store-down"),)
        body = {"token": issued.credential}  # no other member: some clients read a map of strings
        return private_answer(body, *untracked, *left_headers(issued.left))


def credentials_blueprint(credentials: Credentials) -> Blueprint:
    """The routes that issue."""
    blueprint = Blueprint("credentials", __name__)

    @blueprint.get("/auth", defaults={"profile": "default"})
    @blueprint.get("/auth/<profile:profile>")
    def v1(profile: str) -> Response:
        if request.method == "HEAD":  # would issue a credential that nobody sees
            raise MethodNotAllowed(valid_methods=["GET", "POST"])
        return credentials.v1(request.environ, profile).response()

    @blueprint.post("/auth", defaults={"profile": "default"})
    @blueprint.post("/auth/<profile:profile>")
    def v2(profile: str) -> Response:
        return credentials.v2(request.environ, profile).response()

    return blueprint


_NOTHING: Final = AskV1()


def ask_v1(environ: WSGIEnvironment) -> AskV1:
    """Read the query. Unknown members are passed over: SDKs send `t` and `sdk-version`."""
    if not environ.get("QUERY_STRING"):
        return _NOTHING
    query = Request(environ, populate_request=False).args
    return AskV1(*(_once(query, name) for name in ("token", "expire", "publicKey")))


def ask_v2(environ: WSGIEnvironment) -> AskV2:
    """Read the body as JSON whatever its Content-Type: jQuery's documented sample labels it as a form."""
    members = read_object_of(environ)
    payload = members.get("uploadPayload")
    if not isinstance(payload, dict):
        raise Refusal(
            Code.REQUEST_MALFORMED,
            "uploadPayload is missing, or not an object.",
            'Send {"uploadPayload": {"fileName": "a.jpg"}}, with the fields that the upload will have.',
            field="uploadPayload",
        )
    return AskV2(payload, members.get("expire"), members.get("publicKey"))


def _once(query: MultiDict[str, str], name: str) -> str | None:
    values = query.getlist(name)
    if len(values) > 1:
        raise Refusal(Code.REQUEST_MALFORMED, f"{name} is given twice.", "Give it once.", field=name)
    return values[0] or None if values else None
