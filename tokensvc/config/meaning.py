"""What is missing, and names that refer to nothing or to two things.

Looks at the raw tables, so that these faults are told along with those of single values; so nothing here may rely on
a type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tokensvc.core.keys import public_key_faults
from tokensvc.core.params import PARAMETERS
from tokensvc.core.profiles import RESERVED_NAMES

from .faults import Fault
from .openings import faults_of_reach, faults_of_secrets
from .reading import Written

_PROFILE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def faults_in_meaning(written: Written, *, demo: bool) -> Iterator[Fault]:
    """All of them, in the order of the documentation."""
    tables = written.tables
    if written.file_was_read:
        yield from _missing(tables)
    accounts, callers = _table(tables.get("accounts")), _table(tables.get("callers"))
    yield from _keys(accounts)
    yield from _api_keys(callers)
    for name, caller in callers.items():
        if _table(caller).get("kind") == "demo" and not demo:
            yield Fault(f"callers.{name}.kind", "the demo sign-in lets anybody in", "use it with `tokensvc dev` only")
    yield from faults_of_secrets(written)
    for name, profile in _table(tables.get("profiles")).items():
        yield from _profile(name, _table(profile), accounts, callers)
        yield from faults_of_reach(name, _table(profile), callers)


def _missing(tables: Mapping[str, Any]) -> Iterator[Fault]:
    if not tables.get("accounts"):
        yield Fault(
            "accounts",
            "no ImageKit account is configured",
            "set IMAGEKIT_PUBLIC_KEY and IMAGEKIT_PRIVATE_KEY, or [accounts.default] in tokensvc.toml",
        )
    if not tables.get("callers"):
        yield Fault(
            "callers",
            "nobody may fetch credentials",
            'make a key with `tokensvc keys new` and put what it prints under [callers.backend], kind = "api_key"',
        )
    if not tables.get("profiles"):
        yield Fault("profiles", "there is no profile", 'add [profiles.default] with callers = ["backend"]')


def _keys(accounts: Mapping[str, Any]) -> Iterator[Fault]:
    seen: set[str] = set()
    for name, account in accounts.items():
        keys = [_table(key) for key in _list(_table(account).get("keys"))]
        names = [key.get("public_key") for key in keys]
        active = _table(account).get("active")
        if active and names and None not in names and active not in names:
            yield Fault(f"accounts.{name}.active", "names none of its keys", "give the public_key of one of them")
        for number, key in enumerate(keys):
            place, public_key = f"accounts.{name}.keys[{number}]", key.get("public_key")
            if not isinstance(public_key, str) or public_key_faults(public_key):
                continue  # told by its shape; and it may be a private key, so it is not quoted
            if public_key in seen:
                yield Fault(f"{place}.public_key", f"{public_key} is listed twice", "list each pair once")
            seen.add(public_key)
            if public_key == active and "accept_until" in key:
                yield Fault(
                    f"{place}.accept_until",
                    "this is the active key: what it signs would not be accepted any more",
                    "remove it, or make another key active",
                )


def _api_keys(callers: Mapping[str, Any]) -> Iterator[Fault]:
    seen: set[str] = set()
    for name, caller in callers.items():
        for number, key in enumerate(_list(_table(caller).get("keys"))):
            digest = _table(key).get("sha256")
            if isinstance(digest, str) and digest in seen:
                place = f"callers.{name}.keys[{number}].sha256"
                yield Fault(place, "is that of an earlier key", "make a key for each holder with `tokensvc keys new`")
            seen.add(str(digest))


def _profile(
    name: str, profile: Mapping[str, Any], accounts: Mapping[str, Any], callers: Mapping[str, Any]
) -> Iterator[Fault]:
    place = f"profiles.{name}"
    if not _PROFILE.fullmatch(name) or name in RESERVED_NAMES:
        yield Fault(place, "the name is not usable in a path", "use lower-case letters, digits, - and _")
    account = profile.get("account", "default")
    if accounts and isinstance(account, str) and account not in accounts:
        yield Fault(f"{place}.account", f"there is no account {account!r}", f"use one of: {', '.join(accounts)}")
    for number, caller in enumerate(_list(profile.get("callers"))):
        if callers and isinstance(caller, str) and caller not in callers:
            yield Fault(
                f"{place}.callers[{number}]", f"there is no source {caller!r}", f"use some of: {', '.join(callers)}"
            )
    for table in ("force", "allow", "defaults"):
        for parameter in _table(profile.get(table)):
            if parameter not in PARAMETERS and (table, parameter) != ("allow", "file"):
                remedy = f"use some of: {', '.join(PARAMETERS)}"
                yield Fault(f"{place}.{table}.{parameter}", "is no upload parameter", remedy)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
