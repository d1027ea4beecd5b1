"""The development server's caller source: one demo user, signed in by a button, known by a signed cookie.

It answers to loopback peers only, whatever the configuration says: it is a door without a lock.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from itsdangerous import BadSignature, URLSafeTimedSerializer

from tokensvc.core.callers import Caller, Evidence, Presented
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.keys import Secret

COOKIE: Final = "tokensvc_demo"
SUBJECT: Final = "demo"
MAX_AGE_SECONDS: Final = 12 * 3600


class DemoSignIn:
    """Signs the demo user in, and knows the user again."""

    evidence: Final[Evidence] = "own cookie"

    def __init__(self, source: str, secret_key: Secret) -> None:
        self._source = source
        self._serializer = URLSafeTimedSerializer(secret_key.reveal(), salt="tokensvc demo sign-in")

    def sign_in(self, presented: Presented) -> str:
        """Return the cookie's value."""
        self._require_this_machine(presented)
        return self._serializer.dumps(SUBJECT)

    def identify(self, presented: Presented) -> Caller | None:
        """Return the demo user if the cookie is there and good."""
        cookie = presented.cookie(COOKIE)
        if not cookie:
            return None
        self._require_this_machine(presented)
        try:
            subject = self._serializer.loads(cookie, max_age=MAX_AGE_SECONDS)
        except BadSignature:
            raise Refusal(Code.CALLER_INVALID, "The demo sign-in is not valid or too old.", "Sign in again.") from None
        return Caller(self._source, str(subject))

    def _require_this_machine(self, presented: Presented) -> None:
        try:
            is_loopback = ip_address(presented.peer).is_loopback
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise Refusal(Code.CALLER_FORBIDDEN, "The demo sign-in works on the same machine only.")
        if presented.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Refusal(Code.ORIGIN_FORBIDDEN, "The demo sign-in is not for other sites' pages.")
