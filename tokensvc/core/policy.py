"""The decision that turns an ask into a grant.

The server decides. A client's own `expire` or `token` is honoured exactly or refused, never changed silently, and a
parameter that the profile does not let it choose is refused by name. What the profile forces is set whatever the
client says; that is no change in silence, for the profile's word was never the client's to give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from . import choices, strict_json, v1
from .callers import Caller
from .checks import Restrictions
from .errors import Code, Refusal
from .grants import Grant
from .nonces import Version
from .profiles import Profile
from .uses import ONCE
from .window import Window, choose_window, parse_expire, parse_lifetime


@dataclass(frozen=True, slots=True)
class AskV1:
    """A request for a v1 credential: the query's texts as they came, or None."""

    version: ClassVar[Version] = "v1"
    token: str | None = None
    expire: str | None = None
    public_key: str | None = None


@dataclass(frozen=True, slots=True)
class AskV2:
    """A request for a v2 credential: the JSON members as they came."""

    version: ClassVar[Version] = "v2"
    payload: Mapping[str, Any]
    expire: object = None
    public_key: object = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What is decided of a caller before it says what is to be bound: the same for all of a batch."""

    occasion: choices.Occasion
    version: Version
    window: Window
    restrictions: Restrictions
    fixed: choices.Fixed | None
    """None for v1, which binds nothing."""


def decide(profile: Profile, caller: Caller, ask: AskV1 | AskV2, now: int, *, trace: list[str] | None = None) -> Grant:
    """Return what `caller` is granted under `profile` at `now` (Unix seconds), or raise a refusal that names the rule.

    `trace` is given one line for each rule that was applied, in words; a refusal ends it.
    """
    return grant(terms_of(profile, caller, ask, now, trace), ask)


def terms_of(profile: Profile, caller: Caller, ask: AskV1 | AskV2, now: int, trace: list[str] | None = None) -> Terms:
    """The first half of `decide`, which is the same for all asks with this `expire`."""
    occasion = choices.Occasion(profile, caller, now, trace)
    version = ask.version
    require_admitted(profile, caller)
    _require_version(profile, version)
    occasion.note(lambda: f"caller: {caller.subject!r} of {caller.source} may have {version} of profile {profile.name}")
    window = _window_v1(profile, ask, now) if isinstance(ask, AskV1) else _window_v2(profile, ask, now)
    by_whom = f"by profile {profile.name}" if ask.expire is None else f"as asked; at most {profile.lifetime} s"
    occasion.note(lambda: f"lifetime: {window.lifetime} s, {by_whom}")
    forced = choices.filled(occasion, profile.force)
    restrictions = Restrictions(profile.limits.max_bytes, profile.limits.types, forced)
    return Terms(occasion, version, window, restrictions, choices.fixed(occasion, forced) if version == "v2" else None)


def grant(terms: Terms, ask: AskV1 | AskV2) -> Grant:
    """The second half: what follows from what is asked for one credential."""
    if isinstance(ask, AskV2):
        return grant_of(terms, None, parameters_of(terms, ask))
    token = token_of(ask)
    if terms.occasion.notes is not None:
        forced = terms.restrictions.forced.items()
        terms.occasion.notes.extend(
            f"{name}: forced to {text!r}, at the own upload endpoint only" for name, text in forced
        )
    return grant_of(terms, token)


def token_of(ask: AskV1) -> str | None:
    """The token that the client chose, if it did; a refusal of one that cannot be."""
    if ask.token is not None:
        v1.require_token(ask.token)
    return ask.token


def parameters_of(terms: Terms, ask: AskV2) -> dict[str, str]:
    """The parameters that a v2 credential binds for what is asked, or a refusal."""
    if terms.fixed is None:
        raise ValueError("A v1 credential has no parameters.")
    return choices.choose(terms.occasion, ask.payload, terms.fixed)


def grant_of(terms: Terms, token: str | None = None, parameters: Mapping[str, str] | None = None) -> Grant:
    """What is granted on these terms, with a v1 token or with parameters that were chosen on their occasion."""
    occasion, profile, caller = terms.occasion, terms.occasion.profile, terms.occasion.caller
    if profile.uses != ONCE:
        uses = profile.uses
        occasion.note(lambda: f"uses: {uses.count}, each spent {uses.spend}, where this service is asked")
    return Grant(
        terms.version,
        profile.account,
        profile.name,
        caller.source,
        caller.subject,
        terms.window,
        token,
        parameters or {},
        terms.restrictions,
        profile.uses,
    )


def require_admitted(profile: Profile, caller: Caller) -> None:
    """Raise a refusal unless the profile believes the caller's source, and the caller may fetch credentials."""
    if caller.source not in profile.callers:
        raise Refusal(
            Code.CALLER_FORBIDDEN,
            f"Profile {profile.name} does not issue to callers of {caller.source}.",
            "Use another profile, or name the source in the profile's callers.",
        )
    if "issue" not in caller.may:
        raise Refusal(Code.CALLER_FORBIDDEN, "This caller may not fetch credentials.", 'Add "issue" to its may list.')


def _require_version(profile: Profile, version: Version) -> None:
    if version not in profile.versions:
        raise Refusal(
            Code.VERSION_FORBIDDEN,
            f"Profile {profile.name} does not issue {version} credentials.",
            f"Ask for {' or '.join(sorted(profile.versions))}: GET fetches v1, POST v2.",
        )


def _window_v1(profile: Profile, ask: AskV1, now: int) -> Window:
    asked = None if ask.expire is None else parse_expire(ask.expire, now)
    return choose_window(now, lifetime=profile.lifetime, asked_expires_at=asked)


def _window_v2(profile: Profile, ask: AskV2, now: int) -> Window:
    if ask.expire is None:
        return choose_window(now, lifetime=profile.lifetime)
    seconds = strict_json.whole(ask.expire)
    if seconds is None:
        raise Refusal(
            Code.EXPIRE_INVALID,
            f"expire is {strict_json.type_names[type(ask.expire)]}; it must be a whole number of seconds.",
            f"Send a number from 1 to {profile.lifetime}, or leave expire out.",
            field="expire",
        )
    return choose_window(now, lifetime=parse_lifetime(seconds, at_most=profile.lifetime))
