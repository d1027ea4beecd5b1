"""The development server's page, and its sign-in button."""

from __future__ import annotations

from typing import Final, Protocol

from flask import Blueprint, Response, json, request

from tokensvc.core.callers import Caller, Presented

from .identity import presented

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class SignIn(Protocol):
    """The demo's caller source, as far as the page needs it."""

    def sign_in(self, presented: Presented) -> str:
        """Return the cookie's value."""

    def identify(self, presented: Presented) -> Caller | None:
        """Return the signed-in user."""


def demo_blueprint(sign_in: SignIn, cookie: str) -> Blueprint:
    """`GET /`, its static files, and `/demo/session`."""
    blueprint = Blueprint("demo", __name__, static_folder="static", static_url_path="/static")

    @blueprint.get("/")
    def page() -> Response:
        return blueprint.send_static_file("demo.html")

    @blueprint.get("/demo/session")
    def show() -> Response:
        return _session(sign_in.identify(presented()))

    @blueprint.post("/demo/session")
    def begin() -> Response:
        caller_cookie = sign_in.sign_in(presented())
        answer = Response(json.dumps({"signed_in": True, "subject": "demo"}), mimetype="application/json")
        answer.set_cookie(cookie, caller_cookie, httponly=True, samesite="Strict", secure=request.is_secure)
        return answer

    @blueprint.delete("/demo/session")
    def end() -> Response:
        answer = _session(None)
        answer.delete_cookie(cookie, httponly=True, samesite="Strict")
        return answer

    @blueprint.after_request
    def protect(answer: Response) -> Response:
        answer.headers.setdefault("Content-Security-Policy", _POLICY)
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["Cache-Control"] = "no-store, private"
        return answer

    return blueprint


def _session(caller: Caller | None) -> Response:
    body = {"signed_in": caller is not None, "subject": caller.subject if caller else None}
    return Response(json.dumps(body), mimetype="application/json")
