"""The two ways of not getting what one asked for.

A `Refusal` is our decision, with a reason that can be said; an `Outage` is our side not answering, with nothing
decided. Neither knows about HTTP: `web.problems` is the one table from code to status.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """The stable slug of a refusal: the same in the answer, the log, the metric and the page that explains it."""

    CALLER_MISSING = "caller.missing"
    CALLER_INVALID = "caller.invalid"
    CALLER_FORBIDDEN = "caller.forbidden"
    ORIGIN_FORBIDDEN = "origin.forbidden"
    PROFILE_UNKNOWN = "profile.unknown"
    VERSION_FORBIDDEN = "version.forbidden"
    REQUEST_MALFORMED = "request.malformed"
    EXPIRE_INVALID = "expire.invalid"
    TOKEN_INVALID = "token.invalid"  # noqa: S105 - a slug
    TOKEN_EXISTS = "token.exists"  # noqa: S105 - a slug
    KEY_MISMATCH = "key.mismatch"
    PARAMETER_FORBIDDEN = "parameter.forbidden"
    PARAMETER_INVALID = "parameter.invalid"
    CREDENTIAL_INVALID = "credential.invalid"
    CREDENTIAL_EXPIRED = "credential.expired"
    CREDENTIAL_UNISSUED = "credential.unissued"
    CREDENTIAL_REVOKED = "credential.revoked"
    CREDENTIAL_STALE = "credential.stale"
    CREDENTIAL_REPLAYED = "credential.replayed"
    CREDENTIAL_HELD = "credential.held"
    IDEMPOTENCY_MISMATCH = "idempotency.mismatch"
    RATE_LIMITED = "rate.limited"
    QUOTA_EXCEEDED = "quota.exceeded"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class Allowance:
    """The limit that said no: `count` in `seconds`, or at one time if that is None."""

    name: str
    count: int
    seconds: int | None


class Refusal(Exception):  # noqa: N818 - the field's word for a decided "no"; an error is something else
    """We said no. `detail` says why in words and names the field; `remedy` says what to do about it.

    Neither text may quote a secret or a credential. Where waiting helps, `retry_after` is the number of seconds, at
    least 1, and `allowance` the limit that was reached.
    """

    def __init__(
        self,
        code: Code,
        detail: str,
        remedy: str = "",
        *,
        field: str | None = None,
        retry_after: int | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.remedy = remedy
        self.field = field
        self.retry_after = retry_after
        self.allowance = allowance


class Outage(Exception):  # noqa: N818 - as above
    """Something that we need did not answer in time; nothing was decided. Try again after `retry_after` seconds."""

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


class Unanswered(Outage):
    """The nonce store is silent, or says nothing but that it is not there yet. One that is full, say, does answer."""
