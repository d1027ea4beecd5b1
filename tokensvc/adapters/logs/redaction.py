"""The one place that takes secrets out of what is about to be written: by name, by shape, and by value.

Nothing secret should come here at all. This is for the day on which something does: a library's message that quotes
its input, or a fact that somebody adds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final

REDACTED: Final = "[redacted]"
MOST_LETTERS: Final = 2_000
"""Of one value; only tracebacks may be longer."""

_SECRET_NAMES: Final = frozenset(
    [
        "authorization",
        "proxy_authorization",
        "cookie",
        "set_cookie",
        "signature",
        "token",
        "jwt",
        "credential",
        "ticket",
        "password",
        "secret",
        "api_key",
        "private_key",
        "secret_key",
        "key",
        "cookies",
        "headers",
        "environ",
    ]
)
_OURS: Final = frozenset(
    [
        "time",
        "level",
        "request",
        "trace",
        "parent",
        "ms",
        "nonce",
        "nonces",
        "epoch",
        "version",
        "profile",
        "account",
        "source",
        "code",
        "file",
        "size",
        "age",
        "status",
        "pid",
    ]
)
"""Names of facts whose texts the service itself makes, or an operator: no text of a client gets there."""

_OFTEN: Final = frozenset(["event", "subject", "by"])
"""Names, not secret themselves, whose texts come again and again."""

_MOST_CLEAN: Final = 1024
_MOST_REMEMBERED: Final = 128
_SHORTEST_SECRET: Final = 8
"""A shorter text stands in many an innocent word."""


_SHAPES: Final = re.compile(
    r"""
      \beyJ[\w-]{5,}(?:\.[\w-]*){0,2}                                   # JWT, Flask's cookie
    | \.eJ[\w-]{8,}(?:\.[\w-]*){0,2}                                    # the same cookie, compressed
    | \bprivate_(?!key\b|key_file\b)[^\s"'&,;]{3,}                      # ImageKit's private key
    | \btsk_[\w-]{3,}                                                   # api key
    | \b(?:Basic|Bearer)\s+(?=[^\s"']*[0-9=A-Z])[^\s"',]{6,}            # Authorization
    | (?<=://)[^\s/@]+(?=@)                                             # user and password of an address
    | \b(?i:token|ticket|signature|secret|password|api_?key|cookie|session)=[^\s&"',;]+
    | (?<![0-9A-Za-z])[0-9a-f]{40}(?![0-9A-Za-z])                       # HMAC-SHA1: a v1 signature
    | -----BEGIN[^-]*PRIVATE\ KEY-----(?:.|\n)*?(?:-----END[^-]*-----|\Z)
    """,
    re.VERBOSE,
)


class Redaction:
    """It changes the event that it is given."""

    def __init__(self) -> None:
        self._known: tuple[str, ...] = ()
        self._clean: set[str] = set()

    def learn(self, secrets: Iterable[str]) -> None:
        """These texts must never be written, whatever they look like. Short ones are passed over: they are in words."""
        self._known = tuple({*self._known, *(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)})
        self._clean = set()

    def __call__(self, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Take out what is secret, whatever member of the event it is in."""
        for name, fact in facts.items():
            if name in _OURS or fact.__class__ is int:
                continue
            often = name in _OFTEN and fact.__class__ is str
            if not often or fact not in self._clean:
                facts[name] = found = self._fact(name, fact)
                if often and found == fact and len(fact) <= _MOST_REMEMBERED:
                    self._remember(fact)
        return facts

    def _remember(self, text: str) -> None:
        """Nothing was found in it, so the next line with it need not be searched."""
        if len(self._clean) >= _MOST_CLEAN:
            self._clean = set()
        self._clean.add(text)

    def _fact(self, name: str, fact: Any) -> Any:  # noqa: ANN401 - anything may be logged
        if name.lower().replace("-", "_") in _SECRET_NAMES:
            return REDACTED
        if fact is None or isinstance(fact, bool | int | float):
            return fact
        if isinstance(fact, Mapping):
            return {str(inner): self._fact(str(inner), each) for inner, each in fact.items()}
        if isinstance(fact, list | tuple | set | frozenset):
            return [self._fact("", each) for each in fact]
        text = self.text(fact if isinstance(fact, str) else repr(fact))
        return text if len(text) <= MOST_LETTERS or name == "exception" else f"{text[:MOST_LETTERS]}…"

    def text(self, text: str) -> str:
        """The text without what is secret in it."""
        for secret in self._known:
            if secret in text:
                text = text.replace(secret, REDACTED)
        return _SHAPES.sub(REDACTED, text)


REDACTION: Final = Redaction()
"""The one that everything of this process passes through."""
