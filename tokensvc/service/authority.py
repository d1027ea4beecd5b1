"""What lets an upload in: the account's private key itself, or a credential. The nonce store is not asked here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tokensvc.core.errors import Code, Refusal
from tokensvc.core.keys import AcceptedKeys, KeyPair
from tokensvc.core.nonces import NonceId, Version
from tokensvc.core.watermarks import Origin

from .verify import verify

_EVIDENCE: Final[Mapping[Version, tuple[str, ...]]] = {
    "v1": ("signature", "token", "expire", "publicKey"),
    "v2": ("token",),
}
"""Fields of which one at least is there when an upload comes with a credential, good or not."""


@dataclass(frozen=True, slots=True)
class Authority:
    """What lets an upload in: the account's private key itself (no nonce), or a verified credential."""

    pair: KeyPair
    nonce: NonceId | None = None
    record_until: int = 0
    claims: Mapping[str, str] | None = None
    origin: Origin | None = None


def authority_of(
    keys: AcceptedKeys, version: Version, fields: Mapping[str, str], private_key: str | None, now: int
) -> Authority:
    """Verify what came with an upload, at `now` (Unix seconds), or raise a refusal."""
    evidence = "signature" if version == "v1" else "token"
    if private_key is not None:
        if fields.get(evidence):
            raise Refusal(
                Code.REQUEST_MALFORMED,
                f"The request has both {evidence} and Basic authentication.",
                "Send one of them. The private key never belongs in a client.",
                field="authorization",
            )
        pair = keys.owner(private_key, now)
        if pair is None:
            raise Refusal(
                Code.CALLER_INVALID,
                "The private key is not one of this service's.",
                field="authorization",
            )
        return Authority(pair)
    if not any(fields.get(name) for name in _EVIDENCE[version]):
        raise Refusal(
            Code.CALLER_MISSING,
            f"The request has neither {evidence} nor Basic authentication.",
            "Fetch a credential and send its fields with the file.",
            field=evidence,
        )
    genuine = verify(keys, version, fields, now)
    return Authority(genuine.pair, genuine.nonce, genuine.window.record_until, genuine.claims, genuine.origin)
