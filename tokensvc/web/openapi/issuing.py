"""The paths under `/auth`: credentials, one or many, and what a caller may ask for."""

from __future__ import annotations

from typing import Any, Final

from tokensvc.core.errors import Code

from . import links
from .answers import BODY, KNOWN_CALLER, RATE, STORE, Node, headers, private, ref, refusals
from .shapes import JWT, SIGNATURE, UUID

CALLERS: Final[list[Node]] = [{"bearer": []}, {"cookie": []}, {"ticket": []}]
IDEMPOTENCY_KEY: Final[Node] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Of the caller's choice, such as a UUID: the same request again after a lost answer is done once.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
V1: Final = {"token": UUID, "expire": 1767225600, "signature": SIGNATURE, "publicKey": "public_example"}
_PROFILE: Final[Node] = {
    "name": "profile",
    "in": "path",
    "required": True,
    "description": "The profile's name; without one it is `default`.",
    "schema": {"type": "string", "pattern": "^(?!(batch|limits)$)[^/]+$"},
    "example": "default",
}
_ISSUE: Final = (
    *KNOWN_CALLER,
    Code.PROFILE_UNKNOWN,
    Code.VERSION_FORBIDDEN,
    Code.EXPIRE_INVALID,
    Code.QUOTA_EXCEEDED,
    Code.TOKEN_EXISTS,
    *STORE,
)
_V1_QUERY: Final[list[Node]] = [
    {
        "name": "expire",
        "in": "query",
        "description": "When it ends, in Unix seconds: that or a refusal. By default the profile's lifetime from now.",
        "allowEmptyValue": True,
        "schema": {"type": "string", "pattern": "^([1-9][0-9]{9})?$"},
    },
    {
        "name": "token",
        "in": "query",
        "description": "The client's own nonce, such as a new UUID.",
        "allowEmptyValue": True,
        "schema": {"type": "string", "pattern": "^[!-~]{0,128}$"},
    },
    {
        "name": "publicKey",
        "in": "query",
        "description": "The key that is meant; any but the active one is refused.",
        "allowEmptyValue": True,
        "schema": {"type": "string"},
    },
]


def paths(*, uploads: bool) -> dict[str, Node]:
    """The path items; with `uploads` a credential leads to the upload API."""
    found: dict[str, Node] = {}
    for prefix, suffix, parameters in (("/auth", "", []), ("/auth/{profile}", "UnderProfile", [_PROFILE])):
        shared: Node = {"parameters": parameters} if parameters else {}
        found[prefix] = shared | {"get": _v1(suffix, uploads=uploads), "post": _v2(suffix, uploads=uploads)}
        found[f"{prefix}/batch"] = shared | {"post": _batch(suffix)}
        found[f"{prefix}/limits"] = shared | {"get": _limits(suffix)}
    return found


def json_body(schema: str, **examples: Any) -> Node:  # noqa: ANN401 - JSON
    """A body in JSON that must be there."""
    named = {name: {"value": value} for name, value in examples.items()}
    return {"required": True, "content": {"application/json": {"schema": ref(schema), "examples": named}}}


def _v1(suffix: str, *, uploads: bool) -> Node:
    answer = private("The credential, which is on record.", ref("CredentialV1"), V1, rate=True)
    answer["links"] = links.of_v1(uploads=uploads)
    return {
        "operationId": f"fetchV1{suffix}",
        "tags": ["Credentials"],
        "summary": "Fetch a v1 credential",
        "description": "Other members of the query are passed over, empty ones are as none. HEAD issues nothing: 405.",
        "security": CALLERS,
        "parameters": _V1_QUERY,
        "responses": {"200": answer} | refusals(*_ISSUE, Code.TOKEN_INVALID, Code.KEY_MISMATCH, "method"),
    }


def _v2(suffix: str, *, uploads: bool) -> Node:
    answer = private("The credential, which is on record.", ref("CredentialV2"), {"token": JWT}, rate=True)
    answer["headers"] |= headers(X_Tokensvc_Untracked="Untracked")
    answer["links"] = links.of_v2(uploads=uploads)
    return {
        "operationId": f"fetchV2{suffix}",
        "tags": ["Credentials"],
        "summary": "Fetch a v2 credential, which binds the fields of the upload",
        "description": "The body is read as JSON whatever its Content-Type.",
        "security": CALLERS,
        "requestBody": json_body(
            "Ask",
            picture={"uploadPayload": {"fileName": "a.jpg", "tags": "summer,dress"}, "expire": 600},
        ),
        "responses": {"200": answer}
        | refusals(
            *_ISSUE,
            *BODY,
            Code.KEY_MISMATCH,
            Code.PARAMETER_FORBIDDEN,
            Code.PARAMETER_INVALID,
            unsupported=True,
        ),
    }


def _batch(suffix: str) -> Node:
    answered = {
        "publicKey": "public_example",
        "credentials": [
            {"token": JWT},
            {
                "error": {
                    "code": "parameter.forbidden",
                    "field": "uploadPayload.folder",
                    "detail": "This profile does not let the client choose folder.",
                }
            },
        ],
    }
    answer = private("The credentials, in the order of the uploads.", ref("Batch"), answered, rate=True)
    answer["links"] = links.of_batch()
    return {
        "operationId": f"fetchBatch{suffix}",
        "tags": ["Credentials"],
        "summary": "Fetch up to 100 credentials at once",
        "description": "One decision about the caller; all are recorded or none. Not for tickets and public profiles.",
        "security": CALLERS[:2],
        "parameters": [IDEMPOTENCY_KEY],
        "requestBody": json_body(
            "AskBatch",
            v1={"version": "v1", "count": 2},
            v2={"version": "v2", "uploads": [{"fileName": "a.jpg"}, {"fileName": "b.jpg", "tags": "summer"}]},
        ),
        "responses": {"200": answer}
        | refusals(
            *_ISSUE,
            *BODY,
            Code.IDEMPOTENCY_MISMATCH,
            Code.PARAMETER_FORBIDDEN,
            Code.PARAMETER_INVALID,
            unsupported=True,
        ),
    }


def _limits(suffix: str) -> Node:
    shown = {
        "profile": "default",
        "versions": ["v1", "v2"],
        "lifetime": 1800,
        "uses": 1,
        "spend": "on-attempt",
        "max_bytes": 25_000_000,
        "types": ["image/*"],
        "parameters": {"fileName": {"choose": "free"}, "folder": {"forced": "/users/u7"}},
        "rate": {"count": 60, "seconds": 60},
        "per_day": None,
        "outstanding": None,
        "remaining": {"rate": 59, "per_day": None, "outstanding": None},
    }
    answer = private("What this caller may ask for.", ref("Limits"), shown)
    answer["headers"] |= RATE
    return {
        "operationId": f"showLimits{suffix}",
        "tags": ["Credentials"],
        "summary": "What may be uploaded, and how many more credentials there are",
        "description": "Issues nothing and counts nothing.",
        "security": CALLERS,
        "responses": {"200": answer} | refusals(*KNOWN_CALLER, Code.PROFILE_UNKNOWN, *STORE),
    }
