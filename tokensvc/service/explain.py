"""Explain: every reason why a credential would be refused now, for an operator who has it in hand.

A refusal tells a stranger as little as possible, and only the first thing that is wrong. Here all is told: which key
signed, by how many seconds it is late, which field differs and how. Nothing is spent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from tokensvc.core import jws, mac, strict_json, v1
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.keys import AcceptedKeys, KeyPair, fingerprint
from tokensvc.core.nonces import Version
from tokensvc.ports import Clock, NonceStore

from .verify import Genuine, refusal_of, verify, with_public_key


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is wrong, with the code that a refusal for it has."""

    code: Code
    detail: str
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Explain:
    """The use case with all that it needs from outside. `cross_off` is as for `accept.Accept`."""

    keys: AcceptedKeys
    cross_off: frozenset[str]
    nonces: NonceStore
    clock: Clock

    def __call__(
        self, version: Version, credential: Mapping[str, str], fields: Mapping[str, str] | None
    ) -> list[Reason]:
        """Return all reasons, none if it would be spent now; `fields` are those of the form. Raises an outage."""
        now = self.clock()
        if version == "v1":
            credential = with_public_key(self.keys, credential)
        signer = next((pair for pair in self.keys.pairs if _signed(pair, version, credential)), None)
        if signer is None:
            return [self._unsigned(version, credential, now)]
        named = _named(version, credential)
        reasons = list(self._about_the_key(signer, named, now))
        # From here on as if that key were the right one, for whatever else is wrong.
        keys = AcceptedKeys((replace(signer, public_key=named, accept_until=None),))
        genuine: Genuine | None = None
        for moment in (now, _last_second(version, credential)):
            try:
                genuine = verify(keys, version, credential, moment)
                break
            except Refusal as refusal:
                if moment == now:
                    reasons.append(Reason(refusal.code, refusal.detail, refusal.field))
        if genuine is not None:
            if fields is not None and genuine.claims is not None:
                reasons += _differences(genuine.claims, fields)
            reasons += self._on_record(genuine)
        return reasons

    def _unsigned(self, version: Version, credential: Mapping[str, str], now: int) -> Reason:
        try:
            verify(self.keys, version, credential, now)
        except Refusal as refusal:
            if refusal.detail != jws.forged().detail:  # it has not the form of a credential
                return Reason(refusal.code, refusal.detail, refusal.field)
        ours = ", ".join(_shown(pair) for pair in self.keys.pairs)
        return Reason(
            Code.CREDENTIAL_INVALID,
            f"It was signed with none of this service's keys, or changed since. They are: {ours}.",
            "signature" if version == "v1" else "token",
        )

    def _about_the_key(self, signer: KeyPair, named: str, now: int) -> Iterator[Reason]:
        other = next((pair for pair in self.keys.pairs if pair.public_key == named), None)
        if other is None:
            yield Reason(
                Code.CREDENTIAL_INVALID,
                f"It names a public key that is none of this service's; it was signed with {_shown(signer)}.",
                "publicKey",
            )
        elif mac.same(other.secret_bytes, signer.secret_bytes):
            signer = other
        else:
            yield Reason(
                Code.CREDENTIAL_INVALID,
                f"It names {_shown(other)}, and was signed with {_shown(signer)}.",
                "publicKey",
            )
        if signer.accept_until is not None and not signer.accepted(now):
            ago = now - signer.accept_until
            yield Reason(Code.CREDENTIAL_INVALID, f"Its key, {_shown(signer)}, was retired {ago} s ago.", "publicKey")

    def _on_record(self, genuine: Genuine) -> Iterator[Reason]:
        cross_off = genuine.pair.account in self.cross_off
        refused = self.nonces.look(genuine.nonce, cross_off=cross_off, origin=genuine.origin).refused
        if refused is None:
            return
        refusal = refusal_of(refused)
        yield Reason(refusal.code, refusal.detail, refusal.field)


def _signed(pair: KeyPair, version: Version, credential: Mapping[str, str]) -> bool:
    if version == "v1":
        made = v1.sign(pair.mac, credential["token"], credential["expire"])
        return mac.same(made.encode(), credential["signature"].encode())
    with suppress(Refusal):
        jws.verify(credential["token"], lambda _: pair.secret_bytes)
        return True
    return False


def _named(version: Version, credential: Mapping[str, str]) -> str:
    """The public key that it names, for which there is a signature that verifies."""
    if version == "v1":
        return credential["publicKey"]
    names: list[str] = []

    def note(kid: str) -> None:
        names.append(kid)

    with suppress(Refusal):
        jws.verify(credential["token"], note)
    return names[0]


def _last_second(version: Version, credential: Mapping[str, str]) -> int:
    """A moment at which its time is not what is wrong with it, as far as that can be read; else 0."""
    with suppress(ValueError, Refusal):
        if version == "v1":
            return int(credential["expire"]) - 1
        payload = credential["token"].split(".")[1]
        end = strict_json.loads_object(jws.decode(payload)).get("exp")
        return end - 1 if type(end) is int else 0
    return 0


def _differences(claims: Mapping[str, str], fields: Mapping[str, str]) -> Iterator[Reason]:
    sent = {name: text for name, text in fields.items() if name not in ("file", "token")}
    for name in sorted(claims.keys() | sent.keys()):
        if name not in sent:
            told = f"`{name}` was signed as {claims[name]!r}, and not sent."
        elif name not in claims:
            told = f"`{name}` was sent as {sent[name]!r}, and not signed."
        elif claims[name] != sent[name]:
            told = f"`{name}` differs: signed {claims[name]!r}, sent {sent[name]!r}."
        else:
            continue
        yield Reason(Code.PARAMETER_FORBIDDEN, told, name)


def _shown(pair: KeyPair) -> str:
    return f"{pair.public_key} (fingerprint {fingerprint(pair.private_key)})"
