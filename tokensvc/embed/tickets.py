"""Tickets: what a web app signs for its own front end, so that tokensvc knows who asks without a second sign-in.

    signer = TicketSigner(app.config["TICKET_KEY"])
    signer.sign(subject=str(current_user.id), profile="avatars", uses=1)

The front end sends it as `Authorization: Ticket …` or `X-Upload-Ticket: …`, never in a URL, which is logged. Its text
is signed and not encrypted: who holds a ticket can read it. The key is a random one for this purpose alone, known to
both sides; make it with `secrets.token_urlsafe(32)`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from itsdangerous import URLSafeTimedSerializer

SALT: Final = "tokensvc ticket"
"""Keeps what is signed for other purposes with the same key from being taken for a ticket, and the reverse."""

MIN_KEY_CHARACTERS: Final = 32
MAX_TEXT_CHARACTERS: Final = 128
_PROFILE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_CLAIM: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_MEMBERS: Final = frozenset({"name", "subject", "profile", "uses", "claims"})


class TicketSigner:
    """Signs tickets with a key of at least 32 characters; ValueError for a shorter one."""

    def __init__(self, secret_key: str) -> None:
        self._serializer = ticket_serializer([secret_key])

    def sign(
        self,
        *,
        subject: str,
        profile: str | None = None,
        uses: Literal[1] | None = None,
        claims: Mapping[str, str] | None = None,
    ) -> str:
        """Return the text of a new ticket for `subject`, whom the app has signed in; ValueError for unusable members.

        `profile` binds it to one profile of tokensvc. With `uses=1` it is good for one credential; otherwise for any
        number until it is too old, as configured there. `claims` are texts for the profile's templates.
        """
        members = {
            "name": secrets.token_urlsafe(16),
            "subject": subject,
            "profile": profile,
            "uses": uses,
            "claims": dict(claims or {}),
        }
        if fault := ticket_fault(members):
            raise ValueError(fault)
        return self._serializer.dumps(members)


def ticket_serializer(secret_keys: Iterable[str]) -> URLSafeTimedSerializer:
    """The one that signs with the last key and verifies with any; ValueError for a key that is too short."""
    keys = list(secret_keys)
    if not keys or any(len(key) < MIN_KEY_CHARACTERS for key in keys):
        raise ValueError(f"a ticket key has at least {MIN_KEY_CHARACTERS} characters; make a random one")
    how = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    return URLSafeTimedSerializer(keys, salt=SALT, signer_kwargs=how)


def ticket_fault(members: object) -> str:
    """Say what is wrong with the members of a ticket; empty if nothing is.

    An unknown member is a fault: it may be a limit that this version does not know how to keep.
    """
    if not isinstance(members, dict) or members.keys() != _MEMBERS:
        return "a ticket has the members " + ", ".join(sorted(_MEMBERS))
    name, subject, profile, claims = (members[member] for member in ("name", "subject", "profile", "claims"))
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "name must be 22 URL-safe characters"
    if not _is_text(subject) or not subject or subject != subject.strip():
        return f"subject must be a text of 1 to {MAX_TEXT_CHARACTERS} printable characters"
    if profile is not None and not (isinstance(profile, str) and _PROFILE.fullmatch(profile)):
        return "profile must be the name of a profile, or None"
    if members["uses"] is not None and (type(members["uses"]) is not int or members["uses"] != 1):
        return "uses must be 1 or None"
    if not isinstance(claims, dict) or not all(
        isinstance(claim, str) and _CLAIM.fullmatch(claim) and _is_text(text) for claim, text in claims.items()
    ):
        return f"claims must be texts of at most {MAX_TEXT_CHARACTERS} printable characters, by names like team_id"
    return ""


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT_CHARACTERS and value.isprintable()
