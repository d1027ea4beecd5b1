"""The tables `[callers.NAME]`, one for each kind of caller source."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from .spellings import HeaderName, KeyId, KeySetUrl, Network, Pem, Sha256, Subject, fault
from .table import Table


class ApiKey(Table):
    """Only the SHA-256 of a key is kept; `tokensvc keys new` makes one and prints this table."""

    id: KeyId = Field(description="name of the key, for logs")
    sha256: Sha256 = Field(description="hex SHA-256 of the whole key text, `tsk_` included; lower case")
    subject: Subject = Field(description="whom credentials are issued to")
    may: list[Literal["issue", "redeem", "operate"]] = Field(
        default=["issue"], description="what it may be used for: `issue`, `redeem`, `operate`"
    )


class ApiKeySource(Table):
    """Callers with `Authorization: Bearer tsk_…`."""

    kind: Literal["api_key"] = Field(description='`"api_key"`')
    keys: list[ApiKey] = Field(min_length=1, description="the keys, below")


class DemoSource(Table):
    """The sign-in of the development server's page. `tokensvc serve` refuses it."""

    kind: Literal["demo"] = Field(description='`"demo"`')
    secret_key: SecretStr = Field(min_length=32, description="what its cookie is signed with, 32 characters or more")


class SessionSource(Table):
    """Callers who are signed in to a Flask app beside: its signed session cookie."""

    kind: Literal["session"] = Field(description='`"session"`')
    secret_key: SecretStr = Field(min_length=16, description="the app's `SECRET_KEY`")
    fallback_keys: list[SecretStr] = Field(
        default=[], description="its `SECRET_KEY_FALLBACKS`: older keys whose cookies still count"
    )
    cookie: str = Field(default="session", min_length=1, description="name of the cookie")
    subject: str = Field(default="user_id", min_length=1, description="the entry of the session that names the caller")
    claims: list[str] = Field(default=[], description="further entries, for the profile's templates")
    max_age: int = Field(default=31 * 86_400, ge=1, le=366 * 86_400, description="seconds; Flask's own is 31 days")


class BearerSource(Table):
    """Callers with a JWT of an identity provider. Its keys come from one of `jwks_url`, `public_key`, `secret_key`."""

    kind: Literal["bearer"] = Field(description='`"bearer"`')
    issuer: str = Field(min_length=1, description="`iss` of its tokens, exactly")
    audience: str = Field(min_length=1, description="`aud` of its tokens: this one text and no list")
    jwks_url: KeySetUrl | None = Field(default=None, description="address of its key set; https, or http on this host")
    public_key: Pem | None = Field(default=None, description="its public key in PEM; usually as a file")
    secret_key: SecretStr | None = Field(
        default=None, min_length=32, description='a shared secret; only with `algorithms = ["HS256"]`'
    )
    algorithms: list[Literal["RS256", "PS256", "ES256", "EdDSA", "HS256"]] | None = Field(
        default=None, min_length=1, description="which are accepted; left out: all that the keys are for, never HS256"
    )
    subject: str = Field(default="sub", min_length=1, description="the claim that names the caller")
    required_claims: dict[str, str] = Field(default={}, description="further claims that must have exactly this text")
    leeway: int = Field(default=30, ge=0, le=120, description="seconds of clock skew forgiven")
    max_age: int | None = Field(default=None, ge=1, description="seconds since `iat` after which a token is too old")

    @model_validator(mode="after")
    def _one_kind_of_key(self) -> Self:
        given = [name for name in ("jwks_url", "public_key", "secret_key") if getattr(self, name) is not None]
        if len(given) != 1:
            raise fault("bearer", "needs exactly one of jwks_url, public_key_file and secret_key_file")
        if given == ["secret_key"] and self.algorithms != ["HS256"]:
            raise fault("bearer", 'has a shared secret, which is for algorithms = ["HS256"] only: say so')
        if given != ["secret_key"] and "HS256" in (self.algorithms or []):
            raise fault("bearer", "must not take HS256 with a public key: whoever has that key could sign")
        return self


class TicketSource(Table):
    """Callers with a ticket that a web app signed for them with `tokensvc.embed.tickets`."""

    kind: Literal["ticket"] = Field(description='`"ticket"`')
    secret_key: SecretStr = Field(min_length=32, description="what the app signs tickets with, 32 characters or more")
    fallback_keys: list[SecretStr] = Field(default=[], description="older keys whose tickets still count")
    max_age: int = Field(default=300, ge=1, le=86_400, description="seconds for which a ticket is good")


class ForwardedSource(Table):
    """Callers whom a trusted proxy has signed in (oauth2-proxy, Envoy, nginx): its identity header."""

    kind: Literal["forwarded"] = Field(description='`"forwarded"`')
    header: HeaderName = Field(description="the header that names the caller, such as `X-Forwarded-User`")
    trusted: list[Network] = Field(
        min_length=1, description='the proxies: addresses, networks such as `"10.0.0.0/8"`, and `"unix"`; nobody else'
    )


class AnonymousSource(Table):
    """Everybody else, known by address (IPv6: by /64); see `proxies` above. For profiles that say `public = true`."""

    kind: Literal["anonymous"] = Field(description='`"anonymous"`')


Source = Annotated[
    ApiKeySource | DemoSource | SessionSource | BearerSource | TicketSource | ForwardedSource | AnonymousSource,
    Field(discriminator="kind"),
]
