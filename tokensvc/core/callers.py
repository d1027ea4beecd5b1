"""Who asks. A caller source (an adapter) turns a request into a `Caller`; nothing else makes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from .errors import Code, Refusal
from .nonces import NonceId

Right = Literal["issue", "redeem", "operate"]

Evidence = Literal["header", "cookie", "own cookie", "address"]
"""How a source's evidence gets into a request, which says what a page of another site could do with a visitor's.

header: a script or a program puts it there on purpose; such a page has none to put.
cookie: the browser adds it by itself, also to what such a page asks for. A proxy's sign-in is one, too.
own cookie: the same, and even a listed origin must not use it.
address: it is where the request comes from; such a page can spend what that address may have.
"""

MAX_SUBJECT_CHARACTERS: Final = 128


@dataclass(frozen=True, slots=True)
class Once:
    """Evidence that is good for one credential: `nonce` is to be crossed off until `until` (Unix s) before issuing."""

    nonce: NonceId
    until: int


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified caller: `source` is the name of the caller source that vouches for it, `subject` who it is there.

    `profile` is the only profile that its evidence is good for; None means any that trusts the source.
    """

    source: str
    subject: str
    may: frozenset[Right] = frozenset({"issue"})
    claims: Mapping[str, str] = field(default_factory=dict)
    profile: str | None = None
    once: Once | None = None


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request brings along that may identify its caller; the only view of a request that sources get.

    `headers` has lower-case names; one that came twice is joined by commas. `peer` is the address of the direct peer,
    or "unix". `client` is the address of whom it asks for, if the peer is a proxy that is trusted to say so.
    `own_origin` is the service's own, as the request has it; known only where the request names an origin.
    """

    headers: Mapping[str, str] = field(repr=False)
    cookies: Mapping[str, str] = field(repr=False)
    peer: str
    client: str = ""
    own_origin: str | None = None

    @property
    def address(self) -> str:
        """Where the request comes from, for slowing down."""
        return self.client or self.peer

    @property
    def bearer(self) -> str | None:
        """The token of `Authorization: Bearer …`, or nothing."""
        return self.authorization("bearer")

    def authorization(self, scheme: str) -> str | None:
        """What follows this scheme (lower case) in the Authorization header, or nothing."""
        named, _, text = self.headers.get("authorization", "").partition(" ")
        return text.strip() if named.lower() == scheme and text.strip() else None

    def cookie(self, name: str) -> str | None:
        """The cookie of that name, None if there is none or an empty one; a refusal if there are two that differ.

        A page of a neighbouring host can add a second one, and which comes first is not ours to guess from.
        """
        parts = (part.partition("=") for part in self.headers.get("cookie", "").split(";"))
        values = {value.strip() for found, _, value in parts if found.strip() == name}
        if len(values) > 1:
            raise Refusal(
                Code.CALLER_INVALID,
                f"The cookie {name} comes twice, with different values.",
                "Delete this site's cookies and sign in again.",
            )
        # One that was skipped as unreadable is there all the same, and not good.
        return self.cookies.get(name) or next(iter(values), None) or None


def require_subject(text: str) -> str:
    """Return `text` if it can name a caller: 1 to 128 printable characters, with no blank at either end."""
    if not 1 <= len(text) <= MAX_SUBJECT_CHARACTERS or not text.isprintable() or text != text.strip():
        raise Refusal(
            Code.CALLER_INVALID,
            "The caller's name cannot be used.",
            f"A subject is 1 to {MAX_SUBJECT_CHARACTERS} printable characters, without a blank at either end.",
        )
    return text
