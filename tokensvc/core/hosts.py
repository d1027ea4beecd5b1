"""Lists of host names as an operator writes them: an exact name, or `.example` for that name and all below it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostNames:
    """Host names in lower case, without ports and brackets."""

    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Iterable[str]) -> HostNames:
        """As they are configured: in any case, IPv6 addresses in brackets."""
        return cls(tuple(name.lower().strip("[]") for name in names))

    def __contains__(self, host: object) -> bool:
        """Whether a host's name (in lower case, without port and brackets) is on the list."""
        return any(
            host == name or (name[:1] == "." and isinstance(host, str) and f".{host}".endswith(name))
            for name in self.names
        )

    def __bool__(self) -> bool:
        return bool(self.names)
