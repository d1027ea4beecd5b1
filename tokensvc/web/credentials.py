"""`/auth`: GET fetches a v1 credential, POST a v2 one; `/auth/NAME` under the profile of that name."""

from __future__ import annotations

from typing import Any, Final

from flask import Blueprint, Response, json, request
from werkzeug.exceptions import MethodNotAllowed, UnsupportedMediaType

from tokensvc.core import strict_json
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.policy import AskV1, AskV2
from tokensvc.service.issue import Issue

from .identity import presented

MAX_BODY_BYTES: Final = 64 * 1024


def credentials_blueprint(issue: Issue) -> Blueprint:
    """The routes that issue."""
    blueprint = Blueprint("credentials", __name__)

    @blueprint.get("/auth", defaults={"profile": "default"})
    @blueprint.get("/auth/<profile>")
    def v1(profile: str) -> Response:
        if request.method == "HEAD":  # would issue a credential that nobody sees
            raise MethodNotAllowed(valid_methods=["GET", "POST"])
        credential = issue.v1(profile, presented(), ask_v1())
        return personal(
            {
                "token": credential.token,
                "expire": credential.expire,
                "signature": credential.signature,
                "publicKey": credential.public_key,
            }
        )

    @blueprint.post("/auth", defaults={"profile": "default"})
    @blueprint.post("/auth/<profile>")
    def v2(profile: str) -> Response:
        return personal({"token": issue.v2(profile, presented(), ask_v2())})

    return blueprint


def ask_v1() -> AskV1:
    """Read the query. Unknown members are passed over: SDKs send `t` and `sdk-version`."""
    return AskV1(_once("token"), _once("expire"), _once("publicKey"))


def ask_v2() -> AskV2:
    """Read the body as JSON whatever its Content-Type: jQuery's documented sample labels it as a form."""
    members = _body()
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


def _body() -> dict[str, Any]:
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMediaType
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise _too_large()
    try:
        body = request.stream.read(MAX_BODY_BYTES + 1)
    except Exception as exc:
        # The client went away, or its chunks are not chunks: gunicorn's errors for that are not OSErrors.
        raise Refusal(Code.REQUEST_MALFORMED, "The request's body could not be read to its end.") from exc
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    try:
        return strict_json.loads_object(body)
    except ValueError as exc:
        raise Refusal(Code.REQUEST_MALFORMED, f"The body cannot be used: {exc}.", "Send one JSON object.") from None


def _too_large() -> Refusal:
    return Refusal(Code.TOO_LARGE, f"The body is larger than {MAX_BODY_BYTES} bytes.", "Send the parameters only.")


def personal(body: dict[str, Any]) -> Response:
    """An answer for this caller alone, which nobody keeps."""
    answer = Response(json.dumps(body), mimetype="application/json")
    answer.headers["Cache-Control"] = "no-store, private"
    answer.headers["Pragma"] = "no-cache"
    answer.vary.update(("Origin", "Authorization", "Cookie"))
    return answer
