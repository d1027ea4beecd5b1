"""Many uploads on one occasion: what names the same fields has the same stencil, and only the values are put in.

Nothing is decided here that `choices.choose` does not decide. It is asked for the first upload that names these fields,
and for each value that did not come before; what it said about the names, and about that value, holds for the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from . import choices, v2
from .policy import Terms


class _Members(dict[str, str]):
    """What each text of one field makes, as `v2.member` writes it: decided of once, when it is looked up first.

    A text that is set aside, for what is forced, makes an empty one.
    """

    def __init__(self, decide: Callable[[object], str]) -> None:
        super().__init__()
        self.decide = decide

    def __missing__(self, text: str) -> str:
        self[text] = member = self.decide(text)
        return member


@dataclass(frozen=True, slots=True)
class _Stencil:
    """The members of each field of an upload, in its order; and what follows them."""

    fields: tuple[_Members, ...]
    rest: str


class Stencils:
    """Those for the v2 uploads that are asked for on the same terms. ValueError for v1's, which bind nothing."""

    def __init__(self, terms: Terms) -> None:
        if terms.fixed is None:
            raise ValueError("A v1 credential has no parameters.")
        self._occasion, self._fixed = terms.occasion, terms.fixed
        self._stencils: dict[tuple[object, ...], _Stencil] = {}
        self._members: dict[str, _Members] = {}

    def members(self, payload: Mapping[str, Any]) -> str:
        """The members of `v2.Mint` for what `choose` makes of the payload, or its refusal."""
        stencil = self._stencils.get(_likeness(payload))
        if stencil is None:
            return self._cut(payload)
        fields = zip(stencil.fields, payload.values(), strict=True)
        members = [known[value] if value.__class__ is str else known.decide(value) for known, value in fields]
        return "".join(members) + stencil.rest

    def _cut(self, payload: Mapping[str, Any]) -> str:
        """Decide of an upload that is the first with these fields."""
        parameters = choices.choose(self._occasion, payload, self._fixed)
        members = {name: v2.member(name, text) for name, text in parameters.items()}
        if "checks" not in payload:  # the client's own are joined to those of the profile
            rest = "".join(
                [member for name, member in members.items() if name not in payload or name in self._fixed.forced]
            )
            self._stencils[_likeness(payload)] = _Stencil(tuple([self._members_of(name) for name in payload]), rest)
        return "".join(members.values())

    def _members_of(self, name: str) -> _Members:
        if name not in self._members:
            self._members[name] = _Members(partial(self._member, name))
        return self._members[name]

    def _member(self, name: str, value: object) -> str:
        text = choices.choose_one(self._occasion, name, value, self._fixed)
        return "" if text is None else v2.member(name, text)


def _likeness(payload: Mapping[str, Any]) -> tuple[object, ...]:
    """What `choose` looks at beside each value by itself: the names, and whether the file's name is kept."""
    return (*payload, payload.get("useUniqueFileName") in ("false", False))
