"""The language of `checks`: from text to frozen values and back.

A text holds no backslash, and a word of the language is in capitals: what ImageKit reads into either is not published,
and a text that two readers understand differently is a way around whichever reads it second.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from tokensvc.core.params import MAX_VALUE_CHARACTERS

from .fields import OPERATORS, FieldKind, Operator, bytes_of, kind_of
from .tokens import ChecksSyntax, Lexeme, Token, quoted, split

MAX_CHARACTERS: Final = MAX_VALUE_CHARACTERS
MAX_DEPTH: Final = 16

Scalar = str | int | Decimal | bool
"""A value; numbers are exact. A size that was written as a text stays one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One field held against a value, or against a list of them. `position` is where the field stands, from 1."""

    field: str
    operator: Operator
    value: Scalar | tuple[Scalar, ...]
    position: int = dataclasses.field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Junction:
    """Two or more expressions that must all hold (AND), or of which one must (OR)."""

    word: Literal["AND", "OR"]
    parts: tuple[Expression, ...]


Expression = Comparison | Junction


def parse(text: str) -> Expression:
    """Read an expression of at most 4096 characters and 16 levels of parentheses, or raise `ChecksSyntax`.

    AND binds closer than OR.
    """
    if len(text) > MAX_CHARACTERS:
        raise ChecksSyntax(MAX_CHARACTERS + 1, f"it is longer than {MAX_CHARACTERS} characters")
    reader = _Reader(split(text))
    if reader.is_at_end():
        raise ChecksSyntax(1, "it is empty")
    expression = reader.any_of(MAX_DEPTH)
    if not reader.is_at_end():
        raise reader.unexpected("AND, OR or the end")
    return expression


def write(expression: Expression) -> str:
    """The one spelling of an expression: `parse` reads it back as an equal one.

    A junction inside of another stands in parentheses even where they could be left out, so that it means the same
    whichever of AND and OR the reader thinks is stronger.
    """
    if isinstance(expression, Comparison):
        value = expression.value
        written = f"[{', '.join(map(_literal, value))}]" if isinstance(value, tuple) else _literal(value)
        return f"{quoted(expression.field)} {expression.operator} {written}"
    return f" {expression.word} ".join(
        f"({write(part)})" if isinstance(part, Junction) else write(part) for part in expression.parts
    )


def _literal(value: Scalar) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)


_OPERATORS: Final = {str(operator): operator for operator in Operator}


class _Reader:
    """A cursor over tokens, with one method a rule of the grammar."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def here(self) -> Token:
        return self._tokens[self._at]

    def is_at_end(self) -> bool:
        return self.here.lexeme is Lexeme.END

    def _next(self) -> Token:
        token = self.here
        self._at += token.lexeme is not Lexeme.END
        return token

    def _take(self, lexeme: Lexeme, text: str) -> bool:
        if self.here.lexeme is lexeme and self.here.text == text:
            self._at += 1
            return True
        return False

    def unexpected(self, wanted: str) -> ChecksSyntax:
        return ChecksSyntax(self.here.position, f"{self.here.in_words} stands where {wanted} is expected")

    def any_of(self, depth: int) -> Expression:
        parts = [self._all_of(depth)]
        while self._take(Lexeme.WORD, "OR"):
            parts.append(self._all_of(depth))
        return parts[0] if len(parts) == 1 else Junction("OR", tuple(parts))

    def _all_of(self, depth: int) -> Expression:
        parts = [self._one(depth)]
        while self._take(Lexeme.WORD, "AND"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else Junction("AND", tuple(parts))

    def _one(self, depth: int) -> Expression:
        opening = self.here
        if not self._take(Lexeme.SYMBOL, "("):
            return self._comparison()
        if depth == 0:
            raise ChecksSyntax(opening.position, f"parentheses are nested more than {MAX_DEPTH} levels deep")
        inside = self.any_of(depth - 1)
        if not self._take(Lexeme.SYMBOL, ")"):
            if self.is_at_end():
                raise ChecksSyntax(opening.position, "this parenthesis is never closed")
            raise self.unexpected("AND, OR or a closing parenthesis")
        return inside

    def _comparison(self) -> Comparison:
        name = self.here
        if name.lexeme is Lexeme.WORD and kind_of(name.text) is not None:
            raise ChecksSyntax(name.position, f"the name of a field goes in quotes: {quoted(name.text)}")
        if name.lexeme is not Lexeme.TEXT:
            raise self.unexpected("the quoted name of a field")
        kind = kind_of(name.text)
        if kind is None:
            raise ChecksSyntax(name.position, f"there is no field {quoted(name.text[:64])}")
        self._next()
        at = self.here
        operator = self._operator()
        if operator not in OPERATORS[kind]:
            known = ", ".join(str(known) for known in Operator if known in OPERATORS[kind])
            raise ChecksSyntax(at.position, f"{quoted(name.text)} does not take {operator}; it takes {known}")
        return Comparison(name.text, operator, self._value(kind, operator), name.position)

    def _operator(self) -> Operator:
        negation = "NOT " if self._take(Lexeme.WORD, "NOT") else ""
        unquoted = self.here.lexeme in (Lexeme.SYMBOL, Lexeme.WORD)
        operator = _OPERATORS.get(negation + self.here.text) if unquoted else None
        if operator is None:
            raise self.unexpected("=, IN or HAS" if negation else "an operator")
        self._next()
        return operator

    def _value(self, kind: FieldKind, operator: Operator) -> Scalar | tuple[Scalar, ...]:
        opening = self.here
        if not operator.takes_list:
            return self._scalar(kind, operator)
        if not self._take(Lexeme.SYMBOL, "["):
            if operator in (Operator.HAS, Operator.NOT_HAS):
                return self._scalar(kind, operator)
            raise self.unexpected('a list such as ["a", "b"]')
        values = [self._scalar(kind, operator)]
        while self._take(Lexeme.SYMBOL, ","):
            values.append(self._scalar(kind, operator))
        if not self._take(Lexeme.SYMBOL, "]"):
            if self.is_at_end():
                raise ChecksSyntax(opening.position, "this list is never closed")
            raise self.unexpected("a comma or a closing bracket")
        return tuple(values)

    def _scalar(self, kind: FieldKind, operator: Operator) -> Scalar:
        at = self.here
        value = at.value
        if value is None or not _fits(value, kind, operator):
            wanted = "a text in quotes" if operator is Operator.STARTS_WITH else kind.value
            raise self.unexpected(wanted)
        self._next()
        return value


def _fits(value: Scalar, kind: FieldKind, operator: Operator) -> bool:
    if operator is Operator.STARTS_WITH or kind in (FieldKind.TEXT, FieldKind.TAGS):
        return isinstance(value, str)
    if kind is FieldKind.FLAG:
        return isinstance(value, bool)
    if kind is FieldKind.METADATA:
        return True
    if isinstance(value, str):
        return kind is FieldKind.SIZE and bytes_of(value) is not None
    return not isinstance(value, bool)
