"""Changes to the key pairs in the text of a `tokensvc.toml`, which keeps its comments and its order.

Nothing is written here, and no key is read: a pair is named by its public key, a private key by the file it is in.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT

from .faults import ConfigurationError, Fault

_BY_HAND: Final = "write the account as [accounts.NAME] with [[accounts.NAME.keys]]; docs/configuration.md shows how"


def with_pair(text: str, account: str, public_key: str, private_key_file: str) -> str:
    """Add a pair, which is accepted from then on and does not sign. Raises `ConfigurationError`."""
    document, table = _account(text, account)
    if any(pair.get("public_key") == public_key for pair in _pairs(table)):
        raise _fault(account, f"has {public_key} already", "nothing is to be done")
    keys = table["keys"]
    pair = tomlkit.table() if isinstance(keys, AoT) else tomlkit.inline_table()
    pair["public_key"] = public_key
    pair["private_key_file"] = private_key_file
    keys.append(pair)
    return tomlkit.dumps(document)


def with_active(text: str, account: str, public_key: str, accept_until: datetime) -> str:
    """Let a pair sign, and accept what the one that signed until now has signed until then, and no longer."""
    document, table = _account(text, account)
    chosen, before = _pair(table, account, public_key), table.get("active")
    if before == public_key:
        raise _fault(account, f"signs with {public_key} already", "nothing is to be done")
    chosen.pop("accept_until", None)
    for pair in _pairs(table):
        if pair.get("public_key") == before:
            pair["accept_until"] = accept_until
    table["active"] = public_key
    return tomlkit.dumps(document)


def without_pair(text: str, account: str, public_key: str, now: datetime | None) -> str:
    """Take a pair out. With a time, only if nothing that it signed is accepted any more then."""
    document, table = _account(text, account)
    pair = _pair(table, account, public_key)
    if table.get("active") == public_key:
        raise _fault(account, f"signs with {public_key}", "make another pair active first: tokensvc keys activate")
    until = pair.get("accept_until")
    if now is not None and not (isinstance(until, datetime) and until <= now):
        when = f"are accepted until {until.isoformat()}" if isinstance(until, datetime) else "are still accepted"
        raise _fault(
            account,
            f"credentials that {public_key} signed {when}",
            "wait for that, or refuse them from now on with --now",
        )
    keys = table["keys"]
    del keys[next(place for place, each in enumerate(_pairs(table)) if each is pair)]
    return tomlkit.dumps(document)


def _account(text: str, account: str) -> tuple[tomlkit.TOMLDocument, Any]:
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as exc:
        raise ConfigurationError([Fault("tokensvc.toml", f"is not TOML: {exc}", "correct it")]) from None
    table: Any = document
    for name in ("accounts", account):
        table = table.get(name) if hasattr(table, "get") else None
        if table is None:
            raise _fault(account, "is not in the file", _BY_HAND)
    if not isinstance(table.get("keys"), list):
        raise _fault(account, "has no list of keys", _BY_HAND)
    return document, table


def _pairs(table: Any) -> Iterator[Any]:  # noqa: ANN401 - a table of tomlkit, of one of three classes
    yield from table["keys"]


def _pair(table: Any, account: str, public_key: str) -> Any:  # noqa: ANN401 - as above
    for pair in _pairs(table):
        if pair.get("public_key") == public_key:
            return pair
    names = ", ".join(str(pair.get("public_key")) for pair in _pairs(table))
    raise _fault(account, f"has no pair {public_key}", f"use one of: {names}, or add it: tokensvc keys add")


def _fault(account: str, what: str, remedy: str) -> ConfigurationError:
    return ConfigurationError([Fault(f"accounts.{account}", what, remedy)])
