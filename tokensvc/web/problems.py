"""The one table from a refusal's code to an HTTP status, and the shape of every error that leaves (RFC 9457).

The upload API's errors go through here too, but in ImageKit's own shape: see `imagekit`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection
from typing import Final
from wsgiref.types import WSGIEnvironment

from flask import Flask, Response, current_app, json, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, ServiceUnavailable, TooManyRequests

from tokensvc.core.errors import Code, Outage, Refusal
from tokensvc.core.trail import Trail, trail_of
from tokensvc.ports import Audit

from . import imagekit
from .rate_headers import rate_headers

_TRAIL: Final = "tokensvc.trail"
SPENT_TOKEN: Final = "tokensvc.spent_token"  # noqa: S105 - a key of the environment
"""What a request's WSGI environment has of ours: its names, and the token that an upload came with."""

_LOG = logging.getLogger("tokensvc")

STATUS: Final[dict[str, tuple[int, str]]] = {
    Code.CALLER_MISSING: (401, "Who is asking is not known"),
    Code.CALLER_INVALID: (401, "The caller's evidence is not good"),
    Code.CALLER_FORBIDDEN: (403, "The caller may not do this"),
    Code.ORIGIN_FORBIDDEN: (403, "This origin may not ask"),
    Code.PROFILE_UNKNOWN: (404, "There is no such profile"),
    Code.VERSION_FORBIDDEN: (403, "The profile does not issue this version"),
    Code.REQUEST_MALFORMED: (400, "The request cannot be read"),
    Code.EXPIRE_INVALID: (400, "expire cannot be used"),
    Code.TOKEN_INVALID: (400, "token cannot be used"),
    Code.TOKEN_EXISTS: (409, "token was issued before"),
    Code.KEY_MISMATCH: (400, "publicKey is another key"),
    Code.PARAMETER_FORBIDDEN: (422, "A parameter is not the client's to choose"),
    Code.PARAMETER_INVALID: (422, "A parameter's value cannot be used"),
    Code.CREDENTIAL_INVALID: (403, "The credential is not genuine"),
    Code.CREDENTIAL_EXPIRED: (403, "The credential has expired"),
    Code.CREDENTIAL_UNISSUED: (403, "The credential is not on record"),
    Code.CREDENTIAL_REVOKED: (403, "The credential was revoked"),
    Code.CREDENTIAL_STALE: (403, "The credential is from before a failover"),
    Code.CREDENTIAL_REPLAYED: (409, "The credential was used before"),
    Code.CREDENTIAL_HELD: (409, "The credential is in use"),
    Code.IDEMPOTENCY_MISMATCH: (422, "The idempotency key stands for another request"),
    Code.RATE_LIMITED: (429, "Too many requests"),
    Code.QUOTA_EXCEEDED: (429, "The caller has had its share"),
    Code.TOO_LARGE: (413, "The request is too large"),
    "store.unavailable": (503, "A store does not answer"),
    "not_found": (404, "There is nothing here"),
    "method": (405, "The method is not allowed here"),
    "internal": (500, "Something went wrong on our side"),
}

_CODE_OF_STATUS: Final = {
    404: "not_found",
    405: "method",
    413: str(Code.TOO_LARGE),
    429: str(Code.RATE_LIMITED),
    503: "store.unavailable",
}


def install(app: Flask, audit: Audit, profiles: Collection[str], begin: Callable[[Trail], None]) -> None:
    """Give every error that can leave `app` its shape, and tell the audit. `profiles` are those that there are.

    `begin` is told by which names each request is found again.
    """
    app.config["AUDIT"], app.config["PROFILES"], app.config["BEGIN"] = audit, profiles, begin
    app.before_request(_name_request)
    app.register_error_handler(Refusal, refused)
    app.register_error_handler(Outage, _unavailable)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def request_id() -> str:
    """The name of Flask's current request, in the answer's headers and in the log."""
    if _TRAIL not in request.environ:
        _name_request()
    return trail_in(request.environ).request


def trail_in(environ: WSGIEnvironment) -> Trail:
    """The names of a request that has been named."""
    trail: Trail = environ[_TRAIL]
    return trail


def _name_request() -> None:
    begin_trail(request.environ, current_app.config["BEGIN"])


def begin_trail(environ: WSGIEnvironment, begin: Callable[[Trail], None]) -> None:
    """Name a request, and tell `begin`."""
    trail = environ[_TRAIL] = trail_of(environ.get("HTTP_TRACEPARENT", ""), os.urandom)
    begin(trail)


def answer_to(app: Flask, exc: Exception, environ: WSGIEnvironment) -> Response:
    """What Flask answers to what was raised outside of it while this request, which has its names, was answered."""
    with app.request_context(environ):
        return app.finalize_request(app.handle_user_exception(exc))


def refused(refusal: Refusal, status: int | None = None) -> Response:
    """The answer to a refusal, told to the audit. `status` is for who passes on no others; the code stays."""
    _note("refused", refusal.code, field=refusal.field)
    if imagekit.is_upload_api(request.path):
        answer = imagekit.error_answer(
            refusal, request_id(), path=request.path, token=request.environ.get(SPENT_TOKEN, "")
        )
    else:
        usual, title = STATUS[refusal.code]
        answer = _problem(refusal.code, status or usual, title, refusal.detail, refusal.remedy)
    _say_when(answer, refusal)
    return answer


def _note(event: str, code: str, **facts: str | None) -> None:
    asked = request.view_args or {}
    profile = asked.get("profile")  # a client's text, unless there is such a profile
    fetching = {"credentials.v1": "v1", "credentials.v2": "v2"}.get(request.endpoint or "")
    current_app.config["AUDIT"].note(
        event,
        {
            "code": code,
            **facts,
            "version": asked.get("version", fetching),
            "profile": profile if profile in current_app.config["PROFILES"] else None,
        },
    )


def _say_when(answer: Response, refusal: Refusal) -> None:
    """When to come back, and under which limit."""
    if refusal.retry_after is not None:
        answer.headers["Retry-After"] = str(refusal.retry_after)
    if refusal.allowance is not None and refusal.retry_after is not None:
        answer.headers.extend(rate_headers(refusal.allowance, 0, refusal.retry_after))


def _unavailable(outage: Outage) -> Response:
    _note("outage", "store.unavailable", detail=outage.detail)
    # Which store, and why, is in the log. Whether a credential was spent is not known: the reply may be what was lost.
    detail = "A store that the service needs does not answer."
    remedy = "Try again shortly. If a credential is then refused as used, fetch a new one."
    answer = _answer("store.unavailable", *STATUS["store.unavailable"], detail, remedy)
    answer.headers["Retry-After"] = str(outage.retry_after)
    return answer


def _http(exc: HTTPException) -> Response:
    status = exc.code or 500
    code = _CODE_OF_STATUS.get(status, "internal" if status >= 500 else str(Code.REQUEST_MALFORMED))  # noqa: PLR2004 - a status
    title = STATUS[code][1]
    answer = _answer(code, status, title, f"{exc.name}.", _REMEDY.get(status, ""))
    if isinstance(exc, MethodNotAllowed) and exc.valid_methods:
        answer.headers["Allow"] = ", ".join(sorted(exc.valid_methods))
    if isinstance(exc, ServiceUnavailable | TooManyRequests) and exc.retry_after is not None:
        answer.headers["Retry-After"] = str(exc.retry_after)
    return answer


_REMEDY: Final = {
    404: "Check the path; credentials are at /auth, uploads at /api/v1/files/upload and /api/v2/files/upload.",
    405: "GET fetches a v1 credential, POST a v2 one or an upload.",
    413: "Send less.",
    415: "Send an upload as multipart/form-data, and no body with Content-Encoding.",
}


def _unexpected(exc: Exception) -> Response:
    # The traceback goes to the log only; it holds no secret, because secrets have no repr.
    _LOG.error("unexpected error in request %s", request_id(), exc_info=exc)
    _note("failed", "internal")
    return _answer(
        "internal", *STATUS["internal"], "An unexpected error.", "Try again; tell us the request_id if it stays."
    )


def _answer(code: str, status: int, title: str, detail: str, remedy: str) -> Response:
    if imagekit.is_upload_api(request.path):
        return imagekit.plain_error(status, detail, remedy, code, request_id())
    return _problem(code, status, title, detail, remedy)


def _problem(code: str, status: int, title: str, detail: str, remedy: str) -> Response:
    body = {
        "type": f"/docs/errors/{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id(),
        "message": detail,
        "help": remedy,
    }
    answer = Response(json.dumps(body) + "\n", status, content_type="application/problem+json")
    answer.headers["Cache-Control"] = "no-store, private"
    answer.headers["X-Tokensvc-Code"] = code
    answer.headers["X-Request-Id"] = request_id()
    if status == 401:  # noqa: PLR2004 - a status
        answer.headers["WWW-Authenticate"] = 'Bearer realm="tokensvc"'
    return answer
