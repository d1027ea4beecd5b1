"""Callers that present a token of an identity provider: `Authorization: Bearer` and a JWT (RFC 6750, 7519, 9068).

PyJWT verifies the signature, issuer and audience. Its checks of time are switched off: it would ask the wall clock.
What it would also take is refused here: members that occur twice, UTF-16, times written as texts, a header that brings
its own key. Nothing in the token is believed, or told about to who sent it, before its signature is verified.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
from jwt.exceptions import InvalidSubjectError
from jwt.types import Options

from tokensvc.core import strict_json
from tokensvc.core.callers import Caller, Evidence, Presented
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.params import unfit
from tokensvc.ports import Clock

from .verdicts import Verdicts
from .verifying_keys import PUBLIC_KEY_ALGORITHMS, KeySource, VerifyingKey

MAX_CHARACTERS: Final = 8192
"""The longest token that is looked at."""

MAX_SUBJECT_CHARACTERS: Final = 256

LEEWAY_SECONDS: Final = 30
"""Clock skew forgiven between the provider and us, unless configured otherwise."""

_EVIDENCE: Final = re.compile(r"[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]*\.[A-Za-z0-9_=-]*", re.ASCII)
_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_FORBIDDEN_IN_HEADER: Final = frozenset({"crit", "b64", "zip", "enc", "cty", "jku", "jwk", "x5u", "x5c"})
"""What would change how a token is read, or bring the key by which to believe it. Other members are ignored."""

_LATEST: Final = 10_000_000_000
"""Unix seconds have ten digits from 2001 to 2286."""

_OPTIONS: Final = Options(
    verify_signature=True,
    enforce_minimum_key_length=True,
    require=["exp", "iat", "aud", "iss", "sub"],
    verify_iss=True,
    verify_aud=True,
    strict_aud=True,
    verify_sub=True,
    verify_jti=False,
    verify_exp=False,
    verify_iat=False,
    verify_nbf=False,
)
_REMEDY: Final = "Get a new access token for this service from the identity provider, and send it unchanged."
_FORGED: Final = "The bearer token's signature does not verify."


@dataclass(frozen=True, slots=True)
class _Genuine:
    """A token that `key` verified. It may have expired; `texts` are its claims as profiles use them."""

    kid: str | None
    algorithm: str
    key: VerifyingKey
    claims: Mapping[str, Any] = field(repr=False)
    texts: Mapping[str, str] = field(repr=False)


class Bearer:
    """Caller source: the tokens that one issuer made for one audience."""

    evidence: Final[Evidence] = "header"

    def __init__(
        self,
        source: str,
        *,
        issuer: str,
        audience: str,
        keys: KeySource,
        clock: Clock,
        algorithms: Iterable[str] | None = None,
        leeway: int = LEEWAY_SECONDS,
        max_age: int | None = None,
        subject_claim: str = "sub",
        required_claims: Mapping[str, str | None] | None = None,
    ) -> None:
        """Take the settings of one table. ValueError says which of them cannot be.

        `audience` must be the token's only one, as a text: a token that is good elsewhere too could be brought here by
        whoever runs the other place. `required_claims` gives the text that a claim must have, None for any.
        `leeway` and `max_age` are seconds. Without `algorithms` they are all that a public key is for; HS256 has to be
        said, so that nobody has it by mistake.
        """
        self._algorithms = keys.algorithms & PUBLIC_KEY_ALGORITHMS if algorithms is None else frozenset(algorithms)
        if not issuer or not audience or not subject_claim:
            raise ValueError("issuer, audience and the subject's claim must not be empty")
        if not self._algorithms or not self._algorithms <= keys.algorithms:
            raise ValueError(f"algorithms must be some of {', '.join(sorted(keys.algorithms))}: what the key is for")
        self._source, self._issuer, self._audience, self._keys, self._clock = source, issuer, audience, keys, clock
        self._leeway, self._max_age, self._subject_claim = leeway, max_age, subject_claim
        self._required = dict(required_claims or {})
        self._verdicts: Verdicts[_Genuine] = Verdicts()

    def identify(self, presented: Presented) -> Caller | None:
        """Return whom the token names; a bearer token that is no JWT is somebody else's evidence."""
        text = presented.bearer
        if text is None or not _EVIDENCE.fullmatch(text):
            return None
        now = self._clock()
        token = self._verdicts.find(text, now)
        if token is None or self._keys.find(token.kid, token.algorithm) is not token.key:
            token = self._genuine(text)
            self._verdicts.keep(text, token, now)
        self._verify_times(token.claims, now)
        self._verify_required(token.texts)
        return Caller(self._source, self._subject(token.claims), claims=token.texts)

    def _genuine(self, text: str) -> _Genuine:
        """Read a token whose signature, issuer and audience are good, or raise a refusal."""
        kid, algorithm = self._read_header(text)
        if algorithm not in self._algorithms:
            raise _refused(_FORGED)
        key = self._keys.find(kid, algorithm)
        if key is None:
            raise _refused(_FORGED)
        self._verify(text, key.key, algorithm)
        try:
            claims = strict_json.loads_object(_decode(text.split(".")[1]))
        except ValueError:
            raise _refused("The bearer token's claims cannot be read.") from None
        texts = {name: written for name, value in claims.items() if (written := _as_text(value)) is not None}
        return _Genuine(kid, algorithm, key, claims, texts)

    def _read_header(self, text: str) -> tuple[str | None, str]:
        """Return the `kid` and `alg` of a token whose form and header are as they must be."""
        if len(text) > MAX_CHARACTERS:
            raise _refused(f"The bearer token is longer than {MAX_CHARACTERS} characters.")
        try:
            header = strict_json.loads_object(_decode(text.partition(".")[0]))
        except ValueError:
            raise _refused("The bearer token's header cannot be read.") from None
        kid, algorithm, typ = header.get("kid"), header.get("alg"), header.get("typ", "JWT")
        if not isinstance(typ, str) or typ.lower() not in _TYPES or not _FORBIDDEN_IN_HEADER.isdisjoint(header):
            raise _refused("The bearer token is not an access token of the plain kind.")
        if not _FORM.fullmatch(text) or not isinstance(algorithm, str) or not (kid is None or isinstance(kid, str)):
            raise _refused(_FORGED)
        return kid, algorithm

    def _verify(self, text: str, key: Any, algorithm: str) -> None:  # noqa: ANN401 - PyJWT's union of key types
        try:
            jwt.decode(
                text,
                key,
                algorithms=[algorithm],
                options=_OPTIONS,
                issuer=self._issuer,
                audience=self._audience,
                leeway=0,
            )
        except jwt.InvalidIssuerError:
            raise _refused("The bearer token is of another issuer.") from None
        except jwt.InvalidAudienceError:
            raise _refused("The bearer token is for another audience.") from None
        except jwt.MissingRequiredClaimError as exc:
            raise _refused(f"The bearer token has no {exc.claim}.") from None
        except InvalidSubjectError:
            raise _refused("The bearer token's sub is not a text.") from None
        except jwt.PyJWTError:
            raise _refused(_FORGED) from None

    def _verify_times(self, claims: Mapping[str, Any], now: int) -> None:
        """The one rule of time: not before `nbf` and `iat`, before `exp`, none of it longer ago than `max_age`."""
        issued_at, expires_at = _time(claims, "iat"), _time(claims, "exp")
        starts_at = max(issued_at, _time(claims, "nbf")) if "nbf" in claims else issued_at
        if starts_at > now + self._leeway:
            raise _refused("The bearer token is not good yet.")
        if now >= expires_at + self._leeway:
            raise _refused("The bearer token has expired.")
        if self._max_age is not None and now - issued_at > self._max_age + self._leeway:
            raise _refused("The bearer token was issued too long ago.")

    def _verify_required(self, texts: Mapping[str, str]) -> None:
        for name, required in self._required.items():
            if name not in texts or required not in (None, texts[name]):
                raise _refused(f"The bearer token's claim {name} is not what it must be here.")

    def _subject(self, claims: Mapping[str, Any]) -> str:
        subject = claims.get(self._subject_claim)
        if not isinstance(subject, str) or not subject or len(subject) > MAX_SUBJECT_CHARACTERS or unfit(subject):
            length = f"1 to {MAX_SUBJECT_CHARACTERS} characters"
            raise _refused(f"The bearer token's {self._subject_claim} is not a plain text of {length}.")
        return subject


def _refused(detail: str) -> Refusal:
    """One remedy for all. What is wrong with the signature, the key and its name has one text, so it tells nothing."""
    return Refusal(Code.CALLER_INVALID, detail, _REMEDY)


def _decode(part: str) -> bytes:
    """Decode URL-safe base64, or raise ValueError. That it is the one spelling of its bytes is for PyJWT to see."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _time(claims: Mapping[str, Any], name: str) -> int | float:
    """RFC 7519's NumericDate: Unix seconds, which may have a fraction."""
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LATEST:
        raise _refused(f"The bearer token's {name} is not in Unix seconds.")
    return value


def _as_text(value: object) -> str | None:
    """A claim as profiles use it: texts verbatim, numbers and truths as in JSON; nothing for what is nested or null."""
    if isinstance(value, str):
        return value
    return strict_json.dumps(value).decode() if isinstance(value, bool | int | float) else None
