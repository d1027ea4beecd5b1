"""`GET /forward-auth`: a proxy (nginx, Traefik, Envoy) asks whether it may let an upload through, and spends for it.

The client's own headers come here, so there is no api key: the credential is the evidence, and only the configured
proxies may ask. They pass on 401 and 403 and make of most other statuses a 500 of their own, so every refusal is one
of the two; which it is, is in X-Tokensvc-Code. Envoy asks with the method of the request that it holds back,
and takes no status but 200 for a yes: it is given one at `?ok=200`.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed

from tokensvc.core.addresses import Peers
from tokensvc.core.errors import Code, Refusal
from tokensvc.ports import Throttle
from tokensvc.service.redeem import Redeem, Spend, Spent

from .identity import presented
from .problems import refused

_UNAUTHORIZED: Final = frozenset(
    {Code.CALLER_MISSING, Code.CREDENTIAL_INVALID, Code.EXPIRE_INVALID, Code.REQUEST_MALFORMED}
)
"""There is no credential, or none that is genuine; all else is 403."""

_METHODS: Final = ("GET", "POST", "PUT", "PATCH")
_FORGERIES: Final = _UNAUTHORIZED - {Code.CALLER_MISSING}
_SAFE: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def forward_auth_blueprint(redeem: Redeem, trusted: Peers, throttle: Throttle | None) -> Blueprint:
    """The route; `trusted` are the proxies that may ask."""
    blueprint = Blueprint("forward_auth", __name__)

    @blueprint.errorhandler(Refusal)
    def status_that_proxies_pass_on(refusal: Refusal) -> Response:
        return refused(refusal, status=401 if refusal.code in _UNAUTHORIZED else 403)

    @blueprint.route("/forward-auth", methods=_METHODS)
    def forward_auth() -> Response:
        if request.method == "HEAD":  # would spend where a look is meant
            raise MethodNotAllowed(valid_methods=_METHODS)
        _require_trusted(trusted)
        return _let_through(_spend_slowly(redeem, _spend(), throttle))

    return blueprint


def _require_trusted(trusted: Peers) -> None:
    if presented().peer not in trusted:
        raise Refusal(
            Code.CALLER_FORBIDDEN,
            "Only trusted proxies may ask here.",
            "Name the proxy's address in [forward_auth] trusted.",
        )


def _spend() -> Spend:
    named = {
        "token": "X-Upload-Token",
        "expire": "X-Upload-Expire",
        "signature": "X-Upload-Signature",
        "publicKey": "X-Upload-Public-Key",
    }
    found = {name: request.headers.get(header, "") for name, header in named.items()}
    if not found["token"]:
        raise Refusal(
            Code.CALLER_MISSING,
            "The request has no X-Upload-Token.",
            "Fetch a credential and send it in X-Upload-Token; v1 also in X-Upload-Expire and X-Upload-Signature.",
        )
    if found["expire"] or found["signature"]:
        return Spend("v1", found)
    return Spend("v2", {"token": found["token"]})


def _spend_slowly(redeem: Redeem, spend: Spend, throttle: Throttle | None) -> Spent:
    if throttle is None:
        return redeem(spend)
    address = presented().address
    throttle.check(address)
    try:
        return redeem(spend)
    except Refusal as refusal:
        if refusal.code in _FORGERIES:
            throttle.failed(address)
        raise


def _let_through(spent: Spent) -> Response:
    answer = Response(status=200 if request.args.get("ok") == "200" else 204)
    answer.headers["Cache-Control"] = "no-store, private"
    answer.headers["X-Tokensvc-Account"] = _header_text(spent.account)
    if spent.note is not None:
        answer.headers["X-Tokensvc-Profile"] = _header_text(spent.note.profile)
        answer.headers["X-Tokensvc-Subject"] = _header_text(spent.note.subject)
    return answer


def _header_text(text: str) -> str:
    """Printable ASCII as it is, and `%` and all else percent-encoded as UTF-8."""
    return quote(text, safe=_SAFE)
