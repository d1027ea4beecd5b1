"""The settings as typed tables. What stands in a description here is what docs/configuration.md says.

Types are strict: TOML has types of its own, and `lifetime = true` must not come to mean one second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from tokensvc.core import profiles as core
from tokensvc.core.params import CLIENT_CHOICES
from tokensvc.core.profiles import DEFAULT_LIFETIME_SECONDS
from tokensvc.core.quotas import MOST_COUNTED, MOST_PER_DAY
from tokensvc.core.rules import compile_rule
from tokensvc.core.uses import MOST_USES, SpendMode, Uses
from tokensvc.core.window import MAX_LIFETIME_SECONDS

from .sources import Source
from .spellings import (
    Address,
    AllowSpec,
    Bytes,
    Folder,
    HostName,
    MediaType,
    Name,
    Network,
    Origin,
    PrivateKey,
    PublicKey,
    RateText,
    RedisUrl,
    Url,
    fault,
    parse_rate,
)
from .table import Table


class Key(Table):
    """A key pair of the account; all of them verify."""

    public_key: PublicKey = Field(description="the account's public key, `public_…`")
    private_key: PrivateKey = Field(description="the private key that belongs to it, `private_…`")
    accept_until: AwareDatetime | None = Field(
        default=None,
        description="until when credentials of a retired key are still accepted, such as `2026-12-01T00:00:00Z`; "
        "not for the active key",
    )


class Account(Table):
    """An ImageKit account. `IMAGEKIT_PUBLIC_KEY` and its companions are a short form of `[accounts.default]`."""

    url_endpoint: Url = Field(default="", description="the account's URL endpoint at ImageKit")
    active: str = Field(description="the public key of the pair that signs; to add a pair is not to use it")
    keys: list[Key] = Field(min_length=1, description="the key pairs, below")


class Cors(Table):
    """Whose pages may call the service from a browser."""

    origins: list[Origin] = Field(
        default=[], description='exact origins, such as `"https://app.example"`: no `*`, no path, no default port'
    )
    max_age: int = Field(
        default=600, ge=0, le=86_400, description="seconds for which a browser may remember a preflight"
    )


class Limits(Table):
    """What each caller may have, and what each file may be. Left out: no limit."""

    max_bytes: Bytes | None = Field(default=None, description='largest file, in bytes or as a text such as `"25MB"`')
    types: list[MediaType] = Field(default=[], description='MIME types, such as `"image/*"`, `"application/pdf"`')
    rate: RateText | None = Field(
        default=None, description='credentials for each caller in any such time, such as `"60/minute"`'
    )
    per_day: int | None = Field(
        default=None, ge=1, le=MOST_PER_DAY, description="credentials for each caller and day (UTC)"
    )
    outstanding: int | None = Field(
        default=None, ge=1, le=MOST_COUNTED, description="credentials of each caller issued and not yet spent"
    )


class Profile(Table):
    """Who may ask, for what, and for how long. `/auth` is the profile `default`, `/auth/NAME` any other."""

    account: str = Field(default="default", description="name of the account that signs")
    callers: list[str] = Field(min_length=1, description="names of the caller sources that are believed")
    public: bool = Field(
        default=False,
        description="`true` says that everybody may fetch its credentials: with, and only with, a caller source of "
        "kind `anonymous`",
    )
    versions: list[Literal["v1", "v2"]] = Field(
        default=["v1", "v2"], min_length=1, description="which credentials are issued"
    )
    lifetime: int = Field(
        default=DEFAULT_LIFETIME_SECONDS,
        ge=1,
        le=MAX_LIFETIME_SECONDS,
        description=f"seconds, at most {MAX_LIFETIME_SECONDS}; also the most that a client may ask for",
    )
    uses: int = Field(
        default=1,
        ge=1,
        le=MOST_USES,
        description="how many uploads each credential is good for, at the own upload endpoint, `/redeem` and "
        "`/forward-auth`; ImageKit itself takes it once",
    )
    spend: SpendMode = Field(
        default="on-attempt",
        description='`"on-success"`: an upload that is refused or fails gives the credential back; only at the own '
        "upload endpoint",
    )
    unissued: Literal["refuse", "cross-off"] = Field(
        default="refuse",
        description='`"cross-off"`: also take, once, a credential that was minted elsewhere with the account\'s key',
    )
    force: dict[str, str] = Field(
        default={},
        description="upload parameters that are set whatever a v2 client says; the texts may hold `{subject}`, "
        "`{claims.NAME}` and `{date}`",
    )
    allow: dict[str, AllowSpec] = Field(
        default=dict.fromkeys(sorted(CLIENT_CHOICES), True),
        description='upload parameters that a v2 client may choose, each `true`, a list, a `"glob*"`, '
        '`{regex = "…"}` (RE2) or `{max_length = 64}`; any other is refused by name. `file` says from which URLs '
        "the own upload endpoint fetches a file, for both versions; left out: from none",
    )
    defaults: dict[str, str] = Field(
        default={}, description="upload parameters that are set where a v2 client says nothing; texts as in `force`"
    )
    limits: Limits = Field(default=Limits(), description="limits, below")

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        try:
            self.build("default")
        except ValueError as exc:
            raise fault("profile", str(exc)) from None
        return self

    def build(self, name: str) -> core.Profile:
        """The profile as the rules know it; ValueError says which parameter it is that cannot be."""
        limits = self.limits
        rules = {parameter: compile_rule(spec) for parameter, spec in self.allow.items()}
        remote = rules.pop("file", None)
        return core.Profile(
            name,
            self.account,
            tuple(self.callers),
            frozenset(self.versions),
            self.lifetime,
            self.unissued == "cross-off",
            rules,
            self.force,
            self.defaults,
            core.Limits(
                limits.max_bytes,
                tuple(limits.types),
                None if limits.rate is None else parse_rate(limits.rate),
                limits.per_day,
                limits.outstanding,
            ),
            remote,
            Uses(self.uses, self.spend),
        )


class Throttle(Table):
    """How many requests an address may make in vain, or without a name, before it is refused for a while."""

    failures: RateText = Field(default="30/minute", description="requests with evidence that is not good")
    anonymous: RateText = Field(default="600/minute", description="requests of callers of kind `anonymous`")


class ForwardAuth(Table):
    """`GET /forward-auth`, by which a proxy asks whether to let an upload through."""

    trusted: list[Network] = Field(
        default=[],
        description='the proxies that may ask: addresses, networks such as `"10.0.0.0/8"`, and `"unix"`; empty: nobody',
    )


class Plan(Table):
    """Limits of the upload endpoint; the default is that of ImageKit's free plan."""

    max_bytes: Bytes = Field(default=25_000_000, description='largest file, in bytes or as a text such as `"25MB"`')


class Remote(Table):
    """Files that the upload endpoint fetches where `file` is a URL: by https, and from public addresses only."""

    enabled: bool = Field(
        default=False,
        description="whether servers with the private key may have files fetched; clients may where their profile's "
        "`allow` names `file`",
    )
    hosts: list[HostName] = Field(
        default=[],
        description='hosts to fetch from, whoever asks: `"cdn.example"`, or `".example"` with all below it; empty: any',
    )
    seconds: int = Field(default=30, ge=1, le=300, description="for a whole fetch; the headers have 8 of them")


class Upload(Table):
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
    lease: int = Field(
        default=60,
        ge=1,
        le=600,
        description='seconds for which an upload under `spend = "on-success"` holds its credential, from the last byte '
        "of the request; after a crash it is free when they have passed",
    )
    plan: Plan = Field(default=Plan(), description="limits, below")
    remote: Remote = Field(default=Remote(), description="files from URLs, below")


class Settings(Table):
    """The whole configuration, checked."""

    hosts: list[HostName] = Field(
        default=[],
        description='host names that are answered, such as `"uploads.example"`, or `".example"` with all below it; '
        "empty: any",
    )
    proxies: list[Network] = Field(
        default=[],
        description='trusted proxies, as `"10.0.0.0/8"` or `"unix"`: behind them, who asks is the last address in '
        "X-Forwarded-For that is no proxy",
    )
    accounts: dict[Name, Account] = Field(default={}, description="ImageKit accounts, below")
    cors: Cors = Field(default=Cors(), description="browsers, below")
    callers: dict[Name, Source] = Field(default={}, description="caller sources, below")
    profiles: dict[Name, Profile] = Field(default={}, description="profiles, below")
    throttle: Throttle = Field(default=Throttle(), description="slowing down strangers, below")
    forward_auth: ForwardAuth = Field(default=ForwardAuth(), description="proxies that ask first, below")
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
