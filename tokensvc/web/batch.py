"""`POST /auth/batch` and `/auth/NAME/batch`: up to a hundred credentials in one request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flask import Blueprint, Response, request

from tokensvc.core import strict_json
from tokensvc.core.errors import Code, Refusal
from tokensvc.service.batch import MOST_IN_A_BATCH, Batch

from .identity import presented
from .json_bodies import private_json, read_object, require_members
from .rate_headers import left_headers

MOST_BYTES: Final = 1024 * 1024


def batch_blueprint(batch: Batch) -> Blueprint:
    """The routes that issue many."""
    blueprint = Blueprint("batch", __name__)

    @blueprint.post("/auth/batch", defaults={"profile": "default"})
    @blueprint.post("/auth/<profile:profile>/batch")
    def issue(profile: str) -> Response:
        members = _members()
        if members["version"] == "v1":
            return _v1(batch, profile, members)
        uploads, expire, key = _uploads(members), members.get("expire"), request.headers.get("Idempotency-Key")
        public_key, issued = batch.v2(profile, presented(), uploads, expire, key)
        body = {"publicKey": public_key, "credentials": [_item(token) for token in issued.credential]}
        return private_json(body, *left_headers(issued.left))

    return blueprint


def _v1(batch: Batch, profile: str, members: Mapping[str, Any]) -> Response:
    issued = batch.v1(profile, presented(), _count(members), request.headers.get("Idempotency-Key"))
    credentials = [
        {"token": one.token, "expire": one.expire, "signature": one.signature, "publicKey": one.public_key}
        for one in issued.credential
    ]
    body = {"publicKey": issued.credential[0].public_key, "credentials": credentials}
    return private_json(body, *left_headers(issued.left))


def _members() -> Mapping[str, Any]:
    members = read_object(MOST_BYTES)
    known = {"v1": frozenset({"version", "count"}), "v2": frozenset({"version", "uploads", "expire"})}
    version = members.get("version")
    if not isinstance(version, str) or version not in known:
        raise Refusal(
            Code.REQUEST_MALFORMED, "version is neither v1 nor v2.", 'Send "version": "v1" or "v2".', field="version"
        )
    require_members(members, known[version])
    return members


def _count(members: Mapping[str, Any]) -> int:
    count = strict_json.whole(members.get("count"))
    if count is None or not 1 <= count <= MOST_IN_A_BATCH:
        raise Refusal(
            Code.REQUEST_MALFORMED,
            f"count is not a whole number from 1 to {MOST_IN_A_BATCH}.",
            "Ask again for what is beyond.",
            field="count",
        )
    return count


def _uploads(members: Mapping[str, Any]) -> list[object]:
    uploads = members.get("uploads")
    if not isinstance(uploads, list) or not 1 <= len(uploads) <= MOST_IN_A_BATCH:
        raise Refusal(
            Code.REQUEST_MALFORMED,
            f"uploads is not a list of 1 to {MOST_IN_A_BATCH} objects.",
            "Send one object for each file, with the fields that its upload will have.",
            field="uploads",
        )
    return uploads


def _item(token: str | Refusal) -> dict[str, Any]:
    if isinstance(token, str):
        return {"token": token}
    return {"error": {"code": str(token.code), "field": token.field, "detail": token.detail}}
