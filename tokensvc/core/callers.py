"""Who asks. A caller source (an adapter) turns a request into a `Caller`; nothing else makes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Right = Literal["issue", "redeem", "operate"]


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified caller: `source` is the name of the caller source that vouches for it, `subject` who it is there."""

    source: str
    subject: str
    may: frozenset[Right] = frozenset({"issue"})
    claims: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request brings along that may identify its caller; the only view of a request that sources get.

    `headers` has lower-case names. `peer` is the address of the direct peer, or "unix".
    """

    headers: Mapping[str, str] = field(repr=False)
    cookies: Mapping[str, str] = field(repr=False)
    peer: str

    @property
    def bearer(self) -> str | None:
        """The token of `Authorization: Bearer …`, or nothing."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" and token.strip() else None
