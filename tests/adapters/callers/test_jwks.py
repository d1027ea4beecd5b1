"""The provider's keys: fetched once however many ask, kept when it is down, and asked for again within bounds.

Each test counts what the provider was asked, exactly.
"""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from tests.support.identity_provider import (
    AUDIENCE,
    NOW,
    QUICK_FAILURES,
    SLOW_FAILURES,
    Hand,
    IdentityProvider,
    Notes,
    Way,
    keys_of,
    new_key,
    no_one_there,
)
from tests.support.processes import until
from tests.support.tls import make_certificate
from tokensvc.adapters.callers import jwks
from tokensvc.adapters.callers.bearer import Bearer
from tokensvc.adapters.callers.fetch import MAX_BYTES, NotFetched, check_url, fetch
from tokensvc.adapters.callers.jwks import (
    DEFAULT_FRESH_SECONDS,
    FETCH_SECONDS,
    RETRY_SECONDS,
    STALE_SECONDS,
    UNKNOWN_AGAIN_SECONDS,
    Jwks,
)
from tokensvc.core.callers import Presented
from tokensvc.core.errors import Code, Outage, Refusal

FIRST = "key-1-RS256"


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as serving:
        yield serving


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch may take 0.2 s instead of 2 s, for providers that would take all of it."""
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.2)


def crowd(size: int, act: Callable[[], Any]) -> Callable[[], list[Any]]:
    """Start `size` threads that do it at the same moment. Call what is returned for what each got, or its exception."""
    got: list[Any] = []
    start = threading.Barrier(size)

    def one() -> None:
        start.wait()
        try:
            got.append(act())
        except (Outage, Refusal) as exc:
            got.append(exc)

    threads = [threading.Thread(target=one) for _ in range(size)]
    for thread in threads:
        thread.start()

    def results() -> list[Any]:
        for thread in threads:
            thread.join(10)
        assert len(got) == size
        return got

    return results


# ---- Fresh keys


def test_keys_are_fetched_when_first_needed_and_then_kept(provider: IdentityProvider) -> None:
    keys = keys_of(provider, notes=(notes := Notes()))
    assert provider.hits == 0
    for _ in range(50):
        key = keys.find(FIRST, "RS256")
        assert key is not None
        assert key.kid == FIRST
    assert provider.hits == 1
    assert notes.events == [("keys_fetched", {"url": provider.jwks_url, "keys": 1, "ignored": 0})]


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        ("", DEFAULT_FRESH_SECONDS),
        ("public", DEFAULT_FRESH_SECONDS),
        ("max-age=x", DEFAULT_FRESH_SECONDS),
        ("s-maxage=120", DEFAULT_FRESH_SECONDS),
        ("public, max-age=300", 300),
        ("Max-Age = 300, public", 300),
        ("max-age=60", 60),
        ("max-age=59", 60),
        ("max-age=0", 60),
        ("max-age=3600", 3600),
        ("max-age=3601", 3600),
        ("max-age=9999999999", 3600),
        ("no-store", 60),
        ("no-cache, max-age=300", 60),
    ],
)
def test_keys_are_fresh_as_long_as_the_provider_says_within_bounds(
    provider: IdentityProvider, cache_control: str, seconds: int
) -> None:
    provider.cache_control = cache_control
    keys = keys_of(provider, clock := Hand())
    keys.find(FIRST, "RS256")
    clock.now += seconds - 0.01
    keys.find(FIRST, "RS256")
    assert provider.hits == 1
    clock.now += 0.01
    keys.find(FIRST, "RS256")
    assert provider.hits == 2


def test_a_withdrawn_key_is_gone_with_the_next_fetch(provider: IdentityProvider) -> None:
    keys = keys_of(provider, clock := Hand())
    provider.rotate()
    assert keys.find(FIRST, "RS256")
    provider.withdraw(FIRST)
    clock.now += DEFAULT_FRESH_SECONDS
    assert keys.find(FIRST, "RS256") is None


def test_only_an_only_key_needs_no_name(provider: IdentityProvider) -> None:
    keys = keys_of(provider, clock := Hand())
    assert keys.find(None, "RS256")
    assert keys.find(None, "ES256") is None
    provider.rotate("ES256")
    clock.now += DEFAULT_FRESH_SECONDS
    assert keys.find(None, "RS256")
    assert keys.find(None, "ES256")
    provider.rotate("RS256")
    clock.now += DEFAULT_FRESH_SECONDS
    assert keys.find(None, "RS256") is None
    assert keys.find(None, "ES256")


def test_a_key_is_found_for_its_own_algorithm_only(provider: IdentityProvider) -> None:
    keys = keys_of(provider)
    assert keys.find(FIRST, "RS256")
    for algorithm in ("PS256", "ES256", "HS256", "none"):
        assert keys.find(FIRST, algorithm) is None


def test_what_cannot_verify_is_ignored_and_the_rest_is_used(provider: IdentityProvider) -> None:
    shared = {"kty": "oct", "k": "c" * 43, "kid": "shared", "alg": "HS256"}
    leaked = {**RSAKey.generate_key(2048).as_dict(private=True), "kid": "leaked"}
    encrypting = {**new_key("RS256", "e").as_dict(private=False), "kid": "encrypting", "use": "enc"}
    provider.more_keys = [shared, leaked, encrypting, "odd", {}]
    keys = keys_of(provider, notes=(notes := Notes()))
    assert keys.find(FIRST, "RS256")
    assert notes.events == [("keys_fetched", {"url": provider.jwks_url, "keys": 1, "ignored": 5})]
    for kid in ("shared", "leaked", "encrypting"):
        for algorithm in ("HS256", "RS256"):
            assert keys.find(kid, algorithm) is None


# ---- One fetch at a time


def test_a_crowd_that_comes_first_causes_one_fetch(provider: IdentityProvider) -> None:
    provider.gate.clear()
    keys = keys_of(provider)
    results = crowd(32, lambda: keys.find(FIRST, "RS256"))
    until(lambda: provider.hits > 0)
    provider.gate.set()
    assert all(results())
    assert provider.hits == 1


def test_while_one_fetches_again_nobody_else_waits(provider: IdentityProvider) -> None:
    keys = keys_of(provider, clock := Hand())
    keys.find(FIRST, "RS256")
    clock.now += DEFAULT_FRESH_SECONDS
    provider.gate.clear()
    one = crowd(1, lambda: keys.find(FIRST, "RS256"))
    until(lambda: provider.hits == 2)
    started = time.monotonic()
    for _ in range(100):
        assert keys.find(FIRST, "RS256")
    assert time.monotonic() - started < 1
    provider.gate.set()
    assert all(one())
    assert provider.hits == 2


def test_a_crowd_with_a_new_key_causes_one_fetch_and_all_are_served(provider: IdentityProvider) -> None:
    keys = keys_of(provider)
    keys.find(FIRST, "RS256")
    new = provider.rotate()
    provider.gate.clear()
    results = crowd(32, lambda: keys.find(new, "RS256"))
    until(lambda: provider.hits > 1)
    provider.gate.set()
    assert all(results())
    assert provider.hits == 2


# ---- Unknown names


def test_a_storm_of_unknown_names_causes_a_fetch_every_30_s(provider: IdentityProvider) -> None:
    keys = keys_of(provider, clock := Hand())
    keys.find(FIRST, "RS256")
    storm = iter(range(10_000))
    for hits in (2, 3, 4):
        results = crowd(8, lambda: [keys.find(f"unknown-{next(storm)}", "RS256") for _ in range(40)])
        assert not any(key for keys_found in results() for key in keys_found)
        assert provider.hits == hits
        clock.now += UNKNOWN_AGAIN_SECONDS - 0.01
        assert keys.find("unknown", "RS256") is None
        assert provider.hits == hits
        clock.now += 0.01
    assert UNKNOWN_AGAIN_SECONDS == 30


def test_known_names_are_served_in_the_storm(provider: IdentityProvider) -> None:
    keys = keys_of(provider)
    keys.find(FIRST, "RS256")
    provider.gate.clear()
    storm = crowd(4, lambda: keys.find("unknown", "RS256"))
    until(lambda: provider.hits == 2)
    started = time.monotonic()
    for _ in range(100):
        assert keys.find(FIRST, "RS256")
    assert time.monotonic() - started < 1
    provider.gate.set()
    assert storm() == [None] * 4


# ---- Outages


@pytest.mark.parametrize("way", QUICK_FAILURES)
def test_a_provider_that_fails_from_the_start_is_an_outage(provider: IdentityProvider, way: Way) -> None:
    provider.way = way
    keys = keys_of(provider, notes=(notes := Notes()))
    with pytest.raises(Outage) as outage:
        keys.find(FIRST, "RS256")
    assert outage.value.retry_after == RETRY_SECONDS
    assert provider.hits == 1
    [(event, facts)] = notes.events
    assert (event, facts["url"]) == ("keys_missed", provider.jwks_url)
    assert facts["reason"]
    assert provider.elsewhere == 0


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("way", SLOW_FAILURES)
def test_a_provider_that_does_not_come_to_an_end_is_an_outage(provider: IdentityProvider, way: Way) -> None:
    provider.way = way
    keys = keys_of(provider, notes=(notes := Notes()))
    started = time.monotonic()
    with pytest.raises(Outage):
        keys.find(FIRST, "RS256")
    assert time.monotonic() - started < 1.5
    assert notes.events[0][1]["reason"] == "no whole answer in time"
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "fetch keys"])
    assert FETCH_SECONDS == 2


def test_a_provider_that_is_not_there_is_an_outage() -> None:
    with no_one_there() as url:
        keys = Jwks(url, monotonic=Hand(), audit=(notes := Notes()))
        with pytest.raises(Outage):
            keys.find(FIRST, "RS256")
    assert notes.events == [("keys_missed", {"url": url, "reason": "ConnectionRefusedError instead of an answer"})]


def test_a_host_that_is_no_name_is_an_outage() -> None:
    keys = Jwks("https://id..example/jwks", monotonic=Hand(), audit=(notes := Notes()))
    with pytest.raises(Outage):
        keys.find(FIRST, "RS256")
    assert notes.events[0][1]["reason"] == "UnicodeError instead of an answer"


@pytest.mark.usefixtures("quick")
def test_a_crowd_before_a_silent_provider_is_told_at_once(provider: IdentityProvider) -> None:
    """16 callers, one behind the other, would be 3 s."""
    provider.way = Way.SILENT
    keys = keys_of(provider)
    started = time.monotonic()
    assert all(isinstance(one, Outage) for one in crowd(16, lambda: keys.find(FIRST, "RS256"))())
    assert time.monotonic() - started < 1.5
    assert provider.hits == 1


@pytest.mark.parametrize("way", QUICK_FAILURES)
def test_old_keys_serve_for_a_day_when_the_provider_fails(provider: IdentityProvider, way: Way) -> None:
    keys = keys_of(provider, clock := Hand())
    keys.find(FIRST, "RS256")
    provider.way = way
    clock.now += DEFAULT_FRESH_SECONDS
    assert keys.find(FIRST, "RS256")
    assert provider.hits == 2
    clock.now += STALE_SECONDS - DEFAULT_FRESH_SECONDS - 0.01
    assert keys.find(FIRST, "RS256")
    assert provider.hits == 3
    clock.now += 0.01
    with pytest.raises(Outage):
        keys.find(FIRST, "RS256")
    assert provider.elsewhere == 0


def test_a_provider_that_failed_is_asked_again_after_5_s(provider: IdentityProvider) -> None:
    provider.way = Way.STATUS_503
    keys = keys_of(provider, clock := Hand())
    for _ in range(10):
        with pytest.raises(Outage):
            keys.find(FIRST, "RS256")
    clock.now += RETRY_SECONDS - 0.01
    with pytest.raises(Outage) as outage:
        keys.find(FIRST, "RS256")
    assert outage.value.retry_after == 1
    assert provider.hits == 1
    provider.way = Way.WELL
    clock.now += 0.01
    assert keys.find(FIRST, "RS256")
    assert provider.hits == 2


def test_old_keys_are_fetched_again_every_5_s_until_it_succeeds(provider: IdentityProvider) -> None:
    keys = keys_of(provider, clock := Hand())
    keys.find(FIRST, "RS256")
    clock.now += DEFAULT_FRESH_SECONDS
    provider.way = Way.STATUS_503
    for hits in (2, 3, 4):
        for _ in range(10):
            assert keys.find(FIRST, "RS256")
        assert provider.hits == hits
        clock.now += RETRY_SECONDS
    provider.way = Way.WELL
    for _ in range(10):
        assert keys.find(FIRST, "RS256")
    assert provider.hits == 5


def test_an_unknown_name_is_neither_yes_nor_no_while_the_provider_is_down(provider: IdentityProvider) -> None:
    """It may be of a key that we have not heard of yet."""
    keys = keys_of(provider, clock := Hand())
    keys.find(FIRST, "RS256")
    provider.way = Way.STATUS_503
    new = provider.rotate()
    for _ in range(5):
        with pytest.raises(Outage):
            keys.find(new, "RS256")
    assert provider.hits == 2
    assert keys.find(FIRST, "RS256")
    provider.way = Way.WELL
    clock.now += UNKNOWN_AGAIN_SECONDS
    assert keys.find(new, "RS256")
    assert keys.find("unknown", "RS256") is None


def test_a_failed_fetch_for_an_unknown_name_takes_no_key_away(provider: IdentityProvider) -> None:
    keys = keys_of(provider)
    keys.find(FIRST, "RS256")
    provider.way = Way.NO_KEYS
    with pytest.raises(Outage):
        keys.find("unknown", "RS256")
    assert keys.find(FIRST, "RS256")


# ---- Under load, with tokens


def shows(token: str) -> Presented:
    return Presented({"authorization": f"Bearer {token}"}, {}, "203.0.113.7")


class Load:
    """Threads that present good tokens all the time, of whichever is the newest key."""

    def __init__(self, source: Bearer, token: str) -> None:
        self.token, self.served, self.refusals = token, 0, list[Exception]()
        self._source, self._stop = source, threading.Event()
        self._threads = [threading.Thread(target=self._present) for _ in range(6)]
        for thread in self._threads:
            thread.start()

    def _present(self) -> None:
        while not self._stop.is_set():
            try:
                caller = self._source.identify(shows(self.token))
                assert caller is not None
            except (Refusal, Outage, AssertionError) as exc:
                self.refusals.append(exc)
            self.served += 1

    def more(self, provider: IdentityProvider, notes: Notes, hits: int) -> None:
        """Wait until so many fetches are over, and see that there is no other while more are served."""
        until(lambda: len(notes.events) >= hits)
        enough = self.served + 120
        until(lambda: self.served >= enough)
        assert provider.hits == hits

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)


def test_rotation_and_outage_under_load_refuse_nobody_wrongly(provider: IdentityProvider) -> None:
    clock = Hand()
    keys = keys_of(provider, clock, notes := Notes())
    source = Bearer("mobile", issuer=provider.issuer, audience=AUDIENCE, keys=keys, clock=lambda: NOW)
    old = provider.token()
    load = Load(source, old)
    try:
        load.more(provider, notes, hits=1)
        provider.rotate()  # the old one is still published; both are in use
        load.token = provider.token()
        load.more(provider, notes, hits=2)
        load.token = old
        load.more(provider, notes, hits=2)
        provider.way = Way.STATUS_503
        clock.now += DEFAULT_FRESH_SECONDS
        load.more(provider, notes, hits=3)
        clock.now += RETRY_SECONDS
        load.more(provider, notes, hits=4)
        provider.way = Way.WELL
        clock.now += RETRY_SECONDS
        load.more(provider, notes, hits=5)
    finally:
        load.end()
    assert load.refusals == []
    provider.withdraw(FIRST)
    clock.now += DEFAULT_FRESH_SECONDS
    source.identify(shows(provider.token()))
    with pytest.raises(Refusal) as refused:
        source.identify(shows(old))
    assert refused.value.code is Code.CALLER_INVALID


def test_a_good_token_is_an_outage_and_no_refusal_without_keys(provider: IdentityProvider) -> None:
    provider.way = Way.STATUS_503
    source = Bearer("mobile", issuer=provider.issuer, audience=AUDIENCE, keys=keys_of(provider), clock=lambda: NOW)
    with pytest.raises(Outage):
        source.identify(shows(provider.token()))


# ---- The fetch itself


def test_the_discovery_document_says_where_the_keys_are(provider: IdentityProvider) -> None:
    assert fetch(f"{provider.issuer}/.well-known/openid-configuration", seconds=2).body == provider.discovery()


@pytest.mark.parametrize(
    "url",
    [
        "https://id.example/jwks",
        "https://id.example:8443/jwks?tenant=a",
        "http://127.0.0.1:8080/jwks",
        "http://127.9.9.9/jwks",
        "http://[::1]:1/jwks",
        "http://localhost/jwks",
    ],
)
def test_keys_come_over_https_or_from_this_machine(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example/jwks",
        "http://10.0.0.1/jwks",
        "http://localhost.example/jwks",
        "http://127.0.0.1.example/jwks",
        "http://0.0.0.0/jwks",
        "ftp://127.0.0.1/jwks",
        "file:///etc/keys",
        "//id.example/jwks",
        "id.example/jwks",
        "",
        "https://",
        "https://user@id.example/jwks",
        "https://user:secret@id.example/jwks",
        "https://id.example/jwks#x",
        "https://id.example/a b",
        "https://id.example/a\n",
        "https://id.example/é",
        "https://id.example:port/",
        "https://id.example:99999/",
    ],
)
def test_other_urls_are_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Jwks(url, monotonic=Hand(), audit=Notes())


@pytest.mark.parametrize(("length", "is_fetched"), [(MAX_BYTES, True), (MAX_BYTES + 1, False)])
def test_a_body_is_at_most_256_kib(provider: IdentityProvider, length: int, *, is_fetched: bool) -> None:
    provider.pad_to = length
    if is_fetched:
        assert len(fetch(provider.jwks_url, seconds=2).body) == length
    else:
        with pytest.raises(NotFetched, match="more than 262144 bytes"):
            fetch(provider.jwks_url, seconds=2)


def test_a_provider_is_known_by_its_certificate(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(made.certificate_path, made.key_path)
    with IdentityProvider(tls=serving) as provider:
        stranger = Jwks(provider.jwks_url, monotonic=Hand(), audit=(notes := Notes()))
        with pytest.raises(Outage):
            stranger.find(FIRST, "RS256")
        assert notes.events[0][1]["reason"] == "SSLCertVerificationError instead of an answer"
        assert provider.hits == 0
        trusting = ssl.create_default_context(cafile=made.certificate_path)
        assert Jwks(provider.jwks_url, monotonic=Hand(), audit=Notes(), tls=trusting).find(FIRST, "RS256")


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import gevent
from tests.support.identity_provider import IdentityProvider, Way
from tokensvc.adapters.callers.fetch import NotFetched, fetch
with IdentityProvider() as provider:
    assert fetch(provider.jwks_url, seconds=2).body
    provider.way = Way.SILENT
    ticks = []
    ticking = gevent.spawn(lambda: [(ticks.append(1), gevent.sleep(0.01)) for _ in range(1000)])
    try:
        fetch(provider.jwks_url, seconds=0.3)
    except NotFetched:
        print("ticks", len(ticks))
    ticking.kill()
"""


def test_under_gevent_others_go_on_while_a_fetch_waits() -> None:
    done = subprocess.run([sys.executable, "-c", GREENLETS], capture_output=True, text=True, timeout=30, check=False)
    name, _, ticks = done.stdout.partition(" ")
    assert name == "ticks", done.stderr
    assert int(ticks) > 5
