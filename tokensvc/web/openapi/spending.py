"""What servers and operators ask about a credential: spend it, look at it, end it, explain it."""

from __future__ import annotations

from typing import Final

from tokensvc.core.errors import Code
from tokensvc.web.problems import STATUS

from .answers import BODY, KNOWN_CALLER, STORE, Node, headers, private, problem, ref, refusals
from .issuing import IDEMPOTENCY_KEY, V1, json_body
from .shapes import JWT

API_KEY: Final[list[Node]] = [{"bearer": []}]
_SPENDING: Final = (
    Code.CREDENTIAL_INVALID,
    Code.CREDENTIAL_EXPIRED,
    Code.CREDENTIAL_UNISSUED,
    Code.CREDENTIAL_REVOKED,
    Code.CREDENTIAL_STALE,
    Code.CREDENTIAL_REPLAYED,
    Code.CREDENTIAL_HELD,
)
_SENT_V1: Final = {"version": "v1", **{name: V1[name] for name in ("token", "expire", "signature")}}
_SENT_V2: Final = {"version": "v2", "token": JWT}
_LOOKED_AT: Final = (*BODY, *KNOWN_CALLER, *STORE)
_SECOND: Final = 1767222000


def paths() -> dict[str, Node]:
    """The path items."""
    return {
        "/redeem": {"post": _redeem()},
        "/forward-auth": {method: _forward_auth(method) for method in ("get", "post", "put", "patch")},
        "/introspect": {"post": _introspect()},
        "/revoke": {"post": _revoke()},
        "/explain": {"post": _explain()},
    }


def _redeem() -> Node:
    spent = {
        "outcome": "spent",
        "grant": {
            "version": "v1",
            "account": "default",
            "profile": "default",
            "source": "web",
            "subject": "u7",
            "issued_at": _SECOND,
            "restrictions": {"forced": {"folder": "/users/u7"}, "max_bytes": 25_000_000, "types": ["image/*"]},
        },
    }
    return {
        "operationId": "redeem",
        "tags": ["Servers"],
        "summary": "Spend a credential",
        "description": "For an uploader of one's own. Needs an api key that may `redeem`.",
        "security": API_KEY,
        "parameters": [IDEMPOTENCY_KEY],
        "requestBody": json_body(
            "Redemption", v1=_SENT_V1, v2={**_SENT_V2, "fields": {"fileName": "a.jpg", "tags": "summer"}}
        ),
        "responses": {"200": private("It is spent now, or one of its uses is.", ref("Spent"), spent)}
        | refusals(*_LOOKED_AT, *_SPENDING, Code.EXPIRE_INVALID, Code.PARAMETER_FORBIDDEN, unsupported=True),
    }


def _forward_auth(method: str) -> Node:
    unauthorized = (Code.CALLER_MISSING, Code.CREDENTIAL_INVALID, Code.EXPIRE_INVALID, Code.REQUEST_MALFORMED)
    forbidden = (
        Code.CALLER_FORBIDDEN,
        Code.ORIGIN_FORBIDDEN,
        Code.RATE_LIMITED,
        *(code for code in _SPENDING if code not in unauthorized),
    )
    named = {
        name: {
            "description": says,
            "schema": {"type": "string", "pattern": "^[ -~]+$"},
            **({"required": True} if name == "X-Tokensvc-Account" else {}),
        }
        for name, says in {
            "X-Tokensvc-Account": "The account that the credential is for.",
            "X-Tokensvc-Profile": "Under which profile it was issued.",
            "X-Tokensvc-Subject": "To whom; what is not printable ASCII is percent-encoded, and so is %.",
        }.items()
    }
    yes: Node = {"headers": headers(Cache_Control="NotKept") | named}
    return {
        "operationId": f"forwardAuth{method.capitalize()}",
        "tags": ["Servers"],
        "summary": "A proxy asks whether an upload may pass, and spends for it",
        "description": "Only the proxies that are configured may ask. They pass on no other refusals than 401 and 403, "
        "so every one is one of these. HEAD spends nothing: 405.",
        "parameters": [
            _header("X-Upload-Token", "The credential's token.", example=JWT),
            _header("X-Upload-Expire", "Of a v1 credential."),
            _header("X-Upload-Signature", "Of a v1 credential."),
            _header("X-Upload-Public-Key", "Of a v1 credential; by default it is looked for."),
            {
                "name": "ok",
                "in": "query",
                "description": "`200` asks for that status instead of 204, which Envoy takes for a no.",
                "schema": {"type": "string"},
            },
        ],
        "responses": {
            "200": {"description": "As 204, where `ok` asks for it.", **yes},
            "204": {"description": "It is spent now: let the upload pass.", **yes},
            "400": problem(STATUS[Code.REQUEST_MALFORMED][0], [Code.REQUEST_MALFORMED]),
            "401": problem(401, unauthorized),
            "403": problem(403, forbidden),
            "500": problem(500, ["internal"]),
            "503": problem(503, STORE),
        },
    }


def _header(name: str, says: str, **more: str) -> Node:
    return {"name": name, "in": "header", "description": says, "schema": {"type": "string"}, **more}


def _introspect() -> Node:
    told = {
        "active": True,
        "uses_left": 1,
        "version": "v1",
        "account": "default",
        "exp": 1767225600,
        "iat": _SECOND,
        "sub": "u7",
        "source": "web",
        "profile": "default",
    }
    return {
        "operationId": "introspect",
        "tags": ["Servers"],
        "summary": "Could it be spent now?",
        "description": "Spends nothing. Needs an api key that may `redeem` or `operate`.",
        "security": API_KEY,
        "requestBody": json_body("Sent", v1=_SENT_V1, v2=_SENT_V2),
        "responses": {"200": private("What is known of it.", ref("Introspection"), told)}
        | refusals(*_LOOKED_AT, unsupported=True),
    }


def _revoke() -> Node:
    return {
        "operationId": "revoke",
        "tags": ["Operators"],
        "summary": "Revoke a credential, or all that were issued before a second",
        "description": "It reaches no credential at ImageKit itself, which never asks here. "
        "Needs an api key that may `operate`.",
        "security": API_KEY,
        "requestBody": json_body(
            "Revocation",
            one={"token": V1["token"]},
            subject={"subject": "u7", "source": "web", "issued_before": _SECOND},
            profile={"profile": "default", "issued_before": _SECOND},
            account={"account": "default", "issued_before": _SECOND},
        ),
        "responses": {
            "200": private("What became of it.", ref("Revoked"), {"revoked": 1, "outcome": "revoked"}),
        }
        | refusals(*_LOOKED_AT, unsupported=True),
    }


def _explain() -> Node:
    told = {
        "good": False,
        "reasons": [{"code": "credential.expired", "field": None, "detail": "The credential expired 37 s ago."}],
    }
    return {
        "operationId": "explain",
        "tags": ["Operators"],
        "summary": "Every reason why a credential would be refused",
        "description": "Spends nothing. Needs an api key that may `operate`.",
        "security": API_KEY,
        "requestBody": json_body("Explicable", v1=_SENT_V1, v2={**_SENT_V2, "fields": {"tags": "a,b"}}),
        "responses": {"200": private("The reasons; none if it is good.", ref("Explanation"), told)}
        | refusals(*_LOOKED_AT, unsupported=True),
    }
