"""`POST /auth/batch` and `/auth/NAME/batch`: up to a hundred credentials in one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from wsgiref.types import WSGIEnvironment

from flask import Blueprint, Response, request

from tokensvc.core import strict_json, v1
from tokensvc.core.addresses import Peers
from tokensvc.core.errors import Code, Refusal
from tokensvc.service.batch import MOST_IN_A_BATCH, Batch

from .identity import presented_by
from .json_bodies import Answer, dumps, private_text, quoted, read_object_of, require_members
from .rate_headers import left_headers

MOST_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Batches:
    """What the routes do. `proxies` are as for `presented_by`."""

    batch: Batch
    proxies: Peers

    def issue(self, environ: WSGIEnvironment, profile: str) -> Answer:
        """Issue many, of either version."""
        members, key = _members(environ), environ.get("HTTP_IDEMPOTENCY_KEY")
        if members["version"] == "v1":
            made = self.batch.v1(profile, presented_by(environ, self.proxies), _count(members), key)
            public_key, left, credentials = made.credential.public_key, made.left, _items_v1(made.credential)
        else:
            uploads, expire = _uploads(members), members.get("expire")
            public_key, issued = self.batch.v2(profile, presented_by(environ, self.proxies), uploads, expire, key)
            left, credentials = issued.left, _items_v2(issued.credential)
        text = f'{{"publicKey": {quoted(public_key)}, "credentials": [{", ".join(credentials)}]}}'
        return private_text(text, *left_headers(left))


def batch_blueprint(batches: Batches) -> Blueprint:
    """The routes that issue many."""
    blueprint = Blueprint("batch", __name__)

    @blueprint.post("/auth/batch", defaults={"profile": "default"})
    @blueprint.post("/auth/<profile:profile>/batch")
    def issue(profile: str) -> Response:
        return batches.issue(request.environ, profile).response()

    return blueprint


def _members(environ: WSGIEnvironment) -> Mapping[str, Any]:
    members = read_object_of(environ, MOST_BYTES)
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


def _items_v1(made: v1.Credentials) -> list[str]:
    """Tokens and signatures are ours, of letters, digits and hyphens: nothing in them needs to be escaped."""
    between, after = f'", "expire": {made.expire}, "signature": "', f'", "publicKey": {quoted(made.public_key)}}}'
    return [
        f'{{"token": "{token}{between}{signature}{after}'
        for token, signature in zip(made.tokens, made.signatures, strict=True)
    ]


def _items_v2(made: Sequence[str | Refusal]) -> list[str]:
    """A token is of URL-safe base64 and dots."""
    return [f'{{"token": "{one}"}}' if isinstance(one, str) else _error(one) for one in made]


def _error(one: Refusal) -> str:
    return dumps({"error": {"code": str(one.code), "field": one.field, "detail": one.detail}})
