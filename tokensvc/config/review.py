"""What `tokensvc doctor` has to say of the configuration, beyond the warnings that every start tells.

Mostly of what is right today and was right for somebody else: a local origin in production, a key that nobody retired.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from tokensvc.core.doctor import Finding, Level

from .cautions import cautions
from .settings import Settings


def review(settings: Settings, now: int) -> list[Finding]:
    """Every finding; `now` is Unix seconds."""
    return [
        *(Finding(Level.WARNING, fault.place, fault.what, fault.remedy) for fault in cautions(settings)),
        *_minting(settings),
        *_origins(settings),
        *_keys(settings, now),
        *_sizes(settings),
    ]


def _minting(settings: Settings) -> Iterator[Finding]:
    public = [name for name, profile in settings.profiles.items() if profile.public]
    for name in public:
        what = "everybody who reaches the service may fetch credentials of this profile"
        yield Finding(Level.WARNING, f"profiles.{name}.public", what, "leave it so only if that is meant")
    if not public:
        yield Finding(Level.FINE, "profiles", "no profile issues to everybody")


def _origins(settings: Settings) -> Iterator[Finding]:
    found = False
    for number, origin in enumerate(settings.cors.origins):
        place, parts = f"cors.origins[{number}]", urlsplit(origin)
        if _is_local(parts.hostname or ""):
            found = True
            what = f"any program on a visitor's machine can serve pages as {origin}"
            yield Finding(Level.WARNING, place, what, "remove it in production")
        elif parts.scheme == "http":
            found = True
            what = f"{origin} is not encrypted: whoever is on its way can be that page"
            yield Finding(Level.WARNING, place, what, "use https")
    if not found:
        yield Finding(Level.FINE, "cors.origins", f"lists {len(settings.cors.origins)} exact origins")


def _keys(settings: Settings, now: int) -> Iterator[Finding]:
    for name, account in settings.accounts.items():
        found = False
        for number, key in enumerate(account.keys):
            place = f"accounts.{name}.keys[{number}].accept_until"
            if key.public_key == account.active:
                continue
            if key.accept_until is None:
                found = True
                what = f"{key.public_key} does not sign any more, and is accepted for ever"
                yield Finding(Level.WARNING, place, what, "set it to an hour after the change, or remove the pair")
            elif key.accept_until.timestamp() <= now:
                found = True
                what = f"{key.public_key} is not accepted any more"
                yield Finding(Level.WARNING, place, what, "remove the pair, and its private key's file")
        if not found:
            yield Finding(Level.FINE, f"accounts.{name}.keys", f"{len(account.keys)} of the right shape")


def _sizes(settings: Settings) -> Iterator[Finding]:
    most = settings.upload.plan.most_video_bytes
    above = [
        name
        for name, profile in settings.profiles.items()
        if settings.upload.enabled and (profile.limits.max_bytes or 0) > most
    ]
    for name in above:
        what = f"lets files through that the upload endpoint refuses: it takes {most} bytes"
        remedy = "raise upload.plan.max_bytes, or lower this"
        yield Finding(Level.WARNING, f"profiles.{name}.limits.max_bytes", what, remedy)
    if not above:
        yield Finding(Level.FINE, "upload.plan.max_bytes", "is at least what the profiles let through")


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
