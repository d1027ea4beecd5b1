"""From the text of `checks` to its tokens, each with its place: one pass, in time that grows with the text only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Final

from tokensvc.core.params import unfit


class ChecksSyntax(Exception):  # noqa: N818 - what is wrong with a stranger's text; nothing of ours failed
    """The text is not an expression. `position` counts characters from 1; `reason` says why, in words."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"at character {position}: {reason}")
        self.position = position
        self.reason = reason


class Lexeme(Enum):
    """The classes of tokens."""

    TEXT = "text"
    NUMBER = "number"
    WORD = "word"
    SYMBOL = "symbol"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A token; `text` of a quoted one is what stands between the quotes."""

    lexeme: Lexeme
    text: str
    position: int

    @property
    def value(self) -> str | int | Decimal | bool | None:
        """The value that it is, or None if it is not one."""
        if self.lexeme is Lexeme.TEXT:
            return self.text
        if self.lexeme is Lexeme.NUMBER:
            return Decimal(self.text) if "." in self.text else int(self.text)
        return {"true": True, "false": False}.get(self.text) if self.lexeme is Lexeme.WORD else None

    @property
    def in_words(self) -> str:
        """What it is, for a sentence."""
        if self.lexeme is Lexeme.END:
            return "the end"
        shown = self.text if len(self.text) <= _MOST_SHOWN else f"{self.text[:_MOST_SHOWN]}…"
        return f"the text {quoted(shown)}" if self.lexeme is Lexeme.TEXT else shown


_MOST_SHOWN: Final = 40
_MOST_DIGITS: Final = 20
_BLANK: Final = re.compile(r"[ \t\r\n]*")
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_TOKEN: Final = re.compile(
    r"""(?P<TEXT>"[^"]*"|'[^']*')|(?P<WORD>[0-9A-Za-z_.+-]+)|(?P<SYMBOL><=|>=|[=<>:()\[\],])""", re.ASCII
)


def quoted(text: str) -> str:
    """A text in the quotes that it does not contain; no text that was read contains both."""
    return f"'{text}'" if '"' in text else f'"{text}"'


def split(text: str) -> list[Token]:
    """The tokens with an END after the last, or a `ChecksSyntax`."""
    tokens = []
    at = _blanks_from(text, 0)
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ChecksSyntax(at + 1, _reason(text[at]))
        tokens.append(_token(Lexeme[found.lastgroup or ""], found[0], at + 1))
        at = _blanks_from(text, found.end())
    tokens.append(Token(Lexeme.END, "", len(text) + 1))
    return tokens


def _blanks_from(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return at if found is None else found.end()


def _reason(character: str) -> str:
    if character in "\"'":
        return "this quote is never closed"
    if character in "\u201c\u201d\u2018\u2019`":
        return "this is not a straight quote, \" or '"
    return "this character has no meaning outside of quotes"


def _token(lexeme: Lexeme, text: str, position: int) -> Token:
    if lexeme is Lexeme.TEXT:
        inside = text[1:-1]
        if "\\" in inside:
            raise ChecksSyntax(position + text.index("\\"), "a text cannot hold a backslash")
        unfit_reason = None if inside.isascii() and inside.isprintable() else unfit(inside)
        if unfit_reason:
            raise ChecksSyntax(position, f"this text {unfit_reason}")
        return Token(lexeme, inside, position)
    if lexeme is Lexeme.WORD and _NUMBER.fullmatch(text):
        if len(text) > _MOST_DIGITS:
            raise ChecksSyntax(position, f"this number has more than {_MOST_DIGITS} digits")
        return Token(Lexeme.NUMBER, text, position)
    return Token(lexeme, text, position)
