"""Accept: verify, redeem, check, keep.

The file is complete on disk before the first step, and invisible until the last.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tokensvc.core import upload, v1, v2
from tokensvc.core.checks import Facts, Media, Restrictions, require_checks, require_limits
from tokensvc.core.errors import Code, Outage, Refusal
from tokensvc.core.grants import UNRESTRICTED, GrantNote
from tokensvc.core.keys import AcceptedKeys, KeyPair
from tokensvc.core.nonces import NonceId, Version, nonce_id
from tokensvc.core.params import ENVELOPE, PARAMETERS
from tokensvc.core.upload import Kind, StoredFile
from tokensvc.ports import (
    Audit,
    Chance,
    Clock,
    FileStore,
    Incoming,
    Inspector,
    NameTaken,
    NonceStore,
    Outcome,
    Throttle,
)

from .issue import new_request

_MOST_SUFFIXES: Final = 8

_EVIDENCE: Final[Mapping[Version, tuple[str, ...]]] = {
    "v1": ("signature", "token", "expire", "publicKey"),
    "v2": ("token",),
}
"""Fields of which one at least is there when an upload comes with a credential, good or not."""

_FORGERIES: Final = frozenset({Code.CREDENTIAL_INVALID, Code.CALLER_INVALID})

_REFUSALS: Final = {
    Outcome.REPLAYED: (Code.CREDENTIAL_REPLAYED, "The credential has been used before."),
    Outcome.REVOKED: (Code.CREDENTIAL_REVOKED, "The credential was revoked."),
    Outcome.STALE: (Code.CREDENTIAL_STALE, "The credential was issued before the nonce store was replaced."),
    Outcome.UNISSUED: (
        Code.CREDENTIAL_UNISSUED,
        "The credential is not on record: not issued here, or long expired.",
    ),
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A complete upload request. `private_key` is the user name of Basic auth; `file` is received whole, not sealed.

    `client` is whom it comes from, for slowing down.
    """

    version: Version
    fields: Mapping[str, str]
    file: Incoming | None
    private_key: str | None = None
    client: str = "unix"


@dataclass(frozen=True, slots=True)
class _Authority:
    """What lets an upload in: the account's private key itself (no nonce), or a verified credential."""

    pair: KeyPair
    nonce: NonceId | None = None
    record_until: int = 0
    claims: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Accept:
    """The use case with all that it needs from outside.

    `cross_off` names the accounts that also take, once, a credential minted elsewhere with their key. Without a
    `throttle` nobody is slowed down.
    """

    keys: AcceptedKeys
    cross_off: frozenset[str]
    nonces: NonceStore
    files: FileStore
    inspect: Inspector
    clock: Clock
    chance: Chance
    audit: Audit
    throttle: Throttle | None = None

    def __call__(self, offer: Offer) -> StoredFile:
        """Keep the file and return it, or raise a refusal or an outage; then nothing of it is kept.

        The credential is spent as soon as it is known to be genuine, as ImageKit does: a form that is refused after
        that has used it up. An outage of the nonce store spends nothing.
        """
        authority = self._verify_slowly(offer)
        file = offer.file
        request = new_request(self.chance)
        restrictions = UNRESTRICTED
        if authority.nonce is not None:
            grant = self._redeem(offer.version, authority, authority.nonce, request)
            restrictions = grant.restrictions if grant is not None else UNRESTRICTED
        if file is None:
            raise Refusal(
                Code.REQUEST_MALFORMED,
                "file is missing.",
                "Send the file as a part named file.",
                field="file",
            )
        if authority.claims is not None:
            upload.require_binding(authority.claims, offer.fields)
        kind = self._inspect(offer.fields, file)
        _require_allowed(restrictions, offer.fields, file.size, kind)
        # Only now, so that of many that race only the winner's bytes have to reach the disk.
        stored = self._keep(authority, offer.fields, file, file.seal(), kind)
        if authority.nonce is not None:
            self._finish(authority.nonce, request, stored.file_id)
        self.audit.note(
            "stored",
            {
                "account": stored.account,
                "file": stored.file_id,
                "size": stored.size,
                "version": offer.version,
                "nonce": authority.nonce,
            },
        )
        return stored

    def _verify_slowly(self, offer: Offer) -> _Authority:
        if self.throttle is None:
            return self._verify(offer)
        self.throttle.check(offer.client)
        try:
            return self._verify(offer)
        except Refusal as refusal:
            if refusal.code in _FORGERIES:
                self.throttle.failed(offer.client)
            raise

    def _verify(self, offer: Offer) -> _Authority:
        now = self.clock()
        fields, evidence = offer.fields, "signature" if offer.version == "v1" else "token"
        if offer.private_key is not None:
            if fields.get(evidence):
                raise Refusal(
                    Code.REQUEST_MALFORMED,
                    f"The request has both {evidence} and Basic authentication.",
                    "Send one of them. The private key never belongs in a client.",
                    field="authorization",
                )
            pair = self.keys.owner(offer.private_key, now)
            if pair is None:
                raise Refusal(
                    Code.CALLER_INVALID,
                    "The private key is not one of this service's.",
                    field="authorization",
                )
            return _Authority(pair)
        if not any(fields.get(name) for name in _EVIDENCE[offer.version]):
            raise Refusal(
                Code.CALLER_MISSING,
                f"The request has neither {evidence} nor Basic authentication.",
                "Fetch a credential and send its fields with the file.",
                field=evidence,
            )
        if offer.version == "v1":
            first = v1.verify(self.keys, fields, now)
            nonce = nonce_id(first.pair.account, "v1", first.nonce)
            return _Authority(first.pair, nonce, first.window.record_until)
        second = v2.verify(self.keys, fields.get("token", ""), now)
        nonce = nonce_id(second.pair.account, "v2", second.nonce)
        return _Authority(second.pair, nonce, second.window.record_until, second.claims)

    def _redeem(self, version: Version, authority: _Authority, nonce: NonceId, request: str) -> GrantNote | None:
        """Return the grant that was recorded; None if it was not issued here."""
        until = authority.record_until if authority.pair.account in self.cross_off else None
        redemption = self.nonces.redeem(nonce, request=request, cross_off_until=until)
        event = "redeemed" if redemption.outcome is Outcome.SPENT else str(redemption.outcome)
        grant = GrantNote.from_text(redemption.grant) if redemption.grant else None
        self.audit.note(
            event,
            {
                "version": version,
                "account": authority.pair.account,
                "profile": grant.profile if grant is not None else None,
                "age": self.clock() - grant.issued_at if grant is not None else None,
                "nonce": nonce,
            },
        )
        if redemption.outcome is not Outcome.SPENT:
            code, detail = _REFUSALS[redemption.outcome]
            raise Refusal(code, detail, "Fetch a new credential for each upload, just before it starts.", field="token")
        return grant

    def _inspect(self, fields: Mapping[str, str], file: Incoming) -> Kind:
        with file.open() as content:
            return self.inspect(content, upload.safe_name(_required(fields, "fileName")))

    def _keep(
        self, authority: _Authority, fields: Mapping[str, str], file: Incoming, sha256: str, kind: Kind
    ) -> StoredFile:
        wanted = upload.safe_name(_required(fields, "fileName"))
        folder = upload.safe_folder(fields.get("folder", ""))
        upload.require_flags(fields)
        unique = upload.flag(fields, "useUniqueFileName", default=True)
        replace = not unique and upload.flag(fields, "overwriteFile", default=True)
        for _ in range(_MOST_SUFFIXES):
            name = upload.unique_name(wanted, self._suffix()) if unique else wanted
            stored = StoredFile(
                file_id=self.chance(12).hex(),
                version_id=self.chance(12).hex(),
                account=authority.pair.account,
                name=name,
                file_path=upload.join_path(folder, name),
                size=file.size,
                sha256=sha256,
                kind=kind,
                uploaded_at=self.clock(),
                fields={name: value for name, value in fields.items() if name in PARAMETERS.keys() - ENVELOPE},
            )
            try:
                self.files.keep(file, stored, replace=replace)
            except NameTaken:
                if unique:
                    continue
                break
            return stored
        raise Refusal(
            Code.PARAMETER_INVALID,
            "A file of that name exists, and both overwriteFile and useUniqueFileName are false.",
            "Choose another fileName, or let one of the two be true.",
            field="overwriteFile",
        )

    def _finish(self, nonce: NonceId, request: str, result: str) -> None:
        try:
            self.nonces.finish(nonce, request=request, result=result)
        except Outage as outage:  # the file is kept and the nonce spent; only the note of the result is lost
            self.audit.note("unfinished", {"nonce": nonce, "reason": outage.detail})

    def _suffix(self) -> str:
        return base64.urlsafe_b64encode(self.chance(9)).decode()[: upload.UNIQUE_SUFFIX_LENGTH]


def _require_allowed(restrictions: Restrictions, fields: Mapping[str, str], size: int, kind: Kind) -> None:
    """Hold the upload to the profile under which its credential was issued, and to the checks that it brings.

    For v2 ImageKit does the same by the `checks` in the JWT; a v1 credential binds nothing, so that only here it holds.
    """
    require_limits(restrictions, size=size, mime=kind.mime, fields=fields)
    expressions = {fields.get("checks", ""), restrictions.forced.get("checks", "")} - {""}
    if expressions:
        facts = Facts.of(fields, size=size, mime=kind.mime, media=Media(width=kind.width, height=kind.height))
        for expression in sorted(expressions):
            require_checks(expression, facts)


def _required(fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name, "")
    if not value:
        raise Refusal(Code.PARAMETER_INVALID, f"{name} is missing.", f"Send {name} with the file.", field=name)
    return value
