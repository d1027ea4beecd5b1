"""`/auth`: GET fetches a v1 credential, POST a v2 one; `/auth/NAME` under the profile of that name."""

from __future__ import annotations

from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed

from tokensvc.core.errors import Code, Refusal
from tokensvc.core.policy import AskV1, AskV2
from tokensvc.service.issue import Issue

from .identity import presented
from .json_bodies import private_json, read_object
from .rate_headers import show_left


def credentials_blueprint(issue: Issue) -> Blueprint:
    """The routes that issue."""
    blueprint = Blueprint("credentials", __name__)

    @blueprint.get("/auth", defaults={"profile": "default"})
    @blueprint.get("/auth/<profile:profile>")
    def v1(profile: str) -> Response:
        if request.method == "HEAD":  # would issue a credential that nobody sees
            raise MethodNotAllowed(valid_methods=["GET", "POST"])
        issued = issue.v1(profile, presented(), ask_v1())
        credential = issued.credential
        body = {
            "token": credential.token,
            "expire": credential.expire,
            "signature": credential.signature,
            "publicKey": credential.public_key,
        }
        return show_left(private_json(body), issued.left)

    @blueprint.post("/auth", defaults={"profile": "default"})
    @blueprint.post("/auth/<profile:profile>")
    def v2(profile: str) -> Response:
        issued = issue.v2(profile, presented(), ask_v2())
        answer = private_json({"token": issued.credential})  # no other member: some clients read a map of strings
        if not issued.tracked:
            answer.headers["X-Tokensvc-Untracked"] = "store-down"
        return show_left(answer, issued.left)

    return blueprint


def ask_v1() -> AskV1:
    """Read the query. Unknown members are passed over: SDKs send `t` and `sdk-version`."""
    if not request.query_string:
        return AskV1()
    return AskV1(_once("token"), _once("expire"), _once("publicKey"))


def ask_v2() -> AskV2:
    """Read the body as JSON whatever its Content-Type: jQuery's documented sample labels it as a form."""
    members = read_object()
    payload = members.get("uploadPayload")
    if not isinstance(payload, dict):
        raise Refusal(
            Code.REQUEST_MALFORMED,
            "uploadPayload is missing, or not an object.",
            'Send {"uploadPayload": {"fileName": "a.jpg"}}, with the fields that the upload will have.',
            field="uploadPayload",
        )
    return AskV2(payload, members.get("expire"), members.get("publicKey"))


def _once(name: str) -> str | None:
    values = request.args.getlist(name)
    if len(values) > 1:
        raise Refusal(Code.REQUEST_MALFORMED, f"{name} is given twice.", "Give it once.", field=name)
    return values[0] or None if values else None
