"""For a use case of which nobody wants to know whom a request is about."""

from __future__ import annotations


def unheard(**_facts: str | None) -> None:
    """Tell nobody."""
