"""`POST /introspect`, `POST /revoke` and `POST /explain`: for servers and operators with an api key that may do so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flask import Blueprint, Response

from tokensvc.core import strict_json
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.watermarks import Scope, Watermark
from tokensvc.ports import Outcome
from tokensvc.service.explain import Explain
from tokensvc.service.operate import Active, Introspect, Revoke
from tokensvc.service.rights import Rights

from .identity import presented
from .json_bodies import private_json, read_object, require_members, text_of
from .redeem import read_credential, read_fields

_CREDENTIAL: Final = frozenset({"version", "token", "expire", "signature", "publicKey"})
_SCOPES: Final[tuple[Scope, ...]] = ("subject", "profile", "account")
_WATERMARK: Final = frozenset({*_SCOPES, "source", "issued_before"})


def operate_blueprint(introspect: Introspect, revoke: Revoke, explain: Explain, rights: Rights) -> Blueprint:
    """The routes."""
    blueprint = Blueprint("operate", __name__)

    @blueprint.post("/introspect")
    def look() -> Response:
        rights.require(presented(), "redeem", "operate")
        members = read_object()
        require_members(members, _CREDENTIAL)
        active = introspect(*read_credential(members))
        return private_json({"active": False} if active is None else _active(active))

    @blueprint.post("/revoke")
    def end() -> Response:
        caller = rights.require(presented(), "operate")
        members = read_object()
        if members.keys() & _WATERMARK:
            revoke.before(read_watermark(members), caller)
            return private_json({"revoked": "watermark"})
        outcome = revoke(_token(members), caller)
        return private_json({"revoked": int(outcome is Outcome.REVOKED), "outcome": str(outcome)})

    @blueprint.post("/explain")
    def tell() -> Response:
        rights.require(presented(), "operate")
        members = read_object()
        require_members(members, _CREDENTIAL | {"fields"})
        reasons = explain(*read_credential(members), read_fields(members))
        told = [{"code": str(one.code), "field": one.field, "detail": one.detail} for one in reasons]
        return private_json({"good": not told, "reasons": told})

    return blueprint


def _active(active: Active) -> dict[str, Any]:
    """The members of RFC 7662 section 2.2, and ours. v1 does not say when it was issued; the record does."""
    genuine, note = active.genuine, active.note
    members: dict[str, Any] = {
        "active": True,
        "uses_left": active.uses_left,
        "version": genuine.version,
        "account": genuine.pair.account,
        "exp": genuine.window.expires_at,
    }
    if note is not None:
        members |= {"iat": note.issued_at, "sub": note.subject, "source": note.source, "profile": note.profile}
    return members


def read_watermark(members: Mapping[str, Any]) -> Watermark:
    """The mark in a body with one of `subject`, `profile` and `account`, or a refusal."""
    require_members(members, _WATERMARK)
    scopes = [scope for scope in _SCOPES if scope in members]
    texts = {name: text_of(members, name) for name in (*scopes, *(members.keys() & {"source"}))}
    if len(scopes) != 1 or not all(texts.values()) or ("source" in texts and scopes != ["subject"]):
        raise Refusal(
            Code.REQUEST_MALFORMED,
            "It is not clear whose credentials are meant.",
            "Send one of subject, profile and account; with subject, source too if only that source's is meant.",
        )
    second = strict_json.whole(members.get("issued_before"))
    if second is None:
        raise Refusal(
            Code.REQUEST_MALFORMED,
            "issued_before is missing, or not a whole number.",
            "Send Unix seconds: what was issued earlier is revoked.",
            field="issued_before",
        )
    return Watermark(scopes[0], texts[scopes[0]], second, texts.get("source", ""))


def _token(members: Mapping[str, Any]) -> str:
    require_members(members, frozenset({"token"}))
    token = text_of(members, "token")
    if not token:
        raise Refusal(Code.REQUEST_MALFORMED, "token is missing.", "Send the credential's token.", field="token")
    return token
