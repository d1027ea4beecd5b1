"""The settings as typed tables. What stands in a description here is what docs/configuration.md says.

Types are strict: TOML has types of its own, and `lifetime = true` must not come to mean one second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr

from tokensvc.core.params import CLIENT_CHOICES
from tokensvc.core.policy import DEFAULT_LIFETIME_SECONDS
from tokensvc.core.window import MAX_LIFETIME_SECONDS

from .spellings import (
    Address,
    Allowed,
    Bytes,
    Folder,
    HostName,
    KeyId,
    Name,
    Origin,
    PrivateKey,
    PublicKey,
    RedisUrl,
    Sha256,
    Url,
)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Key(_Table):
    """A key pair of the account; all of them verify."""

    public_key: PublicKey = Field(description="the account's public key, `public_…`")
    private_key: PrivateKey = Field(description="the private key that belongs to it, `private_…`")
    accept_until: AwareDatetime | None = Field(
        default=None,
        description="until when credentials of a retired key are still accepted, such as `2026-12-01T00:00:00Z`; "
        "not for the active key",
    )


class Account(_Table):
    """An ImageKit account. `IMAGEKIT_PUBLIC_KEY` and its companions are a short form of `[accounts.default]`."""

    url_endpoint: Url = Field(default="", description="the account's URL endpoint at ImageKit")
    active: str = Field(description="the public key of the pair that signs; to add a pair is not to use it")
    keys: list[Key] = Field(min_length=1, description="the key pairs, below")


class Cors(_Table):
    """Whose pages may call the service from a browser."""

    origins: list[Origin] = Field(
        default=[], description='exact origins, such as `"https://app.example"`: no `*`, no path, no default port'
    )
    max_age: int = Field(
        default=600, ge=0, le=86_400, description="seconds for which a browser may remember a preflight"
    )


class ApiKey(_Table):
    """Only the SHA-256 of a key is kept; `tokensvc keys new` makes one and prints this table."""

    id: KeyId = Field(description="name of the key, for logs")
    sha256: Sha256 = Field(description="hex SHA-256 of the whole key text, `tsk_` included; lower case")
    subject: str = Field(min_length=1, max_length=128, description="whom credentials are issued to")
    may: list[Literal["issue", "redeem", "operate"]] = Field(
        default=["issue"], description="what it may be used for: `issue`, `redeem`, `operate`"
    )


class ApiKeySource(_Table):
    """Callers with `Authorization: Bearer tsk_…`."""

    kind: Literal["api_key"] = Field(description='`"api_key"`')
    keys: list[ApiKey] = Field(min_length=1, description="the keys, below")


class DemoSource(_Table):
    """The sign-in of the development server's page. `tokensvc serve` refuses it."""

    kind: Literal["demo"] = Field(description='`"demo"`')
    secret_key: SecretStr = Field(min_length=32, description="what its cookie is signed with, 32 characters or more")


Source = Annotated[ApiKeySource | DemoSource, Field(discriminator="kind")]


class Profile(_Table):
    """Who may ask, for what, and for how long. `/auth` is the profile `default`, `/auth/NAME` any other."""

    account: str = Field(default="default", description="name of the account that signs")
    callers: list[str] = Field(min_length=1, description="names of the caller sources that are believed")
    versions: list[Literal["v1", "v2"]] = Field(
        default=["v1", "v2"], min_length=1, description="which credentials are issued"
    )
    lifetime: int = Field(
        default=DEFAULT_LIFETIME_SECONDS,
        ge=1,
        le=MAX_LIFETIME_SECONDS,
        description=f"seconds, at most {MAX_LIFETIME_SECONDS}; also the most that a client may ask for",
    )
    unissued: Literal["refuse", "cross-off"] = Field(
        default="refuse",
        description='`"cross-off"`: also take, once, a credential that was minted elsewhere with the account\'s key',
    )
    allow: dict[str, Allowed] = Field(
        default=dict.fromkeys(sorted(CLIENT_CHOICES), True),
        description="upload parameters that a v2 client may choose, each `NAME = true`; any other is refused by name",
    )


class Plan(_Table):
    """Limits of the upload endpoint; the default is that of ImageKit's free plan."""

    max_bytes: Bytes = Field(default=25_000_000, description='largest file, in bytes or as a text such as `"25MB"`')


class Upload(_Table):
    """The own, ImageKit-compatible upload endpoint."""

    enabled: bool = Field(default=True, description="whether there is one")
    url: Address = Field(
        default="",
        description="this service's outside address, for the URLs in answers; empty: the request's",
    )
    store: Folder | None = Field(
        default=None,
        description='where files are kept, such as `"file:///var/lib/tokensvc/files"`; left out: `files/` in the data '
        "directory",
    )
    plan: Plan = Field(default=Plan(), description="limits, below")


class Settings(_Table):
    """The whole configuration, checked."""

    hosts: list[HostName] = Field(
        default=[],
        description='host names that are answered, such as `"uploads.example"`, or `".example"` with all below it; '
        "empty: any",
    )
    accounts: dict[Name, Account] = Field(default={}, description="ImageKit accounts, below")
    cors: Cors = Field(default=Cors(), description="browsers, below")
    callers: dict[Name, Source] = Field(default={}, description="caller sources, below")
    profiles: dict[Name, Profile] = Field(default={}, description="profiles, below")
    upload: Upload = Field(default=Upload(), description="the upload endpoint, below")
    redis_url: RedisUrl | None = None
    data_dir: Path = Path("var")
    port: int = Field(default=8000, ge=1, le=65_535)
    workers: int | None = Field(default=None, ge=1, le=64)


FROM_ENVIRONMENT = {
    "redis_url": "REDIS_URL",
    "data_dir": "TOKENSVC_DATA_DIR",
    "port": "PORT",
    "workers": "WEB_CONCURRENCY",
}
"""Members of `Settings` that the file may not have, and the variables that they come from."""
