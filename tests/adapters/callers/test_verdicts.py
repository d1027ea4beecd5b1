"""What was verified a moment ago is not verified again, and is good for no longer than it would be without that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine

from tests.support.callers import SiblingApp, cookie_in
from tests.support.identity_provider import AUDIENCE, LIFETIME_SECONDS, NOW, IdentityProvider
from tokensvc.adapters.callers.bearer import LEEWAY_SECONDS, Bearer
from tokensvc.adapters.callers.session import FlaskSession
from tokensvc.adapters.callers.verdicts import MOST_REMEMBERED, REMEMBERED_SECONDS, Verdicts
from tokensvc.adapters.callers.verifying_keys import PUBLIC_KEY_ALGORITHMS, VerifyingKey, from_jwk
from tokensvc.core.callers import Caller, Presented
from tokensvc.core.errors import Refusal
from tokensvc.core.keys import Secret

KEY = "a-secret-key-of-the-app-0123456789"


@dataclass
class Hand:
    """A clock that is set by hand."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now


class Keys:
    """A key source of the keys that it holds now."""

    algorithms = PUBLIC_KEY_ALGORITHMS

    def __init__(self, *held: VerifyingKey) -> None:
        self.held = held

    def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        return next((key for key in self.held if key.kid == kid and algorithm in key.algorithms), None)


def key_of(provider: IdentityProvider) -> VerifyingKey:
    key = from_jwk(provider.signing[2].as_dict(private=False))
    assert key is not None
    return key


def bearer(provider: IdentityProvider, clock: Hand, keys: Keys, **options: Any) -> Bearer:
    return Bearer("mobile", issuer=provider.issuer, audience=AUDIENCE, keys=keys, clock=clock, **options)


def shows(token: str) -> Presented:
    return Presented({"authorization": f"Bearer {token}"}, {}, "203.0.113.7")


def named(caller: Caller | None) -> Caller:
    assert caller is not None
    return caller


def test_a_verdict_is_remembered_for_ten_seconds_and_not_one_more() -> None:
    verdicts: Verdicts[str] = Verdicts()
    verdicts.keep("evidence", "verdict", NOW)
    assert verdicts.find("evidence", NOW + REMEMBERED_SECONDS - 1) == "verdict"
    assert verdicts.find("evidence", NOW + REMEMBERED_SECONDS) is None


def test_a_clock_that_was_put_back_is_no_reason_to_believe_a_verdict_for_longer() -> None:
    verdicts: Verdicts[str] = Verdicts()
    verdicts.keep("evidence", "verdict", NOW)
    assert verdicts.find("evidence", NOW - 1) is None


def test_another_text_has_no_verdict() -> None:
    verdicts: Verdicts[str] = Verdicts()
    verdicts.keep("evidence", "verdict", NOW)
    assert verdicts.find("evidence ", NOW) is None


def test_no_more_than_so_many_are_remembered_and_none_by_its_text() -> None:
    verdicts: Verdicts[int] = Verdicts()
    for number in range(MOST_REMEMBERED + 1):
        verdicts.keep(f"evidence {number}", number, NOW)
        assert len(verdicts._kept) <= MOST_REMEMBERED
    assert verdicts.find(f"evidence {MOST_REMEMBERED}", NOW) == MOST_REMEMBERED
    assert "evidence" not in repr(verdicts._kept)


def test_a_token_that_was_verified_just_now_is_not_read_again() -> None:
    clock = Hand()
    with IdentityProvider() as provider:
        source, token = bearer(provider, clock, Keys(key_of(provider))), provider.token()
        first, second = (named(source.identify(shows(token))) for _ in range(2))
        clock.now += REMEMBERED_SECONDS
        third = named(source.identify(shows(token)))
    assert first == second == third
    assert second.claims is first.claims
    assert third.claims is not first.claims


def test_a_remembered_token_expires_at_its_own_second() -> None:
    clock = Hand(NOW + LIFETIME_SECONDS + LEEWAY_SECONDS - 1)
    with IdentityProvider() as provider:
        source, token = bearer(provider, clock, Keys(key_of(provider))), provider.token()
        named(source.identify(shows(token)))
        clock.now += 1
        with pytest.raises(Refusal, match="has expired"):
            source.identify(shows(token))


def test_a_remembered_token_becomes_too_old_at_its_own_second() -> None:
    clock = Hand(NOW + 60 + LEEWAY_SECONDS)
    with IdentityProvider() as provider:
        source, token = bearer(provider, clock, Keys(key_of(provider)), max_age=60), provider.token()
        named(source.identify(shows(token)))
        clock.now += 1
        with pytest.raises(Refusal, match="too long ago"):
            source.identify(shows(token))


def test_a_key_that_is_withdrawn_takes_remembered_tokens_with_it() -> None:
    with IdentityProvider() as provider:
        keys = Keys(key_of(provider))
        source, token = bearer(provider, Hand(), keys), provider.token()
        named(source.identify(shows(token)))
        keys.held = ()
        with pytest.raises(Refusal, match="does not verify"):
            source.identify(shows(token))


def test_a_key_that_is_replaced_under_its_name_takes_remembered_tokens_with_it() -> None:
    with IdentityProvider() as provider:
        own = key_of(provider)
        keys = Keys(own)
        source, token = bearer(provider, Hand(), keys), provider.token()
        named(source.identify(shows(token)))
        provider.rotate()
        keys.held = (VerifyingKey(own.algorithms, key_of(provider).key, own.kid),)
        with pytest.raises(Refusal, match="does not verify"):
            source.identify(shows(token))


def test_a_forged_token_beside_a_remembered_one_is_refused_each_time() -> None:
    with IdentityProvider() as provider:
        source, token = bearer(provider, Hand(), Keys(key_of(provider))), provider.token()
        named(source.identify(shows(token)))
        head, payload, signature = token.split(".")
        forged = f"{head}.{payload}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
        for _ in range(2):
            with pytest.raises(Refusal, match="does not verify"):
                source.identify(shows(forged))


def test_a_remembered_session_becomes_too_old_at_its_own_second() -> None:
    with time_machine.travel(datetime.fromtimestamp(NOW, UTC), tick=False):
        cookie = SiblingApp(KEY).sign_in(user_id="u1")
    clock = Hand(NOW + 100)
    source = FlaskSession("web", [Secret(KEY)], clock=clock, max_age=100)
    assert source.identify(cookie_in(cookie)) == source.identify(cookie_in(cookie)) == Caller("web", "u1")
    clock.now += 1
    with pytest.raises(Refusal, match="too old"):
        source.identify(cookie_in(cookie))


def test_a_forged_session_beside_a_remembered_one_is_refused_each_time() -> None:
    with time_machine.travel(datetime.fromtimestamp(NOW, UTC), tick=False):
        cookie = SiblingApp(KEY).sign_in(user_id="u1")
    source = FlaskSession("web", [Secret(KEY)], clock=Hand())
    named(source.identify(cookie_in(cookie)))
    for _ in range(2):
        with pytest.raises(Refusal, match="not genuine"):
            source.identify(cookie_in(cookie[:-1] + ("A" if cookie[-1] != "A" else "Q")))
