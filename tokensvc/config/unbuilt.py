"""Settings that are announced and not built yet: each is refused in words.

To take one for a misspelling would send people looking for the right spelling; to pass it over would let them believe
in a limit that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from .faults import Fault

_KINDS: Final = ("session", "bearer", "ticket", "forwarded", "anonymous")
_PROFILE_MEMBERS: Final = {
    "uses": "leave it out: each credential is good for one upload",
    "spend": "leave it out: a credential is spent by the first attempt with it",
    "when_store_is_down": "leave it out: nothing is issued then",
    "force": "leave it out; let the back end that fetches credentials decide",
    "defaults": "leave it out; let the back end that fetches credentials decide",
    "limits": "leave it out; for the size of a file there is [upload.plan] max_bytes",
}


def take_out_unbuilt(tables: dict[str, Any]) -> Iterator[Fault]:
    """Remove them from the raw tables, so that each is told once."""
    for name, caller in _items(tables, "callers"):
        if caller.get("kind") in _KINDS:
            del tables["callers"][name]
            yield _fault(f"callers.{name}.kind", f'"{caller["kind"]}"', 'use kind = "api_key"')
    for name, profile in _items(tables, "profiles"):
        for member, remedy in _PROFILE_MEMBERS.items():
            if profile.pop(member, None) is not None:
                yield _fault(f"profiles.{name}.{member}", "", remedy)
        yield from _take_out_choices(f"profiles.{name}.allow", profile.get("allow"))
    upload = tables.get("upload")
    plan = upload.get("plan") if isinstance(upload, dict) else None
    if isinstance(plan, dict) and plan.pop("max_video_bytes", None) is not None:
        yield _fault("upload.plan.max_video_bytes", "", "leave it out: max_bytes is for every file")


def _take_out_choices(place: str, allow: object) -> Iterator[Fault]:
    if not isinstance(allow, dict):
        return
    for parameter, value in list(allow.items()):
        if isinstance(value, str | list | dict):
            del allow[parameter]
            yield _fault(f"{place}.{parameter}", "to allow some values only", "write true, or leave it out")


def _items(tables: dict[str, Any], name: str) -> list[tuple[str, dict[str, Any]]]:
    table = tables.get(name)
    members = table.items() if isinstance(table, dict) else ()
    return [(member, value) for member, value in members if isinstance(value, dict)]


def _fault(place: str, what: str, remedy: str) -> Fault:
    return Fault(place, f"{what} is not built yet".strip(), remedy)
