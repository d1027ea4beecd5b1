"""Key pairs and the ring of all that are accepted.

The key that signs is the one that is *named* active, never the first in a list: adding a key must not start to use it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from .errors import Code, Refusal
from .mac import Keyed, same

_MIN_PRIVATE_KEY_BYTES = 16
_PLACEHOLDER = re.compile(r"(?i)your|placeholder|change.?me|example|dummy|x{4,}|\.\.\.|<|>")


_CUT = re.compile(r"(?:private|public)_[A-Za-z0-9+/]{27}")
"""ImageKit's keys end in the base64 of 20 bytes: 27 characters and a =, which a double click does not select."""

_CUT_FAULT = "has 27 characters after its prefix and no = at the end, as if that was lost in copying"


class Secret:
    """A text that no repr, str, format, JSON or pickle shows. `reveal()` is the one way in, and easy to grep."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself. Call it where it is used, and keep the result nowhere."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")


def fingerprint(secret: Secret) -> str:
    """Return 12 hex digits by which people can tell two keys apart without seeing either."""
    return hashlib.sha256(b"tokensvc fingerprint\0" + secret.reveal().encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An ImageKit key pair of an account. `accept_until` (Unix seconds) ends the grace of one that is being retired."""

    account: str
    public_key: str
    private_key: Secret = field(repr=False)
    accept_until: int | None = None
    mac: Keyed = field(init=False, repr=False, compare=False)
    """Signs with the private key."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mac", Keyed(self.secret_bytes))

    @property
    def secret_bytes(self) -> bytes:
        """The HMAC key: the private key's text in UTF-8."""
        return self.private_key.reveal().encode()

    def accepted(self, now: int) -> bool:
        """Whether its credentials are still accepted."""
        return self.accept_until is None or now < self.accept_until


@dataclass(frozen=True, slots=True)
class AcceptedKeys:
    """Pairs whose credentials are accepted, of one account or of all."""

    pairs: tuple[KeyPair, ...]

    def __post_init__(self) -> None:
        names = [pair.public_key for pair in self.pairs]
        if len(set(names)) != len(names):
            raise ValueError("a public key is listed twice")

    def find(self, public_key: str, now: int) -> KeyPair | None:
        """Return the accepted pair of exactly that name. There is no trying of all keys."""
        return next((pair for pair in self.pairs if pair.public_key == public_key and pair.accepted(now)), None)

    def owner(self, private_key: str, now: int) -> KeyPair | None:
        """Return the accepted pair with that private key (a server's Basic auth); constant time for each pair."""
        presented, found = private_key.encode("utf-8", "surrogatepass"), None
        for pair in self.pairs:
            if same(pair.secret_bytes, presented) and pair.accepted(now):
                found = pair
        return found


@dataclass(frozen=True, slots=True)
class KeyRing(AcceptedKeys):
    """The pairs of one account, and the name (public key) of the active one, which signs."""

    active: str

    def __post_init__(self) -> None:
        AcceptedKeys.__post_init__(self)
        if self.active not in [pair.public_key for pair in self.pairs]:
            raise ValueError(f"the active key {self.active!r} is not one of the account's keys")

    @property
    def signing(self) -> KeyPair:
        """The active pair."""
        return next(pair for pair in self.pairs if pair.public_key == self.active)

    def require_public_key(self, public_key: object) -> None:
        """Refuse a request that names a key which is not the active one: what we sign could never verify."""
        if public_key is not None and public_key != self.active:
            raise Refusal(
                Code.KEY_MISMATCH,
                "publicKey is not the public key that this service signs with.",
                f"Leave publicKey out, or send {self.active}, the one of this service's account.",
                field="publicKey",
            )


def private_key_faults(text: str) -> list[str]:
    """Say what is wrong with a private key's text, without the text; an empty list means nothing is.

    The faults are those that people make.
    """
    faults = []
    if not text:
        return ["is empty"]
    if text != text.strip() or any(c.isspace() for c in text):
        faults.append("contains blanks or a line break; copy it again without them")
    if text[0] in "'\"" or text[-1] in "'\"":
        faults.append("is wrapped in quotes; remove them")
    if text.startswith("public_"):
        faults.append("is a public key; public and private key are swapped")
    elif "-----BEGIN" in text or text.lstrip().startswith("{"):
        faults.append("is a PEM or JWK document; ImageKit's private key is a text that starts with private_")
    elif not text.strip("'\" \n").startswith("private_"):
        faults.append("does not start with private_")
    if len(text.encode("utf-8", "surrogatepass")) < _MIN_PRIVATE_KEY_BYTES:
        faults.append(f"is shorter than {_MIN_PRIVATE_KEY_BYTES} bytes")
    if _CUT.fullmatch(text):
        faults.append(_CUT_FAULT)
    if _PLACEHOLDER.search(text):
        faults.append("looks like a placeholder; put the account's real key")
    return faults


def public_key_faults(text: str) -> list[str]:
    """Say what is wrong with a public key's text; an empty list means nothing is."""
    if text.startswith("private_"):
        return ["is a private key; public and private key are swapped"]
    if not re.fullmatch(r"public_[A-Za-z0-9+/=_-]{1,120}", text):
        return ["must be public_ followed by letters, digits and + / = _ -, without blanks or quotes"]
    if _CUT.fullmatch(text):
        return [_CUT_FAULT]
    if _PLACEHOLDER.search(text):
        return ["looks like a placeholder; put the account's real key"]
    return []
