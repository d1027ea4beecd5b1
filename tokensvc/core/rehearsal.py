"""A decision without its consequences: nothing is signed with a key of ours, recorded or counted.

So limits that are counted (rate, per day, outstanding) are not rehearsed. All else is decided by the code that issues,
up to the length of the token.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from . import policy, strict_json, v2
from .callers import Caller, require_subject
from .errors import Refusal
from .grants import Grant
from .keys import KeyPair, Secret
from .policy import AskV1, AskV2
from .profiles import Profile, find_profile

_STAND_IN: Final = Secret("stands in for the private key of the account")


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The grant or the refusal, and how it came to it: one line a rule. `claims` are those of a v2 JWT."""

    trace: tuple[str, ...]
    grant: Grant | None = None
    claims: Mapping[str, Any] | None = None
    refusal: Refusal | None = None


def rehearse(
    profiles: Mapping[str, Profile],
    public_keys: Mapping[str, str],
    profile_name: str,
    caller: Caller,
    ask: AskV1 | AskV2,
    now: int,
) -> Rehearsed:
    """Decide at `now` (Unix seconds) what this ask would come to. `public_keys` is the one that signs, by account."""
    trace: list[str] = []
    try:
        profile = find_profile(profiles, profile_name)
        require_subject(caller.subject)
        grant = policy.decide(profile, caller, ask, now, trace=trace)
        claims = _claims(public_keys[grant.account], grant) if grant.version == "v2" else None
    except Refusal as refusal:
        return Rehearsed(tuple(trace), refusal=refusal)
    return Rehearsed(tuple(trace), grant, claims)


def _claims(public_key: str, grant: Grant) -> dict[str, Any]:
    """Of the JWT that would be minted; it is, with a stand-in's key, so that one that is too long is refused here."""
    token = v2.mint(KeyPair(grant.account, public_key, _STAND_IN), grant.parameters, grant.window)
    return strict_json.loads_object(base64.urlsafe_b64decode(v2.signing_input(token).split(b".")[1] + b"=="))
