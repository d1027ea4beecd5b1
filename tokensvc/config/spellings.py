"""How single values are written: sizes, origins, host names, keys, addresses of stores.

Each refuses what would be accepted and never work: an origin with its default port is not what a browser sends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

from tokensvc.core.keys import private_key_faults, public_key_faults

STORE_SCHEMES: Final = ("redis", "rediss", "unix")

_SIZE: Final = re.compile(r"([1-9][0-9]{0,15}) ?(B|kB|KB|MB|GB)", re.ASCII)
_UNITS: Final = {"B": 1, "kB": 1_000, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}
_ORIGIN: Final = re.compile(r"(https?)://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?")
_HOST: Final = re.compile(r"\.?[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\]")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_MAX_PORT: Final = 65_535
_STORES_NOT_BUILT: Final = ("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")


def _fault(kind: str, sentence: str) -> PydanticCustomError:
    return PydanticCustomError(kind, "{sentence}", {"sentence": sentence})


def _size(value: object) -> object:
    if type(value) is int and value > 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _fault("size", 'must be a number of bytes above 0, or a text such as "25MB" (units: B, kB, MB, GB)')
    return int(match[1]) * _UNITS[match[2]]


def _origin(value: object) -> object:
    match = _ORIGIN.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[2] or 1) > _MAX_PORT:
        raise _fault(
            "origin", 'must be an exact origin such as "https://app.example": lower case, no path, no * and no blanks'
        )
    if match[2] == _DEFAULT_PORTS[match[1]]:
        raise _fault("origin", f"must not name port {match[2]}: browsers leave out the default port of {match[1]}")
    return value


def _host(value: object) -> object:
    if not isinstance(value, str) or not _HOST.fullmatch(value):
        raise _fault(
            "host", 'must be a host name such as "uploads.example", or ".example" with all below: no scheme, no port'
        )
    return value


def _matching(pattern: str, sentence: str) -> BeforeValidator:
    """For texts of that pattern."""

    def check(value: object) -> object:
        if isinstance(value, str) and not re.fullmatch(pattern, value, re.ASCII):
            raise _fault("pattern", sentence)
        return value

    return BeforeValidator(check)


def _key(faults_of: Callable[[str], list[str]], name: str) -> Callable[[object], object]:
    def check(value: object) -> object:
        if isinstance(value, str) and (faults := faults_of(value)):
            raise _fault("key", f"the {name} key {'; it '.join(faults)}")
        return value

    return check


def _true(value: object) -> object:
    if value is not True:
        raise _fault("allow", "must be true; leave the parameter out to refuse it")
    return value


def _redis_url(value: object) -> object:
    """The address is never quoted: it has a password in it, and if it is malformed, anywhere in it."""
    scheme = value.partition("://")[0] if isinstance(value, str) and "://" in value else ""
    if scheme in _STORES_NOT_BUILT:
        raise _fault("redis_url", f"{scheme}:// is not built yet; use redis://, rediss:// or unix://")
    if scheme not in STORE_SCHEMES:
        raise _fault("redis_url", "must start with redis://, rediss:// or unix://")
    return value


def _folder(value: object) -> object:
    """`file:///a%20b` as the path `/a b`."""
    if not isinstance(value, str):
        raise _fault("store", 'must be a text such as "file:///var/lib/tokensvc/files"')
    if value.startswith("s3://"):
        raise _fault("store", "s3:// is not built yet; use file:// and an absolute path")
    parts = urlsplit(value)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc or not path.startswith("/") or "\0" in path:
        raise _fault("store", "must be file:// and an absolute path, so three slashes: file:///var/lib/tokensvc/files")
    if parts.query or parts.fragment:
        raise _fault("store", "must not have ? or #; in a path write them as %3F and %23")
    return Path(path)


Bytes = Annotated[int, BeforeValidator(_size)]
"""A number of bytes, or a text such as "25MB"; units are decimal."""

Origin = Annotated[str, BeforeValidator(_origin)]
HostName = Annotated[str, BeforeValidator(_host)]
Name = Annotated[
    str,
    _matching(
        r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}",
        "the name must have 1 to 64 letters, digits, - and _, the first a letter or digit",
    ),
]
"""What an operator calls a table."""

KeyId = Annotated[str, _matching(r"[A-Za-z0-9_.-]{1,64}", "must have 1 to 64 letters, digits, _, . and -")]
Sha256 = Annotated[
    str, _matching(r"[0-9a-f]{64}", "must be 64 hex digits in lower case, as `tokensvc keys new` prints them")
]
Url = Annotated[
    str,
    _matching(r"|https?://[^\s/?#]+(/[^\s?#]*)?", "must start with https:// or http://, and have no blanks, ? or #"),
]
Address = Annotated[
    str, _matching(r"|https?://[^\s/?#]+", 'must be like "https://uploads.example": no path, not even a / at the end')
]

PublicKey = Annotated[str, BeforeValidator(_key(public_key_faults, "public"))]
PrivateKey = Annotated[SecretStr, BeforeValidator(_key(private_key_faults, "private"))]
Allowed = Annotated[bool, BeforeValidator(_true)]
RedisUrl = Annotated[SecretStr, BeforeValidator(_redis_url)]
Folder = Annotated[Path, BeforeValidator(_folder)]
"""A folder of this machine, written as `file:///path`."""
