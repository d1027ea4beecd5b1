"""What a configuration may well mean, and often does not: warnings. Nothing here keeps the service from starting.

The first of them is easily forgotten: a v1 credential binds nothing but its time, so what a profile says of parameters
holds for v2 alone, and for v1 at the own upload endpoint only as far as it is forced.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tokensvc.core import profiles as core
from tokensvc.core.rules import AllowAny

from .faults import Fault
from .settings import Settings
from .sources import AnonymousSource

LONGEST_LIFETIME_AT_IMAGEKIT: Final = 3540
"""Seconds. It wants less than an hour, by its own clock; a minute is for the difference between the two."""


def cautions(settings: Settings) -> list[Fault]:
    """Every warning, in the order of the profiles."""
    anonymous = {name for name, source in settings.callers.items() if isinstance(source, AnonymousSource)}
    return [
        caution
        for name, table in settings.profiles.items()
        for caution in (
            *_of_profile(f"profiles.{name}", table.build(name), anonymous),
            *_untracked(f"profiles.{name}", table.build(name), settings),
        )
    ]


def _of_profile(place: str, profile: core.Profile, anonymous: set[str]) -> Iterator[Fault]:
    yield from _unbound(place, profile)
    yield from _anonymous(place, profile, anonymous)
    if profile.uses.count > 1:
        what = f"is {profile.uses.count}, and ImageKit itself takes each credential once, whatever is said here"
        yield Fault(f"{place}.uses", what, "use the profile for the own upload endpoint and /redeem, or leave uses out")
    if profile.lifetime > LONGEST_LIFETIME_AT_IMAGEKIT:
        what = "is so close to an hour that ImageKit refuses the credential if its clock is behind"
        yield Fault(f"{place}.lifetime", what, f"set {LONGEST_LIFETIME_AT_IMAGEKIT} or less")


def _untracked(place: str, profile: core.Profile, settings: Settings) -> Iterator[Fault]:
    if not profile.untracked:
        return
    crossed_off = any(
        other.account == profile.account and other.unissued == "cross-off" for other in settings.profiles.values()
    )
    here = "" if crossed_off or not settings.upload.enabled else ", and are refused by the own upload endpoint"
    what = f"lets credentials go without a record while the store is down; they cannot be revoked{here}"
    yield Fault(f"{place}.when_store_is_down", what, "leave it out unless uploads go to ImageKit itself")


def _unbound(place: str, profile: core.Profile) -> Iterator[Fault]:
    """Rules that a client gets round by asking for v1."""
    if "v1" not in profile.versions:
        return
    said = [name for name, rule in profile.allow.items() if not isinstance(rule, AllowAny)]
    said += [name for name in profile.force if name not in said]
    said += [name for name in ("max_bytes", "types") if getattr(profile.limits, name)]
    if said:
        what = f"has v1, which binds nothing: what the profile says of {', '.join(said)} does not hold at ImageKit"
        yield Fault(f"{place}.versions", what, 'set versions = ["v2"]')


def _anonymous(place: str, profile: core.Profile, anonymous: set[str]) -> Iterator[Fault]:
    number = next((number for number, name in enumerate(profile.callers) if name in anonymous), None)
    if number is None:
        return
    if behind := profile.callers[number + 1 :]:
        what = f"lets everybody in without a name, so {', '.join(behind)} behind it will never be asked"
        yield Fault(f"{place}.callers[{number}]", what, "put it last")
    if profile.limits.rate is None and profile.limits.per_day is None:
        what = "lets everybody in, and nothing limits how many credentials an address may have"
        yield Fault(f"{place}.limits", what, 'set rate = "60/minute" or the like')
