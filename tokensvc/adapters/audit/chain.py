"""One line of the audit: JSON whose last member seals all bytes before it, the seal of the line before among them.

The seal is over the bytes as they stand, not over what they mean: nothing has to be put into a canonical form, and
`head -n1 FILE | sed 's/, "sha256": .*//' | tr -d '\\n' | sha256sum` checks one by hand.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tokensvc.core.mac import hmac_sha256

NOTHING_BEFORE: Final = "0" * 64
MOST_LINE_BYTES: Final = 65_536

_LINE: Final = re.compile(
    rb'(?P<body>\{"n": (?P<number>[1-9][0-9]{0,18}), .*, "before": "(?P<before>[0-9a-f]{64})"), '
    rb'"(?P<kind>sha256|hmac)": "(?P<seal>[0-9a-f]{64})"\}'
)
_OWN: Final = frozenset({"n", "time", "event", "before", "sha256", "hmac"})


@dataclass(frozen=True, slots=True)
class Head:
    """The last line of a chain: its number, from 1, and its seal."""

    number: int = 0
    seal: str = NOTHING_BEFORE


@dataclass(frozen=True, slots=True)
class Line:
    """A line that could be read. `genuine` says whether its seal is that of its bytes."""

    number: int
    before: str
    seal: str
    genuine: bool
    keyed: bool
    facts: Mapping[str, Any]

    @property
    def head(self) -> Head:
        """What the next line has to build on."""
        return Head(self.number, self.seal)

    def follows(self, head: Head) -> bool:
        """Whether it was written directly after that line."""
        return self.number == head.number + 1 and self.before == head.seal


class Seal:
    """Seals lines: by SHA-256, or with a key by HMAC-SHA256."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"<Seal {self.kind}>"

    @property
    def kind(self) -> str:
        """The name of the member that holds the seal."""
        return "sha256" if self._key is None else "hmac"

    def line(self, head: Head, time: str, event: str, facts: Mapping[str, Any]) -> tuple[bytes, Head]:
        """The next line, with its line break, and the new head."""
        number = head.number + 1
        known = {name: fact for name, fact in facts.items() if name not in _OWN and fact is not None}
        members = {"n": number, "time": time, "event": event, **known, "before": head.seal}
        body = json.dumps(members).encode()[:-1]
        seal = self._of(body)
        return body + f', "{self.kind}": "{seal}"}}\n'.encode(), Head(number, seal)

    def read(self, text: bytes) -> Line | None:
        """A line without its line break; None if it is no line of an audit."""
        found = _LINE.fullmatch(text) if len(text) <= MOST_LINE_BYTES else None
        if found is None:
            return None
        try:
            facts = json.loads(text)
        except ValueError:
            facts = {}  # a broken line has no seal that fits either
        seal, keyed = found["seal"].decode(), found["kind"] == b"hmac"
        genuine = keyed is (self._key is not None) and self._of(found["body"]) == seal
        return Line(int(found["number"]), found["before"].decode(), seal, genuine, keyed, facts)

    def _of(self, body: bytes) -> str:
        if self._key is None:
            return hashlib.sha256(body).hexdigest()
        return hmac_sha256(self._key, body).hex()
