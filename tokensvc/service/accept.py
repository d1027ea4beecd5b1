"""Accept: verify, redeem, check, keep.

The file is complete on disk before the first step, and invisible until the last. What an upload becomes follows from
the name of its request, so one that is sent again under the same name (its Idempotency-Key) becomes the same file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tokensvc.core import forms, strict_json, upload
from tokensvc.core.checks import Facts, Media, Restrictions, require_checks, require_limits
from tokensvc.core.errors import Code, Outage, Refusal
from tokensvc.core.grants import UNRESTRICTED, GrantNote
from tokensvc.core.keys import AcceptedKeys
from tokensvc.core.metadata import MetadataField, require_metadata
from tokensvc.core.nonces import NonceId, Version
from tokensvc.core.upload import Kind, StoredFile
from tokensvc.ports import (
    Audit,
    Chance,
    Clock,
    Concern,
    FileStore,
    Incoming,
    Inspector,
    NonceStore,
    Outcome,
    Redemption,
    Throttle,
)

from .authority import Authority, authority_of
from .concern import unheard
from .fetching import Fetching, Remote
from .hold import Hold
from .keep import keep, wanted_name
from .request_names import chance_of, named_request, new_request, require_key
from .verify import granted, refusal_of, whose

DEFAULT_LEASE_SECONDS: Final = 60

_YES: Final = frozenset({Outcome.SPENT, Outcome.CLAIMED, Outcome.FINISHED})
_FORGERIES: Final = frozenset({Code.CREDENTIAL_INVALID, Code.CALLER_INVALID})


@dataclass(frozen=True, slots=True)
class Offer:
    """A complete upload request. `private_key` is the user name of Basic auth; `file` is received whole, not sealed.

    `client` is whom it comes from, for slowing down. `key` is its name for this upload: the same one sent again is
    answered alike. `remote` is there instead of `file` where that is a URL.
    """

    version: Version
    fields: Mapping[str, str]
    file: Incoming | None
    private_key: str | None = None
    client: str = "unix"
    key: str | None = None
    remote: Remote | None = None


@dataclass(frozen=True, slots=True)
class Accept:
    """The use case with all that it needs from outside.

    `cross_off` names the accounts that also take, once, a credential minted elsewhere with their key. Without a
    `throttle` nobody is slowed down; without `fetching` no URL is taken for a file. `lease` is for how many seconds a
    use that is spent on success is claimed: from the last byte of the request until its file is kept. An account that
    is not in `metadata` takes any custom metadata.
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
    lease: int = DEFAULT_LEASE_SECONDS
    fetching: Fetching | None = None
    metadata: Mapping[str, Mapping[str, MetadataField]] = field(default_factory=dict)
    concern: Concern = unheard

    def __call__(self, offer: Offer) -> StoredFile:
        """Keep the file and return it, or raise a refusal or an outage; then nothing of it is kept.

        The credential is spent as soon as it is known to be genuine, as ImageKit does: a form that is refused after
        that has used it up. Where its profile said on-success it is only claimed then, and spent just before the file
        becomes visible. An outage of the nonce store before that spends nothing.
        """
        require_key(offer.key)
        authority = self._verify_slowly(offer)
        request = self._name(offer, authority)
        if authority.nonce is None:
            return self._keep(offer, authority, request, None)
        redemption, grant, facts = self._redeem(offer.version, authority, authority.nonce, request)
        if redemption.outcome is Outcome.FINISHED:
            return self._kept_before(authority, redemption.result)
        if redemption.outcome is Outcome.SPENT:
            return self._keep(offer, authority, request, grant)
        with Hold(self.nonces, self.audit, authority.nonce, request, facts) as hold:
            return self._keep(offer, authority, request, grant, hold.commit)

    def _name(self, offer: Offer, authority: Authority) -> str:
        """The name of this request; with a key it follows from the whole upload, so that another upload has another."""
        if offer.key is None or (offer.file is None and offer.remote is None):
            return new_request(self.chance)
        scope = authority.nonce or f"server {authority.pair.account}"
        form = strict_json.dumps(dict(sorted(offer.fields.items()))).decode()
        file = offer.file.seal() if offer.file is not None else offer.remote.url if offer.remote is not None else ""
        return named_request("tokensvc upload", scope, offer.key, form, file)

    def _keep(
        self,
        offer: Offer,
        authority: Authority,
        request: str,
        grant: GrantNote | None,
        commit: Callable[[], None] | None = None,
    ) -> StoredFile:
        file, restrictions = offer.file, grant.restrictions if grant is not None else UNRESTRICTED
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
        self._require_metadata(authority.pair.account, settled)
        if file is None:
            wanted_name(settled)
            file = self._fetch(offer, authority, grant)
        kind = self._inspect(settled, file)
        forms.require_suits(settled, kind)
        texts = {name: offer.fields[name] for name in settled}  # a forced text is compared as it came
        require_limits(restrictions, size=file.size, mime=kind.mime, fields=texts)
        _require_checks(restrictions, settled, file.size, kind)
        account, chance = authority.pair.account, chance_of(request)
        stored = keep(self.files, account, settled, file, kind, now=self.clock(), chance=chance, commit=commit)
        if authority.nonce is not None and offer.key is not None:  # without a key nobody can send this request again
            self._finish(authority.nonce, request, f"{stored.version_id} {stored.file_path}")
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

    def _kept_before(self, authority: Authority, result: str) -> StoredFile:
        """The file that this very request has kept; if it is gone since, the credential was used all the same."""
        version_id, _, file_path = result.partition(" ")
        found = self.files.find(authority.pair.account, file_path, version_id)
        if found is None:
            raise refusal_of(Outcome.REPLAYED)
        found[1].close()
        return found[0]

    def require_genuine(self, offer: Offer) -> None:
        """Refuse what would be refused for its credential or its private key, before its body is read.

        Nothing is spent or redeemed, and `__call__` verifies again.
        """
        require_key(offer.key)
        self._verify_slowly(offer)

    def _verify_slowly(self, offer: Offer) -> Authority:
        if self.throttle is None:
            return self._verify(offer)
        self.throttle.check(offer.client)
        try:
            return self._verify(offer)
        except Refusal as refusal:
            if refusal.code in _FORGERIES:
                self.throttle.failed(offer.client)
            raise

    def _verify(self, offer: Offer) -> Authority:
        authority = authority_of(self.keys, offer.version, offer.fields, offer.private_key, self.clock())
        self.concern(version=offer.version, account=authority.pair.account, nonce=authority.nonce)
        return authority

    def _redeem(
        self, version: Version, authority: Authority, nonce: NonceId, request: str
    ) -> tuple[Redemption, GrantNote | None, Mapping[str, str | int | None]]:
        """Return a redemption that is a yes, what was granted if it was issued here, and what the audit was told."""
        until = authority.record_until if authority.pair.account in self.cross_off else None
        redemption = self.nonces.redeem(
            nonce, request=request, cross_off_until=until, lease=self.lease, origin=authority.origin
        )
        event = "redeemed" if redemption.outcome is Outcome.SPENT else str(redemption.outcome)
        grant = granted(redemption)
        self.concern(**whose(grant))
        facts = {
            "version": version,
            "account": authority.pair.account,
            **whose(grant),
            "age": self.clock() - grant.issued_at if grant is not None else None,
            "nonce": nonce,
        }
        self.audit.note(event, facts)
        if redemption.outcome not in _YES:
            raise refusal_of(redemption.outcome, redemption.retry_after)
        return redemption, grant, facts

    def _require_metadata(self, account: str, settled: Mapping[str, str]) -> None:
        if account in self.metadata and "customMetadata" in settled:
            require_metadata(self.metadata[account], forms.custom_metadata(settled))

    def _fetch(self, offer: Offer, authority: Authority, grant: GrantNote | None) -> Incoming:
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
        media = Media(kind.width, kind.height, kind.duration, kind.bit_rate, kind.video_codec, kind.audio_codec)
        facts = Facts.of(settled, size=size, mime=kind.mime, media=media)
        for expression in sorted(expressions):
            require_checks(expression, facts)
