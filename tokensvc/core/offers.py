"""What a caller may ask of a profile, said before it asks, so that a page can tell its user before an upload.

It is the profile's word and no promise: what is left of a quota changes, and every ask is decided anew. Texts with
places are filled for this caller; a choice that only a caller with other claims could make is not offered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from . import choices, policy
from .callers import Caller
from .errors import Refusal
from .nonces import Version
from .params import PARAMETERS
from .profiles import Limits, Profile
from .rules import AllowAny, AllowGlob, AllowList, Rule
from .templates import Values, compile_template, fill, read_parts, values_for
from .uses import Uses

FILE: Final = "file"
FREE: Final = "free"
"""Of a choice: any value that ImageKit takes."""


@dataclass(frozen=True, slots=True)
class ParameterOffer:
    """One upload parameter: the text that is set whatever the client says, and the one where it says nothing.

    `choose` is what the client may say: `FREE`, a list of values, or a rule in words; None leaves it no choice.
    """

    forced: str | None = None
    choose: str | tuple[str, ...] | None = None
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """What a caller may ask for. `lifetime` is in seconds, at most.

    `parameters` are those of a v2 upload; and `file`, if the own upload endpoint also takes a URL.
    """

    profile: str
    versions: tuple[Version, ...]
    lifetime: int
    limits: Limits
    uses: Uses
    parameters: Mapping[str, ParameterOffer] = field(default_factory=dict)


def offer_of(profile: Profile, caller: Caller, now: int) -> Offer:
    """What `profile` offers `caller` at `now` (Unix seconds), or the refusal that every ask would get."""
    policy.require_admitted(profile, caller)
    occasion = choices.Occasion(profile, caller, now)
    forced = choices.filled(occasion, profile.force)
    issues_v2 = "v2" in profile.versions  # a v1 credential binds nothing, so there is nothing to choose
    defaults = choices.filled(occasion, profile.defaults) if issues_v2 else {}
    chosen = {
        name: choice
        for name, rule in (profile.allow.items() if issues_v2 else ())
        if (name not in forced or name == "checks")
        and (choice := _choice(rule, values_for(caller, now, name))) is not None
    }
    remote = None if profile.remote is None else _choice(profile.remote, values_for(caller, now, FILE))
    fetched = {} if remote is None else {FILE: ParameterOffer(choose=remote)}
    return Offer(
        profile.name,
        tuple(sorted(profile.versions)),
        profile.lifetime,
        profile.limits,
        profile.uses,
        {
            name: ParameterOffer(forced.get(name), chosen.get(name), defaults.get(name))
            for name in PARAMETERS
            if name in forced.keys() | chosen.keys() | defaults.keys()
        }
        | fetched,
    )


def _choice(rule: Rule, values: Values) -> str | tuple[str, ...] | None:
    match rule:
        case AllowAny():
            return FREE
        case AllowList():
            texts = (_filled_or_none(text, values) for text in rule.values)
            return tuple(text for text in texts if text is not None) or None
        case AllowGlob():
            pattern = _pattern_or_none(rule.pattern, values)
            return None if pattern is None else f"like {pattern}"
    return str(rule)


def _filled_or_none(text: str, values: Values) -> str | None:
    try:
        return fill(compile_template(text), values)
    except Refusal:
        return None


def _pattern_or_none(pattern: str, values: Values) -> str | None:
    try:  # not as a template: a place may stand where only a glob lets it
        return "".join(part if isinstance(part, str) else values(part) for part in read_parts(pattern))
    except Refusal:
        return None
