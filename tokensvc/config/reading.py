"""What was written: the file and the environment as one set of raw tables, and where each value came from.

A secret may come from a file of its own: `NAME_FILE` in the environment, `member_file` in a table. The first is
relative to the working directory, as for any program; the second to the folder of `tokensvc.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .faults import Fault
from .settings import FROM_ENVIRONMENT

DEFAULT_FILE: Final = "tokensvc.toml"
SECRET_MEMBERS: Final = ("private_key", "secret_key", "public_key")
SECRET_LISTS: Final = ("fallback_keys",)
"""Members that may be given as `fallback_key_files`, a list of paths."""


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable; one that `may_be_file` may also be given as `NAME_FILE`."""

    name: str
    meaning: str
    default: str = ""
    may_be_file: bool = False


VARIABLES: Final = (
    Variable("IMAGEKIT_PUBLIC_KEY", "public key of the ImageKit account", may_be_file=True),
    Variable("IMAGEKIT_PRIVATE_KEY", "private key that belongs to it", may_be_file=True),
    Variable("IMAGEKIT_URL_ENDPOINT", "the account's URL endpoint at ImageKit", may_be_file=True),
    Variable(
        "REDIS_URL",
        "nonce store: `redis://`, `rediss://` or `unix://`, with user and password if needed; "
        "`redis+sentinel://h1,h2,h3/name` or `redis+cluster://h1,h2`, and the same with `rediss`. "
        "Not set: a Valkey of our own in the data directory",
        may_be_file=True,
    ),
    Variable("PORT", "port of `tokensvc serve` when it is not told `--bind`", "8000"),
    Variable("WEB_CONCURRENCY", "worker processes, 1 to 64. Not set: one for each core"),
    Variable(
        "TOKENSVC_CONFIG", "path of the configuration file; without it, that path is read if it exists", DEFAULT_FILE
    ),
    Variable("TOKENSVC_DATA_DIR", "what must survive a restart: the embedded store, and uploaded files", "var"),
    Variable(
        "TOKENSVC_LOG", "`json`: a line of JSON an event; `console`: for people, as `tokensvc dev` has it", "json"
    ),
)
"""All that the environment may say."""

_ACCOUNT: Final = "accounts.default"
_KEY: Final = f"{_ACCOUNT}.keys[0]"


@dataclass(slots=True)
class Written:
    """`tables` is as `Settings` wants it. `places` says where a value came from if that is not where it is now."""

    environment: Mapping[str, str] = field(repr=False)
    tables: dict[str, Any] = field(default_factory=dict, repr=False)
    places: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    file_was_read: bool = True

    def variable(self, name: str) -> str:
        """The variable that gives a value: NAME, or NAME_FILE if that one alone is set."""
        return f"{name}_FILE" if self.environment.get(f"{name}_FILE") and not self.environment.get(name) else name


def read(environment: Mapping[str, str]) -> Written:
    """Read everything; what cannot be read is a fault."""
    written = Written(environment)
    path = configuration_file(environment)
    if environment.get("TOKENSVC_CONFIG") or path.exists():
        _read_file(path, written)
    _read_secret_files(path.parent, written)
    _read_secret_lists(path.parent, written)
    _take_account(written)
    _take_single_variables(written)
    return written


def configuration_file(environment: Mapping[str, str]) -> Path:
    """The file that is read; it need not exist."""
    return Path(environment.get("TOKENSVC_CONFIG") or DEFAULT_FILE)


def _read_file(path: Path, written: Written) -> None:
    try:
        written.tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        written.faults.append(Fault(str(path), f"cannot be read: {exc.strerror}", "correct TOKENSVC_CONFIG"))
        written.file_was_read = False
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        why = exc.reason if isinstance(exc, UnicodeDecodeError) else exc
        written.faults.append(Fault(str(path), f"is not TOML: {why}", "correct it; text values need quotes"))
        written.file_was_read = False
    for name in [name for name in FROM_ENVIRONMENT if written.tables.pop(name, None) is not None]:
        written.faults.append(Fault(name, "is set by the environment only", f"use {FROM_ENVIRONMENT[name]}"))


def _read_secret_files(folder: Path, written: Written) -> None:
    """Replace `private_key_file` and its like by `private_key`, read from that file."""
    for table, where in list(_tables_in(written.tables, "")):
        for name in SECRET_MEMBERS:
            member = f"{name}_file"
            if member not in table:
                continue
            path, place = table.pop(member), f"{where}.{member}".lstrip(".")
            written.places[f"{where}.{name}".lstrip(".")] = place
            if name in table:
                written.faults.append(Fault(place, f"{name} is set too", "use one of the two"))
            elif not isinstance(path, str):
                written.faults.append(Fault(place, "must be a path in quotes"))
            elif (text := _read_secret(folder / path, place, written)) is not None:
                table[name] = text


def _read_secret_lists(folder: Path, written: Written) -> None:
    """The same for `fallback_key_files`: a list of paths for a list of secrets."""
    for table, where in list(_tables_in(written.tables, "")):
        for name in SECRET_LISTS:
            member = f"{name.removesuffix('s')}_files"
            paths, place = table.pop(member, None), f"{where}.{member}".lstrip(".")
            if paths is None:
                continue
            if name in table:
                written.faults.append(Fault(place, f"{name} is set too", "use one of the two"))
            elif not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
                written.faults.append(Fault(place, "must be a list of paths in quotes"))
            else:
                texts = [
                    _read_secret(folder / path, f"{place}[{number}]", written) for number, path in enumerate(paths)
                ]
                table[name] = [text for text in texts if text is not None]


def _tables_in(value: object, where: str) -> Iterator[tuple[dict[str, Any], str]]:
    if isinstance(value, dict):
        yield value, where
        for name, member in value.items():
            yield from _tables_in(member, f"{where}.{name}".lstrip("."))
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from _tables_in(member, f"{where}[{number}]")


def _take_account(written: Written) -> None:
    """`IMAGEKIT_…` as the account `default`: all of it or nothing."""
    names = ("IMAGEKIT_PUBLIC_KEY", "IMAGEKIT_PRIVATE_KEY", "IMAGEKIT_URL_ENDPOINT")
    texts = {name: _variable(name, written) for name in names}
    given = [name for name in names if texts[name] != ""]
    accounts = written.tables.setdefault("accounts", {})
    if not given or not isinstance(accounts, dict):  # a wrong type is told by the settings
        return
    if "default" in accounts:
        written.faults.append(Fault(given[0], "[accounts.default] is configured too", "use one of the two"))
        return
    for name in ("IMAGEKIT_PUBLIC_KEY", "IMAGEKIT_PRIVATE_KEY"):
        if name not in given:
            written.faults.append(Fault(name, "is missing", f"set it too: {given[0]} is set"))
    key = {"public_key": texts["IMAGEKIT_PUBLIC_KEY"], "private_key": texts["IMAGEKIT_PRIVATE_KEY"]}
    accounts["default"] = {
        "url_endpoint": texts["IMAGEKIT_URL_ENDPOINT"] or "",
        "active": texts["IMAGEKIT_PUBLIC_KEY"] or "",
        "keys": [{name: text for name, text in key.items() if text}],
    }
    written.places |= {
        f"{_KEY}.public_key": written.variable("IMAGEKIT_PUBLIC_KEY"),
        f"{_KEY}.private_key": written.variable("IMAGEKIT_PRIVATE_KEY"),
        f"{_ACCOUNT}.url_endpoint": written.variable("IMAGEKIT_URL_ENDPOINT"),
    }


def _take_single_variables(written: Written) -> None:
    written.places |= {member: written.variable(name) for member, name in FROM_ENVIRONMENT.items()}
    url = _variable("REDIS_URL", written)
    if url:
        written.tables["redis_url"] = url
    written.tables["data_dir"] = Path(written.environment.get("TOKENSVC_DATA_DIR") or "var").absolute()
    written.tables["log"] = written.environment.get("TOKENSVC_LOG") or "json"
    for member in ("port", "workers"):
        text = written.environment.get(FROM_ENVIRONMENT[member], "")
        if text.isascii() and text.isdigit():
            written.tables[member] = int(text[:9])
        elif text:
            written.faults.append(Fault(FROM_ENVIRONMENT[member], "must be a whole number"))


def _variable(name: str, written: Written) -> str | None:
    """The text of NAME or of the file that NAME_FILE names; "" if neither is set, None if it could not be read."""
    text, file = written.environment.get(name, ""), written.environment.get(f"{name}_FILE", "")
    if text and file:
        written.faults.append(Fault(name, f"{name}_FILE is set too", "use one of the two"))
        return None
    return _read_secret(Path(file), f"{name}_FILE", written) if file else text


def _read_secret(path: Path, place: str, written: Written) -> str | None:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError) as exc:  # ValueError: not UTF-8, or a path with a NUL
        why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        remedy = "give the path of a file with the secret as its only line"
        written.faults.append(Fault(place, f"{path} cannot be read: {why}", remedy))
        return None
