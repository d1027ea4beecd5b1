"""The keys by which an identity provider's tokens are verified, and for which algorithms each is good.

A key carries its algorithms with it: the header of a token chooses among them and adds none. That is what keeps the
text of a public key from being taken for an HMAC secret (RFC 8725 2.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tokensvc.core.keys import Secret

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

PUBLIC_KEY_ALGORITHMS: Final = frozenset({"RS256", "PS256", "ES256", "EdDSA"})
SECRET_ALGORITHMS: Final = frozenset({"HS256"})
MIN_SECRET_BYTES: Final = 32
"""RFC 7518 3.2: as many as HS256's hash has."""

_RSA_BITS: Final = range(2048, 8192 + 1)
"""Shorter ones are breakable; longer ones cost more time a token than a stranger should be able to spend."""

_MEMBERS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_READ_AS: Final = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key, or the bytes of a shared secret, and the only algorithms it may verify."""

    algorithms: frozenset[str]
    key: PublicKey | bytes = field(repr=False)
    kid: str | None = None


class KeySource(Protocol):
    """Where the keys are."""

    @property
    def algorithms(self) -> frozenset[str]:
        """All that its keys can be for."""

    def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """The key for a token with this header, None if there is none, or an Outage if that cannot be known now."""


class OneKey:
    """A key source of one configured key. It has no name, so a token's `kid` means nothing to it."""

    def __init__(self, key: VerifyingKey) -> None:
        self._key = key

    @classmethod
    def from_pem(cls, text: str) -> OneKey:
        """Read a public key in PEM: RSA, EC on P-256 or Ed25519. ValueError says what is wrong with it."""
        if "PRIVATE KEY" in text:
            raise ValueError("is a private key; only the provider should have that, give the public one")
        try:
            key = load_pem_public_key(text.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError("is not a public key in PEM") from None
        if not isinstance(key, PublicKey) or not (algorithms := _algorithms_of(key)):
            raise ValueError("is not an RSA key of 2048 to 8192 bits, an EC key on P-256 or an Ed25519 key")
        return cls(VerifyingKey(algorithms, key))

    @classmethod
    def from_secret(cls, secret: Secret) -> OneKey:
        """Take a secret shared with the provider, for HS256. ValueError says what is wrong with it."""
        key = secret.reveal().encode()
        if len(key) < MIN_SECRET_BYTES:
            raise ValueError(f"is shorter than {MIN_SECRET_BYTES} bytes")
        try:
            jwt.get_algorithm_by_name("HS256").prepare_key(key)
        except jwt.InvalidKeyError:
            raise ValueError("is a key document, not a secret; everybody may know the public one") from None
        return cls(VerifyingKey(SECRET_ALGORITHMS, key))

    @property
    def algorithms(self) -> frozenset[str]:
        """What the key is for."""
        return self._key.algorithms

    def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:  # noqa: ARG002 - see the class
        """Return the key if it is for that algorithm."""
        return self._key if algorithm in self._key.algorithms else None


def from_jwk(jwk: object) -> VerifyingKey | None:
    """Read a member of a JWK set (RFC 7517), or return None for what must not verify a token's signature.

    That is: symmetric and private keys (who publishes one has lost it), keys for encryption, short ones, odd curves,
    an `alg` that the kind of key cannot have, and whatever cannot be read.
    """
    if not isinstance(jwk, Mapping):
        return None
    kty, kid, use, operations = (jwk.get(name) for name in ("kty", "kid", "use", "key_ops"))
    if not isinstance(kty, str) or kty not in _MEMBERS or "d" in jwk or "k" in jwk:
        return None
    if use not in (None, "sig") or not (kid is None or isinstance(kid, str)):
        return None
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    public = {name: jwk.get(name) for name in _MEMBERS[kty]}
    if not all(isinstance(value, str) for value in public.values()):
        return None
    try:
        key = jwt.PyJWK({"kty": kty, **public}, algorithm=_READ_AS[kty]).key
    except (jwt.PyJWTError, ValueError, UnsupportedAlgorithm):
        return None
    algorithms = _algorithms_of(key)
    if (named := jwk.get("alg")) is not None:
        algorithms &= {named} if isinstance(named, str) else frozenset()
    return VerifyingKey(algorithms, key, kid) if algorithms else None


def _algorithms_of(key: object) -> frozenset[str]:
    """What a key of this kind may verify; nothing if it is weak or of another kind."""
    if isinstance(key, RSAPublicKey):
        return frozenset({"RS256", "PS256"}) if key.key_size in _RSA_BITS else frozenset()
    if isinstance(key, EllipticCurvePublicKey):
        return frozenset({"ES256"}) if isinstance(key.curve, SECP256R1) else frozenset()
    return frozenset({"EdDSA"}) if isinstance(key, Ed25519PublicKey) else frozenset()
