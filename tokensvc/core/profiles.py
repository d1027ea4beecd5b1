"""Profiles: the named bundles of limits that an operator writes.

A profile is checked when it is made, as far as that goes without a caller, so that a text which could never be signed
is told at the start and not to the first client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from . import constraints
from .checks import compile_checks
from .checks.media_types import MediaRange
from .errors import Code, Refusal
from .metadata import MetadataField
from .nonces import Version
from .params import CLIENT_CHOICES, PARAMETERS, unfit
from .rules import AllowAny, AllowGlob, AllowList, Rule
from .templates import Place, compile_template, fill, read_parts
from .uses import ONCE, Uses
from .window import MAX_LIFETIME_SECONDS

DEFAULT_LIFETIME_SECONDS: Final = 1800

RESERVED_NAMES: Final = frozenset({"batch", "limits"})
"""No profile has one of these: they are path segments after /auth that mean something else."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` in any `seconds`."""

    count: int
    seconds: int

    def __post_init__(self) -> None:
        if self.count < 1 or self.seconds < 1:
            raise ValueError("a rate is at least 1 in at least 1 s")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a profile limits about the file and about each subject; None and an empty tuple limit nothing.

    `types` holds MIME types (`image/png`) and ranges (`image/*`). `outstanding` counts credentials that are issued and
    not yet spent.
    """

    max_bytes: int | None = None
    types: tuple[str, ...] = ()
    rate: Rate | None = None
    per_day: int | None = None
    outstanding: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_bytes", "per_day", "outstanding"):
            value: int | None = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1")
        for text in self.types:
            MediaRange.parse(text)


def _client_choices() -> Mapping[str, Rule]:
    return {name: AllowAny() for name in PARAMETERS if name in CLIENT_CHOICES}


@dataclass(frozen=True, slots=True)
class Profile:
    """A named bundle of limits. `callers` names the sources it trusts; an empty one lets nobody in.

    `allow` says what a v2 client may choose, by parameter; `force` and `defaults` are templates of form texts, which
    are set whatever the client says, and where it says nothing. `remote` says from which URLs the own upload endpoint
    fetches a file; None is from none. `metadata` are the account's custom metadata fields, None if they are not known.
    `untracked` lets v2 credentials go without a record while the store is down.
    Raises `ValueError` with the parameter's name first.
    """

    name: str
    account: str
    callers: tuple[str, ...]
    versions: frozenset[Version] = frozenset({"v1", "v2"})
    lifetime: int = DEFAULT_LIFETIME_SECONDS
    cross_off: bool = False
    allow: Mapping[str, Rule] = field(default_factory=_client_choices)
    force: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    remote: Rule | None = None
    uses: Uses = ONCE
    metadata: Mapping[str, MetadataField] | None = None
    untracked: bool = False

    def __post_init__(self) -> None:
        if self.untracked:
            _require_suits_untracked(self.versions, self.limits)
        if not 1 <= self.lifetime <= MAX_LIFETIME_SECONDS:
            raise ValueError(f"lifetime must be from 1 to {MAX_LIFETIME_SECONDS} s")
        unknown = (self.allow.keys() | self.force.keys() | self.defaults.keys()) - PARAMETERS.keys()
        if unknown:
            raise ValueError(f"not upload parameters: {', '.join(sorted(unknown))}")
        twice = self.force.keys() & self.defaults.keys()
        if twice:
            raise ValueError(f"{min(twice)} is forced, so its default would never be used")
        for name, text in (*self.force.items(), *self.defaults.items()):
            _require_signable(name, text)
        if "folder" in self.allow:
            _require_folder_rule(self.allow["folder"])
        _require_remote_rule(self.remote)
        _require_checks(self.limits, self.force)


def _require_suits_untracked(versions: frozenset[Version], limits: Limits) -> None:
    if "v2" not in versions:
        raise ValueError("when_store_is_down is about v2, which the profile does not issue")
    counted = [name for name in ("rate", "per_day", "outstanding") if getattr(limits, name) is not None]
    if counted:  # they would end with the store, in the moment that somebody who wants more makes it silent
        raise ValueError(f"when_store_is_down lets credentials go that the store does not count: {counted[0]} is set")


def find_profile(profiles: Mapping[str, Profile], name: str) -> Profile:
    """The profile of that name, or a refusal."""
    profile = profiles.get(name)
    if profile is None:
        raise Refusal(
            Code.PROFILE_UNKNOWN,
            "There is no such profile.",
            "Use /auth for the default profile, or a name from the configuration.",
        )
    return profile


def _require_signable(name: str, text: str) -> None:
    """What is the same for everybody must be good for ImageKit; the rest is looked at once it is filled."""
    reason = unfit(text)
    if reason:
        raise ValueError(f"{name} {reason}")
    try:
        fixed = compile_template(text).fixed
    except ValueError as exc:
        raise ValueError(f"{name}: {exc}") from None
    try:
        if fixed is not None:
            constraints.require(name, fixed)
    except Refusal as refusal:
        raise ValueError(f"{name}: {refusal.detail}") from None


def _require_checks(limits: Limits, force: Mapping[str, str]) -> None:
    """What the profile checks must be an expression; any value of a caller is as good for that as another."""
    sample = {name: fill(compile_template(text), lambda _: "x") for name, text in force.items()}
    compile_checks(limits, {name: text for name, text in sample.items() if name in ("folder", "checks")})


def _require_remote_rule(rule: Rule | None) -> None:
    """What it is filled with must be known when the file is fetched, and a claim is not: the record keeps none."""
    patterns = rule.values if isinstance(rule, AllowList) else (rule.pattern,) if isinstance(rule, AllowGlob) else ()
    for pattern in patterns:
        claims = [part.name for part in read_parts(pattern) if isinstance(part, Place) and part.claim is not None]
        if claims:
            raise ValueError(
                f"file: {{{claims[0]}}} is not known when a file is fetched; there are {{subject}} and {{date}}"
            )
        if not pattern.startswith("https://"):
            raise ValueError(f"file: {pattern!r} matches no URL; begin it with https://")


def _require_folder_rule(rule: Rule) -> None:
    """A folder is compared in its normal form, so a rule for another form would never let anything in."""
    for value in rule.values if isinstance(rule, AllowList) else ():
        if not value.startswith("/") or (value.endswith("/") and value != "/") or "//" in value:
            raise ValueError(f"folder: {value!r} is not normal; write it like /a/b")
    if isinstance(rule, AllowGlob) and not rule.pattern.startswith(("/", "*")):
        raise ValueError(f"folder: {rule.pattern!r} matches no folder; begin it with /")
