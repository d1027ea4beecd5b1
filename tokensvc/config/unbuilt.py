"""Settings that are announced and not built yet: each is refused in words.

To take one for a misspelling would send people looking for the right spelling; to pass it over would let them believe
in a limit that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from .faults import Fault

_PROFILE_MEMBERS: Final = {
    "when_store_is_down": "leave it out: nothing is issued then",
}


def take_out_unbuilt(tables: dict[str, Any]) -> Iterator[Fault]:
    """Remove them from the raw tables, so that each is told once."""
    for name, profile in _items(tables, "profiles"):
        for member, remedy in _PROFILE_MEMBERS.items():
            if profile.pop(member, None) is not None:
                yield _fault(f"profiles.{name}.{member}", "", remedy)
    upload = tables.get("upload")
    plan = upload.get("plan") if isinstance(upload, dict) else None
    if isinstance(plan, dict) and plan.pop("max_video_bytes", None) is not None:
        yield _fault("upload.plan.max_video_bytes", "", "leave it out: max_bytes is for every file")


def _items(tables: dict[str, Any], name: str) -> list[tuple[str, dict[str, Any]]]:
    table = tables.get(name)
    members = table.items() if isinstance(table, dict) else ()
    return [(member, value) for member, value in members if isinstance(value, dict)]


def _fault(place: str, what: str, remedy: str) -> Fault:
    return Fault(place, f"{what} is not built yet".strip(), remedy)
