"""What is kept of a caller's entitlement is what would be decided again, and for no longer than its second."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tokensvc.core.callers import Caller
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.keys import KeyPair, KeyRing, Secret
from tokensvc.core.policy import AskV1, AskV2, decide
from tokensvc.core.profiles import Limits, Profile, Rate
from tokensvc.service import entitlements
from tokensvc.service.entitlements import Entitlements

NOW = 1_800_000_000
CALLER = Caller("web", "u1", claims={"org": "acme"})
PROFILE = Profile(
    "users", "default", ("web",), force={"folder": "/{claims.org}/{date}"}, limits=Limits(rate=Rate(5, 60))
)


@pytest.fixture
def kept() -> Entitlements:
    pair = KeyPair("default", "public_a", Secret("private_a"))
    return Entitlements({"default": KeyRing((pair,), "public_a")})


def test_who_asks_again_in_the_same_second_is_decided_of_once(kept: Entitlements) -> None:
    first = kept.of(PROFILE, CALLER, AskV1(), NOW)
    again = replace(CALLER, claims=dict(CALLER.claims))
    assert kept.of(PROFILE, again, AskV1(), NOW) is first, "evidence that says the same makes an equal caller"


@pytest.mark.parametrize(
    ("profile", "caller", "ask", "now"),
    [
        (PROFILE, CALLER, AskV1(), NOW + 1),
        (PROFILE, CALLER, AskV1(), NOW + 86_400),
        (PROFILE, CALLER, AskV2({}), NOW),
        (PROFILE, CALLER, AskV1(expire=str(NOW + 60)), NOW),
        (PROFILE, CALLER, AskV2({}, expire=60), NOW),
        (PROFILE, replace(CALLER, subject="u2"), AskV1(), NOW),
        (PROFILE, replace(CALLER, claims={"org": "other"}), AskV1(), NOW),
        (replace(PROFILE, name="others"), CALLER, AskV1(), NOW),
        (replace(PROFILE, lifetime=60, limits=Limits()), CALLER, AskV1(), NOW),
    ],
)
def test_what_differs_is_decided_as_if_nobody_had_asked_before(
    kept: Entitlements, profile: Profile, caller: Caller, ask: AskV1 | AskV2, now: int
) -> None:
    first = kept.of(PROFILE, CALLER, AskV1(), NOW)
    other = kept.of(profile, caller, ask, now)
    expected = decide(profile, caller, ask, now)
    assert other is not first
    assert (other.text, other.terms.window) == (expected.to_text(), expected.window)
    assert (other.profile, other.caller) == (profile, caller)
    assert dict(other.facts) == {
        "version": ask.version,
        "account": "default",
        "profile": profile.name,
        "source": "web",
        "subject": caller.subject,
    }
    assert (other.quota is None) == (profile.limits.rate is None)


def test_one_who_may_no_longer_is_refused_in_the_same_second(kept: Entitlements) -> None:
    kept.of(PROFILE, CALLER, AskV1(), NOW)
    with pytest.raises(Refusal) as caught:
        kept.of(PROFILE, replace(CALLER, may=frozenset()), AskV1(), NOW)
    assert caught.value.code is Code.CALLER_FORBIDDEN


def test_a_time_that_a_client_asks_for_is_kept_for_nobody_else(kept: Entitlements) -> None:
    asked = kept.of(PROFILE, CALLER, AskV1(expire=str(NOW + 60)), NOW)
    assert asked.terms.window.lifetime == 60
    assert kept.of(PROFILE, CALLER, AskV1(), NOW).terms.window.lifetime == PROFILE.lifetime


def test_no_more_are_kept_than_some(kept: Entitlements, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entitlements, "_MOST_KEPT", 2)
    callers = [replace(CALLER, subject=f"u{number}") for number in range(3)]
    first, second, third = (kept.of(PROFILE, caller, AskV1(), NOW) for caller in callers)
    assert kept.of(PROFILE, callers[2], AskV1(), NOW) is third
    assert kept.of(PROFILE, callers[0], AskV1(), NOW) is not first
    assert kept.of(PROFILE, callers[1], AskV1(), NOW) is not second
