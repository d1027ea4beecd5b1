"""What would start, and be an opening: a secret with two purposes or none, a profile with a reach that nobody meant.

Like `meaning`, this looks at the raw tables and relies on no type. No secret is ever quoted: a fault names places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .faults import Fault
from .reading import Written

_PLACEHOLDER: Final = re.compile(
    r"(?i)change.?(?:me|this)|placeholder|your[-_. ]|secret[-_. ]?key|(.)\1{7}|^<.*>$|\.\.\.|…"
)
_MAKE_ONE: Final = "make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"


def faults_of_secrets(written: Written) -> Iterator[Fault]:
    """Secrets of caller sources that are placeholders, that are quoted, or that something else is signed with too."""
    seen = {text: place for place, text in _private_keys(_table(written.tables.get("accounts")))}
    for place, text in _secrets(_table(written.tables.get("callers"))):
        told = written.places.get(place, place)
        if text[:1] in ("'", '"') and text[-1:] == text[:1]:
            yield Fault(told, "is wrapped in quotes, which would be part of it", "remove them")
        elif text != text.strip():
            yield Fault(told, "begins or ends with a blank or a line break", "remove it")
        elif _PLACEHOLDER.search(text):
            yield Fault(told, "looks like a placeholder", _MAKE_ONE)
        elif (earlier := seen.get(text, place)).rpartition(".")[0] != place.rpartition(".")[0]:
            what = f"is the same secret as {written.places.get(earlier, earlier)}"
            yield Fault(told, what, f"give each purpose its own; {_MAKE_ONE}")
        seen.setdefault(text, place)


def faults_of_reach(name: str, profile: Mapping[str, Any], callers: Mapping[str, Any]) -> Iterator[Fault]:
    """Whether everybody can have a profile's credentials without its saying so, or nobody."""
    named = [caller for caller in _list(profile.get("callers")) if isinstance(caller, str)]
    sources = {caller: _table(callers.get(caller)) for caller in named}
    everybody = [caller for caller, source in sources.items() if source.get("kind") == "anonymous"]
    public = profile.get("public", False)
    if everybody and public is False:
        what = f"is not true, but everybody may fetch its credentials: {everybody[0]} is of kind anonymous"
        yield Fault(f"profiles.{name}.public", what, "say public = true if that is meant, or take it out of callers")
    if everybody and profile.get("when_store_is_down") == "issue-v2-untracked":
        what = "would let everybody have credentials without number, as long as somebody keeps the store silent"
        yield Fault(f"profiles.{name}.when_store_is_down", what, f"leave it out, or take {everybody[0]} out of callers")
    if public is True and not everybody and all(sources.values()):
        what = "is true, but none of its callers is of kind anonymous: not everybody may fetch its credentials"
        yield Fault(f"profiles.{name}.public", what, "remove it, or add such a source to callers")
    if sources and not any(_may_issue(source) for source in sources.values()):
        what = 'nobody may fetch its credentials: no key of its callers may "issue"'
        yield Fault(f"profiles.{name}.callers", what, 'add "issue" to the may list of a key')


def _may_issue(source: Mapping[str, Any]) -> bool:
    """Whether somebody of this source may; a faulty table is told elsewhere."""
    keys = _list(source.get("keys"))
    if source.get("kind") != "api_key" or not keys:
        return True
    return any("issue" in _list(_table(key).get("may", ["issue"])) for key in keys)


def _private_keys(accounts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, account in accounts.items():
        for number, key in enumerate(_list(_table(account).get("keys"))):
            text = _table(key).get("private_key")
            if isinstance(text, str):
                yield f"accounts.{name}.keys[{number}].private_key", text


def _secrets(callers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each secret of a caller source, with its place."""
    for name, caller in callers.items():
        source = _table(caller)
        if isinstance(text := source.get("secret_key"), str):
            yield f"callers.{name}.secret_key", text
        for number, text in enumerate(_list(source.get("fallback_keys"))):
            if isinstance(text, str):
                yield f"callers.{name}.fallback_keys[{number}]", text


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
