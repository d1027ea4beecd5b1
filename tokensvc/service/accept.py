"""Accept: verify, redeem, check, keep.

The file is complete on disk before the first step, and invisible until the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tokensvc.core import forms, upload
from tokensvc.core.checks import Facts, Media, Restrictions, require_checks, require_limits
from tokensvc.core.errors import Code, Outage, Refusal
from tokensvc.core.grants import UNRESTRICTED, GrantNote
from tokensvc.core.keys import AcceptedKeys, KeyPair
from tokensvc.core.nonces import NonceId, Version
from tokensvc.core.upload import Kind, StoredFile
from tokensvc.ports import (
    Audit,
    Chance,
    Clock,
    FileStore,
    Incoming,
    Inspector,
    NonceStore,
    Outcome,
    Throttle,
)

from .fetching import Fetching, Remote
from .issue import new_request
from .keep import keep, wanted_name
from .verify import refusal_of, verify

_EVIDENCE: Final[Mapping[Version, tuple[str, ...]]] = {
    "v1": ("signature", "token", "expire", "publicKey"),
    "v2": ("token",),
}
"""Fields of which one at least is there when an upload comes with a credential, good or not."""

_FORGERIES: Final = frozenset({Code.CREDENTIAL_INVALID, Code.CALLER_INVALID})


@dataclass(frozen=True, slots=True)
class Offer:
    """A complete upload request. `private_key` is the user name of Basic auth; `file` is received whole, not sealed.

    `client` is whom it comes from, for slowing down. `remote` is there instead of `file` where that is a URL.
    """

    version: Version
    fields: Mapping[str, str]
    file: Incoming | None
    private_key: str | None = None
    client: str = "unix"
    remote: Remote | None = None


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
    `throttle` nobody is slowed down; without `fetching` no URL is taken for a file.
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
    fetching: Fetching | None = None

    def __call__(self, offer: Offer) -> StoredFile:
        """Keep the file and return it, or raise a refusal or an outage; then nothing of it is kept.

        The credential is spent as soon as it is known to be genuine, as ImageKit does: a form that is refused after
        that has used it up. An outage of the nonce store spends nothing.
        """
        authority = self._verify_slowly(offer)
        file = offer.file
        grant: GrantNote | None = None
        request = new_request(self.chance)
        restrictions = UNRESTRICTED
        if authority.nonce is not None:
            grant = self._redeem(offer.version, authority, authority.nonce, request)
            restrictions = grant.restrictions if grant is not None else UNRESTRICTED
        if file is None and offer.remote is None:
            raise Refusal(
                Code.REQUEST_MALFORMED,
                "file is missing.",
                "Send the file as a part named file.",
                field="file",
            )
        if authority.claims is not None:
            upload.require_binding(authority.claims, offer.fields)
        settled = forms.settle(offer.fields, offer.version)
        forms.require(settled)
        if file is None:
            wanted_name(settled)
            file = self._fetch(offer, authority, grant)
        kind = self._inspect(settled, file)
        forms.require_suits(settled, kind)
        texts = {name: offer.fields[name] for name in settled}  # a forced text is compared as it came
        require_limits(restrictions, size=file.size, mime=kind.mime, fields=texts)
        _require_checks(restrictions, settled, file.size, kind)
        # Only now, so that of many that race only the winner's bytes have to reach the disk.
        file.seal()
        stored = keep(self.files, authority.pair.account, settled, file, kind, now=self.clock(), chance=self.chance)
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

    def require_genuine(self, offer: Offer) -> None:
        """Refuse what would be refused for its credential or its private key, before its body is read.

        Nothing is spent or redeemed, and `__call__` verifies again.
        """
        self._verify_slowly(offer)

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
        genuine = verify(self.keys, offer.version, fields, now)
        return _Authority(genuine.pair, genuine.nonce, genuine.window.record_until, genuine.claims)

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
            raise refusal_of(redemption.outcome)
        return grant

    def _fetch(self, offer: Offer, authority: _Authority, grant: GrantNote | None) -> Incoming:
        """The file from its URL, once the form is known to be good, so that nothing is fetched in vain."""
        if self.fetching is None or offer.remote is None:
            raise Refusal(
                Code.PARAMETER_FORBIDDEN,
                "file is a URL, and this service does not fetch files.",
                "Send the file itself.",
                field="file",
            )
        if authority.nonce is None:
            return self.fetching.with_private_key(offer.remote)
        return self.fetching.with_credential(offer.remote, grant)

    def _inspect(self, fields: Mapping[str, str], file: Incoming) -> Kind:
        with file.open() as content:
            return self.inspect(content, wanted_name(fields))

    def _finish(self, nonce: NonceId, request: str, result: str) -> None:
        try:
            self.nonces.finish(nonce, request=request, result=result)
        except Outage as outage:  # the file is kept and the nonce spent; only the note of the result is lost
            self.audit.note("unfinished", {"nonce": nonce, "reason": outage.detail})


def _require_checks(restrictions: Restrictions, settled: Mapping[str, str], size: int, kind: Kind) -> None:
    """Hold the upload to the checks of the profile under which its credential was issued, and to those that it brings.

    For v2 ImageKit does the same by the `checks` in the JWT; a v1 credential binds nothing, so that only here it holds.
    """
    expressions = {settled.get("checks", ""), restrictions.forced.get("checks", "")} - {""}
    if expressions:
        facts = Facts.of(settled, size=size, mime=kind.mime, media=Media(width=kind.width, height=kind.height))
        for expression in sorted(expressions):
            require_checks(expression, facts)
