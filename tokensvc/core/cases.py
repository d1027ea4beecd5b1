"""Cases of a policy: who asks for what, and what has to come of it. Operators write them as data, beside the policy.

What a case does not name is not compared, so that a case says one thing; `without` names what must not be bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import Code, Refusal
from .grants import Grant
from .policy import AskV1, AskV2
from .rehearsal import Rehearsed
from .uses import SpendMode


@dataclass(frozen=True, slots=True)
class ExpectedGrant:
    """`lifetime` is in seconds. `parameters` are some of those that the JWT has to bind, to the letter."""

    lifetime: int | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    uses: int | None = None
    spend: SpendMode | None = None


@dataclass(frozen=True, slots=True)
class ExpectedRefusal:
    """`field` None is any."""

    code: Code
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One ask. `source` None is the first that the profile believes; `at` (Unix seconds) None is now."""

    name: str
    profile: str
    source: str | None
    subject: str
    claims: Mapping[str, str]
    ask: AskV1 | AskV2
    at: int | None
    expected: ExpectedGrant | ExpectedRefusal


def objections(expected: ExpectedGrant | ExpectedRefusal, rehearsed: Rehearsed) -> list[str]:
    """What came out otherwise than expected, a sentence each; nothing if all is as expected."""
    if isinstance(expected, ExpectedRefusal):
        if rehearsed.refusal is None:
            return [f"it is granted, and should be refused with {expected.code}"]
        return _of_refusal(expected, rehearsed.refusal)
    if rehearsed.grant is None:
        return [f"it is refused: {rehearsed.refusal}"]
    return _of_grant(expected, rehearsed.grant)


def _of_refusal(expected: ExpectedRefusal, refusal: Refusal) -> list[str]:
    if refusal.code is not expected.code:
        return [f"it is refused with {refusal.code} and not with {expected.code}: {refusal.detail}"]
    if expected.field not in (None, refusal.field):
        return [f"the refusal is about {refusal.field or 'no field'} and not about {expected.field}: {refusal.detail}"]
    return []


def _of_grant(expected: ExpectedGrant, grant: Grant) -> list[str]:
    found = []
    if expected.lifetime not in (None, grant.window.lifetime):
        found.append(f"the lifetime is {grant.window.lifetime} s and not {expected.lifetime} s")
    if expected.uses not in (None, grant.uses.count):
        found.append(f"uses is {grant.uses.count} and not {expected.uses}")
    if expected.spend not in (None, grant.uses.spend):
        found.append(f"a use is spent {grant.uses.spend} and not {expected.spend}")
    for name, text in expected.parameters.items():
        bound = grant.parameters.get(name)
        if bound != text:
            found.append(f"{name} is {'not bound' if bound is None else repr(bound)}, and should be {text!r}")
    found += [
        f"{name} is {grant.parameters[name]!r}, and should not be bound"
        for name in expected.without
        if name in grant.parameters
    ]
    return found
