"""Callers that present an api key: `Authorization: Bearer tsk_…`.

Only the SHA-256 of a key is configured: it has 192 random bits, so there is nothing for a slow hash to slow down.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tokensvc.core.callers import Caller, Evidence, Presented, Right
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.mac import same
from tokensvc.ports import Chance

PREFIX: Final = "tsk_"


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose key it is, and what it may be used for."""

    subject: str
    may: frozenset[Right]


class ApiKeys:
    """Caller source: the keys of one `[callers.NAME]` table, by the hex SHA-256 of their whole text."""

    evidence: Final[Evidence] = "header"

    def __init__(self, source: str, holders: Mapping[str, Holder]) -> None:
        self._callers: dict[int, list[tuple[bytes, Caller]]] = {}
        for text, holder in holders.items():
            known, caller = bytes.fromhex(text), Caller(source, holder.subject, holder.may)
            self._callers.setdefault(hash(known), []).append((known, caller))

    def identify(self, presented: Presented) -> Caller | None:
        """Return the key's holder; a bearer token without our prefix is somebody else's evidence."""
        text = presented.bearer
        if text is None or not text.startswith(PREFIX):
            return None
        digest, found = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest(), None
        # A table takes as long for the thousandth key as for the first. It goes by Python's hash, which is keyed anew
        # in each process, so its time tells nothing of a digest; and digests are compared in constant time.
        for known, caller in self._callers.get(hash(digest), ()):
            if same(known, digest):
                found = caller
        if found is None:
            raise Refusal(
                Code.CALLER_INVALID,
                "The api key is not known here.",
                "Make one with `tokensvc keys new` and configure it.",
            )
        return found


def new_api_key(chance: Chance) -> tuple[str, str]:
    """Return the text of a new key and the hex SHA-256 to configure."""
    text = PREFIX + base64.urlsafe_b64encode(chance(24)).decode()
    return text, hashlib.sha256(text.encode()).hexdigest()
