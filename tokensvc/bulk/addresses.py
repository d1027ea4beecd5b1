"""Where uploads go, as it is written on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Address:
    """Scheme, host, port and path of a URL."""

    scheme: str
    host: str
    port: int | None
    path: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL; ValueError says what is wrong. Plain http is for this machine: what is sent is worth stealing."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no URL such as https://uploads.app.example.")
        if parts.username or parts.query or parts.fragment:
            raise ValueError("The URL has a user name, a query or a fragment; write it without.")
        if parts.scheme == "http" and not is_this_machine(parts.hostname):
            raise ValueError(f"{url} is not encrypted, and not on this machine. Use https.")
        return cls(parts.scheme, parts.hostname, parts.port, parts.path.rstrip("/"))

    def at(self, path: str) -> Address:
        """The same server, another path."""
        return Address(self.scheme, self.host, self.port, path)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{f':{self.port}' if self.port else ''}{self.path}"


def is_this_machine(host: str) -> bool:
    """Whether this is the loopback."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
