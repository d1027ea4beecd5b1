"""The settings as typed tables. What stands in a description here is what docs/configuration.md says.

Types are strict: TOML has types of its own, and `lifetime = true` must not come to mean one second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from tokensvc.core import profiles as core
from tokensvc.core.params import CLIENT_CHOICES
from tokensvc.core.profiles import DEFAULT_LIFETIME_SECONDS
from tokensvc.core.quotas import MOST_COUNTED, MOST_PER_DAY
from tokensvc.core.rules import compile_rule
from tokensvc.core.uses import MOST_USES, SpendMode, Uses
from tokensvc.core.window import MAX_LIFETIME_SECONDS

from .accounts import Account
from .sources import Source
from .spellings import (
    AbsolutePath,
    AllowSpec,
    Bytes,
    HostName,
    MediaType,
    Name,
    Network,
    Origin,
    RateText,
    RedisUrl,
    fault,
    parse_rate,
)
from .table import Table
from .uploading import Upload


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
    when_store_is_down: Literal["refuse", "issue-v2-untracked"] = Field(
        default="refuse",
        description='`"issue-v2-untracked"`: v2 credentials go out without a record while the nonce store does not '
        "answer. ImageKit takes each once; the own upload endpoint and `/redeem` refuse them, unless the account takes "
        "what was minted elsewhere. They cannot be counted or revoked: not with `rate`, `per_day`, `outstanding` or "
        "`public`, and never for a ticket that is good once",
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
            untracked=self.when_store_is_down == "issue-v2-untracked",
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


class AuditTable(Table):
    """A file to which what becomes of credentials is added, each line sealed together with the one before it."""

    file: AbsolutePath | None = Field(
        default=None, description='path, such as `"/var/log/tokensvc/audit.jsonl"`; left out: there is no such file'
    )
    secret_key: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="key of the seals, 32 characters or more: without it, who may write the file can seal it anew",
    )
    fsync: bool = Field(default=True, description="`true`: a line is on the disk before the answer leaves")
    when_down: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="what becomes of issuing and redeeming when no line can be added; what is refused or revoked is "
        "answered in any case",
    )


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
    audit: AuditTable = Field(default=AuditTable(), description="the audit, below")
    redis_url: RedisUrl | None = None
    data_dir: Path = Path("var")
    port: int = Field(default=8000, ge=1, le=65_535)
    workers: int | None = Field(default=None, ge=1, le=64)
    log: Literal["json", "console"] = "json"


FROM_ENVIRONMENT = {
    "redis_url": "REDIS_URL",
    "data_dir": "TOKENSVC_DATA_DIR",
    "port": "PORT",
    "workers": "WEB_CONCURRENCY",
    "log": "TOKENSVC_LOG",
}
"""Members of `Settings` that the file may not have, and the variables that they come from."""
