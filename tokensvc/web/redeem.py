"""`POST /redeem`: an uploader of one's own, with an api key that may redeem, spends the credential it was sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from wsgiref.types import WSGIEnvironment

from flask import Blueprint, Response, request

from tokensvc.core import strict_json
from tokensvc.core.addresses import Peers
from tokensvc.core.callers import Caller
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.nonces import Version
from tokensvc.service.redeem import Redeem, Spend, Spent
from tokensvc.service.rights import Rights

from .identity import presented_by
from .json_bodies import Answer, private_answer, read_object_of, require_members, text_of

_CREDENTIAL: Final[Mapping[Version, tuple[str, ...]]] = {
    "v1": ("token", "expire", "signature", "publicKey"),
    "v2": ("token",),
}
_MEMBERS: Final = frozenset({"version", "fields", *_CREDENTIAL["v1"]})


@dataclass(frozen=True, slots=True)
class Spending:
    """What the route does. `proxies` are as for `presented_by`."""

    redeem: Redeem
    rights: Rights
    proxies: Peers

    def spend(self, environ: WSGIEnvironment) -> Answer:
        """Spend a credential."""
        caller = self.rights.require(presented_by(environ, self.proxies), "redeem")
        key = environ.get("HTTP_IDEMPOTENCY_KEY")
        spent = self.redeem(_spend(read_object_of(environ), caller, key))
        return private_answer({"outcome": "spent", "grant": granted(spent)})


def redeem_blueprint(spending: Spending) -> Blueprint:
    """The route that spends."""
    blueprint = Blueprint("redeem", __name__)

    @blueprint.post("/redeem")
    def spend() -> Response:
        return spending.spend(request.environ).response()

    return blueprint


def read_credential(members: Mapping[str, Any]) -> tuple[Version, dict[str, str]]:
    """The version and the form fields of the credential in a body whose members are those, or a refusal."""
    version = members.get("version")
    if version not in ("v1", "v2"):
        raise Refusal(
            Code.REQUEST_MALFORMED, "version is neither v1 nor v2.", 'Send "version": "v1" or "v2".', field="version"
        )
    version = cast("Version", version)
    if version == "v2" and members.keys() & {"expire", "signature", "publicKey"}:
        raise Refusal(
            Code.REQUEST_MALFORMED, "A v2 credential is its token alone.", "Send token without expire and signature."
        )
    expire = strict_json.whole(members.get("expire"))
    if expire is not None:  # as /auth answers it; a form has it as a text
        members = {**members, "expire": str(expire)}
    credential = {name: text_of(members, name) for name in _CREDENTIAL[version]}
    for name in _CREDENTIAL[version]:
        if not credential[name] and name != "publicKey":
            raise Refusal(
                Code.REQUEST_MALFORMED, f"{name} is missing.", "Send the credential as it was issued.", field=name
            )
    return version, credential


def read_fields(members: Mapping[str, Any]) -> dict[str, str] | None:
    """The form fields of the upload, all texts; None if the body has none."""
    fields = members.get("fields")
    if fields is None:
        return None
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise Refusal(
            Code.REQUEST_MALFORMED,
            "fields is not an object of strings.",
            "Send the form's fields as their texts, without the file.",
            field="fields",
        )
    return fields


def granted(spent: Spent) -> dict[str, Any]:
    """What the credential was good for. Of one that was minted elsewhere nobody knows who was granted what."""
    members: dict[str, Any] = {"version": spent.version, "account": spent.account}
    note = spent.note
    if note is not None:
        limits = note.restrictions
        members |= {
            "profile": note.profile,
            "source": note.source,
            "subject": note.subject,
            "issued_at": note.issued_at,
            "restrictions": {
                "forced": dict(limits.forced),
                "max_bytes": limits.max_bytes,
                "types": list(limits.types),
            },
        }
    if spent.claims is not None:
        members["fields"] = dict(spent.claims)
    return members


def _spend(members: Mapping[str, Any], caller: Caller, key: str | None) -> Spend:
    require_members(members, _MEMBERS)
    version, credential = read_credential(members)
    return Spend(version, credential, read_fields(members), caller, key)
