"""What a caller may have: profiles, and the decision that turns an ask into a grant.

The server decides. A client's own `expire` or `token` is honoured exactly or refused, never changed silently, and a
parameter that the profile does not let it choose is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from . import strict_json, v1
from .callers import Caller
from .errors import Code, Refusal
from .nonces import Version
from .params import CLAIMED_BY_US, CLIENT_CHOICES, ENVELOPE, PARAMETERS, as_text
from .profiles import Limits
from .window import MAX_LIFETIME_SECONDS, Window, choose_window, parse_expire, parse_lifetime

DEFAULT_LIFETIME_SECONDS: Final = 1800


@dataclass(frozen=True, slots=True)
class Profile:
    """A named bundle of limits. `callers` names the sources it trusts; an empty one lets nobody in."""

    name: str
    account: str
    callers: tuple[str, ...]
    versions: frozenset[Version] = frozenset({"v1", "v2"})
    lifetime: int = DEFAULT_LIFETIME_SECONDS
    cross_off: bool = False
    allow: frozenset[str] = CLIENT_CHOICES
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 1 <= self.lifetime <= MAX_LIFETIME_SECONDS:
            raise ValueError(f"lifetime must be from 1 to {MAX_LIFETIME_SECONDS} s")
        if self.allow - PARAMETERS.keys():
            raise ValueError(f"not upload parameters: {', '.join(sorted(self.allow - PARAMETERS.keys()))}")


@dataclass(frozen=True, slots=True)
class AskV1:
    """A request for a v1 credential: the query's texts as they came, or None."""

    token: str | None = None
    expire: str | None = None
    public_key: str | None = None


@dataclass(frozen=True, slots=True)
class AskV2:
    """A request for a v2 credential: the JSON members as they came."""

    payload: Mapping[str, Any]
    expire: object = None
    public_key: object = None


@dataclass(frozen=True, slots=True)
class Grant:
    """What was decided this once. `parameters` are the form texts that a v2 credential binds; v1 binds none."""

    version: Version
    account: str
    profile: str
    source: str
    subject: str
    window: Window
    token: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)

    def to_text(self) -> str:
        """The part that the record keeps: who was granted what by which profile."""
        return strict_json.dumps(
            {
                "profile": self.profile,
                "source": self.source,
                "subject": self.subject,
                "issued_at": self.window.issued_at,
            }
        ).decode()


def decide(profile: Profile, caller: Caller, ask: AskV1 | AskV2, now: int) -> Grant:
    """Return what `caller` is granted under `profile`, or raise a refusal that names the rule."""
    version: Version = "v1" if isinstance(ask, AskV1) else "v2"
    if caller.source not in profile.callers:
        raise Refusal(
            Code.CALLER_FORBIDDEN,
            f"Profile {profile.name} does not issue to callers of {caller.source}.",
            "Use another profile, or name the source in the profile's callers.",
        )
    if "issue" not in caller.may:
        raise Refusal(Code.CALLER_FORBIDDEN, "This caller may not fetch credentials.", 'Add "issue" to its may list.')
    if version not in profile.versions:
        raise Refusal(
            Code.VERSION_FORBIDDEN,
            f"Profile {profile.name} does not issue {version} credentials.",
            f"Ask for {' or '.join(sorted(profile.versions))}: GET fetches v1, POST v2.",
        )
    token: str | None = None
    parameters: Mapping[str, str] = {}
    if isinstance(ask, AskV1):
        token, window = ask.token, _window_v1(profile, ask, now)
        if token is not None:
            v1.require_token(token)
    else:
        window, parameters = _window_v2(profile, ask, now), _parameters(profile, ask.payload)
    return Grant(version, profile.account, profile.name, caller.source, caller.subject, window, token, parameters)


def _window_v1(profile: Profile, ask: AskV1, now: int) -> Window:
    asked = None if ask.expire is None else parse_expire(ask.expire, now)
    return choose_window(now, lifetime=profile.lifetime, asked_expires_at=asked)


def _window_v2(profile: Profile, ask: AskV2, now: int) -> Window:
    if ask.expire is None:
        return choose_window(now, lifetime=profile.lifetime)
    if type(ask.expire) is not int:
        raise Refusal(
            Code.EXPIRE_INVALID,
            f"expire is {strict_json.type_names[type(ask.expire)]}; it must be a whole number of seconds.",
            f"Send a number from 1 to {profile.lifetime}, or leave expire out.",
            field="expire",
        )
    return choose_window(now, lifetime=parse_lifetime(ask.expire, at_most=profile.lifetime))


def _parameters(profile: Profile, payload: Mapping[str, Any]) -> Mapping[str, str]:
    parameters = {}
    for name, value in payload.items():
        if name in CLAIMED_BY_US | ENVELOPE:
            raise Refusal(
                Code.PARAMETER_INVALID,
                f"uploadPayload holds {name}, which is not a parameter of the upload.",
                f"Leave {name} out of uploadPayload.",
                field=name,
            )
        if name not in PARAMETERS:
            raise Refusal(
                Code.PARAMETER_INVALID,
                f"{name[:64]!r} is not an upload parameter.",
                "Leave it out; names are case-sensitive.",
                field="uploadPayload",
            )
        if name not in profile.allow:
            raise Refusal(
                Code.PARAMETER_FORBIDDEN,
                f"Profile {profile.name} does not let clients choose {name}.",
                f"Leave {name} out, or allow it in the profile.",
                field=name,
            )
        parameters[name] = as_text(name, value)
    return parameters
