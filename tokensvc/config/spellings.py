"""How single values are written: sizes, origins, host names, keys, addresses of nonce stores.

Each refuses what would be accepted and never work: an origin with its default port is not what a browser sends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

from tokensvc.core.addresses import Peers
from tokensvc.core.keys import private_key_faults, public_key_faults
from tokensvc.core.plans import PLANS
from tokensvc.core.profiles import Rate
from tokensvc.core.quotas import LONGEST_WINDOW_SECONDS, MOST_COUNTED
from tokensvc.core.rules import compile_rule

STORE_SCHEMES: Final = (
    *("redis", "rediss", "unix"),
    *("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"),
)

SIZE_PATTERN: Final = r"([1-9][0-9]{0,15}) ?(B|kB|KB|MB|GB)"

_SIZE: Final = re.compile(SIZE_PATTERN, re.ASCII)
_UNITS: Final = {"B": 1, "kB": 1_000, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}
_ORIGIN: Final = re.compile(r"(https?)://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?")
_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/(?:(second|minute|hour|day)|([1-9][0-9]{0,8}) ?s)", re.ASCII)
_PERIODS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_HOST: Final = re.compile(r"\.?[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\]")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_MAX_PORT: Final = 65_535


def fault(kind: str, sentence: str) -> PydanticCustomError:
    """A fault of the configuration, in a sentence of ours; the place is put before it."""
    return PydanticCustomError(kind, "{sentence}", {"sentence": sentence})


def _size(value: object) -> object:
    if type(value) is int and value > 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise fault("size", 'must be a number of bytes above 0, or a text such as "25MB" (units: B, kB, MB, GB)')
    return int(match[1]) * _UNITS[match[2]]


def _origin(value: object) -> object:
    match = _ORIGIN.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[2] or 1) > _MAX_PORT:
        raise fault(
            "origin", 'must be an exact origin such as "https://app.example": lower case, no path, no * and no blanks'
        )
    if match[2] == _DEFAULT_PORTS[match[1]]:
        raise fault("origin", f"must not name port {match[2]}: browsers leave out the default port of {match[1]}")
    return value


def _host(value: object) -> object:
    if not isinstance(value, str) or not _HOST.fullmatch(value):
        raise fault(
            "host", 'must be a host name such as "uploads.example", or ".example" with all below: no scheme, no port'
        )
    return value


def _matching(pattern: str, sentence: str) -> BeforeValidator:
    """For texts of that pattern."""

    def check(value: object) -> object:
        if isinstance(value, str) and not re.fullmatch(pattern, value, re.ASCII):
            raise fault("pattern", sentence)
        return value

    return BeforeValidator(check)


def _key(faults_of: Callable[[str], list[str]], name: str) -> Callable[[object], object]:
    def check(value: object) -> object:
        if isinstance(value, str) and (faults := faults_of(value)):
            raise fault("key", f"the {name} key {'; it '.join(faults)}")
        return value

    return check


def _network(value: object) -> object:
    if isinstance(value, str):
        try:
            Peers.parse([value])
        except ValueError as exc:
            raise fault("network", str(exc)) from None
    return value


def _pem(value: object) -> object:
    if isinstance(value, str) and ("-----BEGIN" not in value or "PRIVATE KEY" in value):
        raise fault("pem", "must be a public key in PEM: text that begins with -----BEGIN PUBLIC KEY-----")
    return value


def _rule(value: object) -> object:
    if value is False:
        raise fault("allow", "must not be false; leave the parameter out to refuse it")
    try:
        compile_rule(value)
    except ValueError as exc:
        raise fault("allow", str(exc)) from None
    return value


def _rate(value: object) -> object:
    if isinstance(value, str):
        parse_rate(value)
    return value


def parse_rate(text: str) -> Rate:
    """Read `60/minute` or `5/10s`."""
    match = _RATE.fullmatch(text)
    if match is None:
        raise fault("rate", 'must be like "60/minute": a number, and second, minute, hour, day, or seconds as "10s"')
    rate = Rate(int(match[1]), _PERIODS[match[2]] if match[2] else int(match[3]))
    if rate.count > MOST_COUNTED or rate.seconds > LONGEST_WINDOW_SECONDS:
        raise fault("rate", f"must be at most {MOST_COUNTED}, in at most {LONGEST_WINDOW_SECONDS} s")
    return rate


def _redis_url(value: object) -> object:
    """The address is never quoted: it has a password in it, and if it is malformed, anywhere in it."""
    scheme = value.partition("://")[0] if isinstance(value, str) and "://" in value else ""
    if scheme not in STORE_SCHEMES:
        raise fault("redis_url", f"must start with {', '.join(f'{known}://' for known in STORE_SCHEMES)}")
    return value


def _absolute(value: object) -> object:
    if not isinstance(value, str) or not value.startswith("/") or value.endswith("/") or "\0" in value:
        raise fault("path", 'must be an absolute path of a file, such as "/var/log/tokensvc/audit.jsonl"')
    return Path(value)


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

MetadataName = Annotated[
    str,
    _matching(r"[^\s.](.{0,62}[^\s.])?", "the name must have 1 to 64 characters, with no blank or dot at either end"),
]
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
AllowSpec = Annotated[bool | str | list[str] | dict[str, str | int], BeforeValidator(_rule)]
"""`true`, a glob, a list, or a table with `regex` or `max_length`."""

MediaType = Annotated[
    str, _matching(r"[a-z]+/(\*|[a-z0-9][a-z0-9.+-]*)|\*/\*", 'must be a MIME type in lower case, such as "image/*"')
]
PlanName = Annotated[str, _matching("|".join(map(re.escape, PLANS)), f"must be one of: {', '.join(PLANS)}")]
RateText = Annotated[str, BeforeValidator(_rate)]
Network = Annotated[str, BeforeValidator(_network)]
Pem = Annotated[str, BeforeValidator(_pem)]
HeaderName = Annotated[
    str, _matching(r"[A-Za-z][A-Za-z0-9-]{0,63}", "must be the name of a header: letters, digits, -")
]
KeySetUrl = Annotated[
    str,
    _matching(
        r"https://[^\s#@]+|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?(/[^\s#]*)?",
        "must start with https://; http:// is for this machine only",
    ),
]
Subject = Annotated[
    str, _matching(r"[^\s](.{0,126}[^\s])?", "must have 1 to 128 characters, with no blank at either end")
]
RedisUrl = Annotated[SecretStr, BeforeValidator(_redis_url)]
AbsolutePath = Annotated[Path, BeforeValidator(_absolute)]
