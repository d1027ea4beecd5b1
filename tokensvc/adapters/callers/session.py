"""Callers that are signed in to a sibling Flask app: its session cookie, signed with a key that both know.

Flask's own salt, digest and JSON are taken from Flask, so that they stay the same; nothing else of it is used here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from flask.sessions import SecureCookieSessionInterface
from itsdangerous import URLSafeTimedSerializer

from tokensvc.core.callers import Caller, Evidence, Presented, require_subject
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.keys import Secret
from tokensvc.ports import Clock

from .signed import read_signed
from .verdicts import Verdicts

MAX_AGE_SECONDS: Final = 31 * 24 * 3600
"""Flask's PERMANENT_SESSION_LIFETIME, which it also holds every session cookie to."""


class FlaskSession:
    """Caller source: the session cookie of an app.

    `secret_keys` are the app's SECRET_KEY and then its SECRET_KEY_FALLBACKS; ValueError without any. `subject` is the
    entry that names the caller. `claims` are further entries (text or number) that the profile's templates may use.
    """

    evidence: Final[Evidence] = "cookie"

    def __init__(
        self,
        source: str,
        secret_keys: Sequence[Secret],
        *,
        clock: Clock,
        cookie: str = "session",
        subject: str = "user_id",
        claims: Sequence[str] = (),
        max_age: int = MAX_AGE_SECONDS,
    ) -> None:
        if not secret_keys or not all(key.reveal() for key in secret_keys):
            raise ValueError("a session source needs the app's SECRET_KEY, and no empty one")
        self._source = source
        self._serializer = _flask_serializer(secret_keys)
        self._clock = clock
        self._cookie = cookie
        self._subject = subject
        self._claims = tuple(claims)
        self._max_age = max_age
        self._verdicts: Verdicts[tuple[Any, int]] = Verdicts()

    def identify(self, presented: Presented) -> Caller | None:
        """Return who is signed in. A genuine session without the entry is a visitor's who is not: no evidence."""
        cookie = presented.cookie(self._cookie)
        if cookie is None:
            return None
        session, _ = read_signed(
            self._serializer,
            cookie,
            now=self._clock(),
            max_age=self._max_age,
            what="session cookie",
            remedy="Sign in again.",
            verdicts=self._verdicts,
        )
        if not isinstance(session, dict):
            raise _unusable(self._subject)
        subject = _text(session, self._subject)
        if not subject:
            return None
        found = {name: _text(session, name) for name in self._claims}
        claims = {name: text for name, text in found.items() if text is not None}
        return Caller(self._source, require_subject(subject), claims=claims)


def _flask_serializer(secret_keys: Sequence[Secret]) -> URLSafeTimedSerializer:
    flask = SecureCookieSessionInterface
    how = {"key_derivation": flask.key_derivation, "digest_method": flask.digest_method}
    keys = [key.reveal() for key in reversed(secret_keys)]  # itsdangerous has the newest last
    return URLSafeTimedSerializer(keys, salt=flask.salt, serializer=flask.serializer, signer_kwargs=how)


def _text(session: Mapping[str, Any], name: str) -> str | None:
    value = session.get(name)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, UUID) or type(value) is int:  # bool is an int to isinstance, and names nobody
        return str(value)
    raise _unusable(name)


def _unusable(name: str) -> Refusal:
    return Refusal(
        Code.CALLER_INVALID,
        f"The session's {name} is neither a text nor a number.",
        "Configure the entry of the session that holds the user's id.",
    )
