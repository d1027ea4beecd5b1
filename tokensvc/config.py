"""Settings: one field per setting, from the environment and `tokensvc.toml`, with every fault told at once.

Unknown members are faults: a misspelt limit that is silently not there is worse than a service that does not start.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError

from tokensvc.core.keys import private_key_faults, public_key_faults
from tokensvc.core.params import CLIENT_CHOICES, PARAMETERS
from tokensvc.core.policy import DEFAULT_LIFETIME_SECONDS
from tokensvc.core.window import MAX_LIFETIME_SECONDS

DEFAULT_FILE = "tokensvc.toml"
_SIZE = re.compile(r"([1-9][0-9]*) ?(B|kB|KB|MB|GB)?")
_UNITS = {None: 1, "B": 1, "kB": 1_000, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with the configuration: where, what, and what to do."""

    place: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.what}" + (f" -> {self.remedy}" if self.remedy else "")


class ConfigurationError(Exception):
    """All faults of a configuration."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


def _size(value: object) -> object:
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    return int(match[1]) * _UNITS[match[2]] if match else value


def _private_key(value: object) -> object:
    if isinstance(value, str) and (faults := private_key_faults(value)):
        raise PydanticCustomError("private_key", "the private key {faults}", {"faults": "; it ".join(faults)})
    return value


def _public_key(value: object) -> object:
    if isinstance(value, str) and (faults := public_key_faults(value)):
        raise PydanticCustomError("public_key", "the public key {faults}", {"faults": "; it ".join(faults)})
    return value


def _origin(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(
        r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?", value
    ):
        raise PydanticCustomError(
            "origin", 'must be an exact origin such as "https://app.example", in lower case, without a path'
        )
    return value


Bytes = Annotated[int, BeforeValidator(_size), Field(gt=0)]
"""A number of bytes, or a text such as "25MB"; units are decimal."""

Origin = Annotated[str, BeforeValidator(_origin)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Key(_Table):
    """[[accounts.NAME.keys]]. `private_key_file` is read while the settings are read, into `private_key`."""

    public_key: Annotated[str, BeforeValidator(_public_key)]
    private_key: Annotated[SecretStr, BeforeValidator(_private_key)]
    accept_until: AwareDatetime | None = None


class Account(_Table):
    """[accounts.NAME]: an ImageKit account and its key pairs; `active` names the one that signs."""

    url_endpoint: str = Field(default="", pattern=r"^(https?://[^\s]+)?$")
    active: str
    keys: list[Key] = Field(min_length=1)


class Cors(_Table):
    """[cors]: exact origins whose pages may call this service; `max_age` of a preflight in seconds."""

    origins: list[Origin] = []
    max_age: int = Field(default=600, ge=0, le=86_400)


class ApiKey(_Table):
    """One api key: only the SHA-256 of its text is kept."""

    id: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    subject: str = Field(min_length=1, max_length=128)
    may: list[Literal["issue", "redeem", "operate"]] = ["issue"]


class ApiKeySource(_Table):
    """[callers.NAME] kind = "api_key"."""

    kind: Literal["api_key"]
    keys: list[ApiKey] = Field(min_length=1)


class DemoSource(_Table):
    """[callers.NAME] kind = "demo": the sign-in of the development server's page; loopback only."""

    kind: Literal["demo"]
    secret_key: SecretStr = Field(min_length=32)


Source = Annotated[ApiKeySource | DemoSource, Field(discriminator="kind")]


class Profile(_Table):
    """[profiles.NAME]: who may ask, for what, and for how long."""

    account: str = "default"
    callers: list[str] = Field(min_length=1)
    versions: list[Literal["v1", "v2"]] = Field(default=["v1", "v2"], min_length=1)
    lifetime: int = Field(default=DEFAULT_LIFETIME_SECONDS, ge=1, le=MAX_LIFETIME_SECONDS)
    unissued: Literal["refuse", "cross-off"] = "refuse"
    allow: dict[str, Literal[True]] = dict.fromkeys(sorted(CLIENT_CHOICES), True)


class Plan(_Table):
    """[upload.plan]: the size limits of ImageKit's plans; the default is the free plan's."""

    max_bytes: Bytes = 25_000_000


class Upload(_Table):
    """[upload]: the own upload endpoint. `url` is this service's outside address, where it is not the request's."""

    enabled: bool = True
    url: str = Field(default="", pattern=r"^(https?://[^\s/]+)?$")
    plan: Plan = Plan()


class Settings(_Table):
    """The whole configuration, checked."""

    accounts: dict[str, Account] = {}
    cors: Cors = Cors()
    callers: dict[str, Source] = {}
    profiles: dict[str, Profile] = {}
    upload: Upload = Upload()
    hosts: list[str] = Field(default=[], description="Host names that are answered; empty means any")
    redis_url: SecretStr | None = None
    data_dir: Path = Path("var")


def load(environment: Mapping[str, str]) -> Settings:
    """Read the environment and the file that it names; raise `ConfigurationError` with every fault found."""
    faults: list[Fault] = []
    tables, place = _read_file(environment, faults)
    base = place.parent
    _take_environment(environment, tables, faults)
    _read_secret_files(tables, base, faults)
    faults += _missing(tables)
    faults += _dangling(tables)
    try:
        settings = Settings.model_validate(tables)
    except ValidationError as exc:
        faults += [_fault_of(dict(error)) for error in exc.errors(include_url=False, include_input=False)]
    if faults:
        raise ConfigurationError(faults)
    return settings


def _read_file(environment: Mapping[str, str], faults: list[Fault]) -> tuple[dict[str, Any], Path]:
    named = environment.get("TOKENSVC_CONFIG", "")
    path = Path(named or DEFAULT_FILE)
    if not named and not path.exists():
        return {}, path
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        faults.append(Fault(str(path), f"cannot be read: {exc.strerror}", "correct TOKENSVC_CONFIG"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        faults.append(Fault(str(path), f"is not TOML: {exc}"))
    else:
        own = [name for name in _ENVIRONMENT if tables.pop(name, None) is not None]
        faults += [Fault(name, "is set by the environment only", f"use {_ENVIRONMENT[name]}") for name in own]
        return tables, path
    return {}, path


_ENVIRONMENT = {"redis_url": "REDIS_URL", "data_dir": "TOKENSVC_DATA_DIR"}


def _take_environment(environment: Mapping[str, str], tables: dict[str, Any], faults: list[Fault]) -> None:
    public, private, endpoint, redis_url = (
        _secret_variable(environment, name, faults)
        for name in ("IMAGEKIT_PUBLIC_KEY", "IMAGEKIT_PRIVATE_KEY", "IMAGEKIT_URL_ENDPOINT", "REDIS_URL")
    )
    if public or private:
        if "default" in tables.get("accounts", {}):
            faults.append(Fault("IMAGEKIT_PUBLIC_KEY", "[accounts.default] is configured too", "use one of the two"))
        else:
            key = {name: text for name, text in (("public_key", public), ("private_key", private)) if text}
            account = {"url_endpoint": endpoint, "active": public, "keys": [key]}
            tables.setdefault("accounts", {})["default"] = account
    if redis_url:
        tables["redis_url"] = redis_url
    if environment.get("TOKENSVC_DATA_DIR"):
        tables["data_dir"] = environment["TOKENSVC_DATA_DIR"]
    tables["data_dir"] = str(Path(tables.get("data_dir", "var")).absolute())


def _secret_variable(environment: Mapping[str, str], name: str, faults: list[Fault]) -> str:
    direct, from_file = environment.get(name, ""), environment.get(f"{name}_FILE", "")
    if direct and from_file:
        faults.append(Fault(name, f"{name}_FILE is set too", "use one of the two"))
    if from_file:
        return _read_secret(Path(from_file), f"{name}_FILE", faults) or ""
    return direct


def _read_secret_files(tables: dict[str, Any], base: Path, faults: list[Fault]) -> None:
    """Replace every `…_file` member by the content of that file, relative to the configuration's folder."""
    for table, where in list(_tables_in(tables, "")):
        for member in [name for name in table if name.endswith("_file")]:
            name, path = member.removesuffix("_file"), table.pop(member)
            if name in table:
                faults.append(Fault(f"{where}.{member}", f"{name} is set too", "use one of the two"))
            elif not isinstance(path, str):
                faults.append(Fault(f"{where}.{member}", "must be a path in quotes"))
            else:
                text = _read_secret(base / path, f"{where}.{member}", faults)
                if text is not None:
                    table[name] = text


def _tables_in(value: object, where: str) -> Iterator[tuple[dict[str, Any], str]]:
    if isinstance(value, dict):
        yield value, where
        for name, member in value.items():
            yield from _tables_in(member, f"{where}.{name}".lstrip("."))
    elif isinstance(value, list):
        for place, member in enumerate(value):
            yield from _tables_in(member, f"{where}[{place}]")


def _read_secret(path: Path, place: str, faults: list[Fault]) -> str | None:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        faults.append(
            Fault(place, f"{path} cannot be read: {why}", "give the path of a file with the secret as its only line")
        )
        return None


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


def _dangling(tables: Mapping[str, Any]) -> Iterator[Fault]:
    """Names that refer to nothing. Looks at the raw tables, so that it also works beside other faults."""
    accounts, callers = _as_table(tables.get("accounts")), _as_table(tables.get("callers"))
    yield from _dangling_keys(accounts)
    for name, profile in _as_table(tables.get("profiles")).items():
        yield from _dangling_in_profile(name, _as_table(profile), accounts, callers)


def _dangling_keys(accounts: Mapping[str, Any]) -> Iterator[Fault]:
    seen: set[str] = set()
    for name, account in accounts.items():
        keys = [_as_table(key).get("public_key") for key in _as_list(_as_table(account).get("keys"))]
        active = _as_table(account).get("active")
        if keys and active is not None and active not in keys:
            yield Fault(f"accounts.{name}.active", "names none of its keys", "give the public_key of one of them")
        for key in (key for key in keys if isinstance(key, str)):
            if key in seen:
                yield Fault(f"accounts.{name}.keys", f"{key} is listed twice", "give each pair once, in one account")
            seen.add(key)


def _dangling_in_profile(
    name: str, profile: Mapping[str, Any], accounts: Mapping[str, Any], callers: Mapping[str, Any]
) -> Iterator[Fault]:
    place = f"profiles.{name}"
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name) or name in RESERVED_PROFILES:
        yield Fault(place, "the name is not usable in a path", "use lower-case letters, digits, - and _")
    if (account := profile.get("account", "default")) not in accounts and accounts:
        yield Fault(f"{place}.account", f"there is no account {account!r}", f"use one of: {', '.join(accounts)}")
    for caller in _as_list(profile.get("callers")):
        if caller not in callers and callers:
            yield Fault(f"{place}.callers", f"there is no source {caller!r}", f"use some of: {', '.join(callers)}")
    for parameter in _as_table(profile.get("allow")):
        if parameter not in PARAMETERS:
            yield Fault(f"{place}.allow.{parameter}", "is no upload parameter", f"use some of: {', '.join(PARAMETERS)}")


RESERVED_PROFILES = frozenset({"batch", "limits"})
"""Path segments after /auth that mean something else."""


def _as_table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _fault_of(error: Mapping[str, Any]) -> Fault:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    place = re.sub(r"\.(api_key|demo)(?=\.|$)", "", place)  # pydantic names the member of the union; the file does not
    remedy = "remove it, or look up its spelling in docs/configuration.md" if error["type"] == "extra_forbidden" else ""
    what = {"extra_forbidden": "is not a setting", "missing": "is missing"}.get(error["type"], error["msg"])
    return Fault(place or "configuration", what, remedy)
