"""Every caller source over HTTP: its good evidence is accepted, and every bad one refused alike, with nothing recorded.

The sources are configured as an operator does it, and stand on what others have made: a Flask app's own cookie, tokens
of an identity provider that is served, tickets by the module that web apps import. Those that sign share one key here,
so that nothing but their purpose keeps them apart.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import jwt
import pytest
import time_machine
from itsdangerous import URLSafeTimedSerializer
from werkzeug.test import TestResponse

from tests.support.app import Service, Tables
from tests.support.callers import SiblingApp
from tests.support.identity_provider import AUDIENCE, Hand, IdentityProvider, Way, b64, new_key, sign
from tokensvc.adapters import api_keys
from tokensvc.adapters.demo_sign_in import COOKIE
from tokensvc.core import keys as core_keys
from tokensvc.core.mac import hmac_sha256
from tokensvc.embed.tickets import SALT, TicketSigner

from .conftest import ServiceMaker, problem_of

KEY: Final = "one-key-for-all-of-them-CANARY-0"
OTHER_KEY: Final = "another-key-of-somebody-else-000"
PROXY: Final = "192.0.2.10"
OWN_PAGE: Final = {"Sec-Fetch-Site": "same-origin"}
SOURCES: Final = ("backend", "web", "mobile", "ticket", "proxy", "demo", "guests")
SUBJECTS: Final = {"backend": "ci", "demo": "demo", "guests": "127.0.0.1"}
SIGNED: Final = ("backend", "web", "mobile", "ticket", "demo")
REFUSED_HEADERS: Final = {
    *("Content-Type", "Content-Length", "Cache-Control", "X-Tokensvc-Code", "X-Request-Id", "Vary"),
}

Headers = dict[str, str]


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider(now=int(time.time())) as served:
        yield served


def trusting(provider: IdentityProvider) -> Callable[[Tables], None]:
    """A profile for each source, by its name; one more that trusts all of them; and a second one of the ticket's."""

    def change(tables: Tables) -> None:
        tables["proxies"] = [PROXY]
        tables["callers"] |= {
            "web": {"kind": "session", "secret_key": KEY},
            "mobile": {
                "kind": "bearer",
                "issuer": provider.issuer,
                "audience": AUDIENCE,
                "jwks_url": provider.jwks_url,
            },
            "ticket": {"kind": "ticket", "secret_key": KEY},
            "proxy": {"kind": "forwarded", "header": "X-Forwarded-User", "trusted": [PROXY]},
            "guests": {"kind": "anonymous"},
        }
        tables["callers"]["demo"]["secret_key"] = KEY
        tables["profiles"] |= {name: {"callers": [name], "public": name == "guests"} for name in SOURCES}
        tables["profiles"]["everyone"] = {"callers": list(SOURCES), "public": True}
        tables["profiles"]["strict"] = {"callers": list(SOURCES[:-1])}

    return change


@dataclass
class World:
    """A running service with every kind of caller source, and the provider that it knows."""

    service: Service
    provider: IdentityProvider
    log: list[str]

    def ask(self, profile: str, headers: Headers, *, peer: str = "127.0.0.1", method: str = "GET") -> TestResponse:
        """Ask for a credential, as a client at that address."""
        how: dict[str, Any] = {"json": {"uploadPayload": {"fileName": "a.png"}}} if method == "POST" else {}
        how["environ_base"] = {"REMOTE_ADDR": peer}
        return self.service.send(method, f"/auth/{profile}", headers, **how)

    def issued(self) -> list[str]:
        """The lines of the log that say so, up to now; and forget them."""
        lines = [line for line in self.log if '"event": "issued"' in line]
        self.log.clear()
        return lines

    def text(self, source: str) -> str:
        """Good evidence of that source, as a text; it is for u1 wherever it can be."""
        match source:
            case "backend":
                return self.service.api_key
            case "web":
                return SiblingApp(KEY).sign_in(user_id="u1")
            case "mobile":
                return self.provider.token()
            case "ticket":
                return TicketSigner(KEY).sign(subject="u1")
            case "demo":
                return signed("demo", salt="tokensvc demo sign-in")
            case _:
                return "u1"


@pytest.fixture
def world(make_service: ServiceMaker, provider: IdentityProvider, log: list[str]) -> World:
    service: Service = make_service(change=trusting(provider))
    service.client = service.app.test_client(use_cookies=False)  # a Cookie header is sent as it stands
    return World(service, provider, log)


def signed(content: Any, *, salt: str, key: str = KEY, how: Any = None) -> str:
    """What itsdangerous makes of it."""
    text = URLSafeTimedSerializer(key, salt=salt, signer_kwargs=how).dumps(content)
    assert isinstance(text, str)
    return text


def shown(source: str, text: str) -> Headers:
    """A request's headers with a text in the place of that source's evidence."""
    match source:
        case "backend" | "mobile":
            return {"Authorization": f"Bearer {text}"}
        case "web":
            return {**OWN_PAGE, "Cookie": f"session={text}"}
        case "demo":
            return {**OWN_PAGE, "Cookie": f"{COOKIE}={text}"}
        case "ticket":
            return {"X-Upload-Ticket": text}
        case "proxy":
            return {**OWN_PAGE, "X-Forwarded-User": text}
        case _:
            return {}


def peer_of(source: str) -> str:
    """Who brings evidence of that source."""
    return PROXY if source == "proxy" else "127.0.0.1"


def stranger() -> str:
    """An address that nobody trusts, and that no other test is slowed down for."""
    return "2001:db8:" + ":".join(os.urandom(2).hex() for _ in range(6))


def ago(seconds: int) -> time_machine.travel:
    return time_machine.travel(datetime.fromtimestamp(time.time() - seconds, UTC), tick=False)


# Each alone


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("source", SOURCES)
def test_each_source_alone_is_accepted(world: World, source: str, method: str) -> None:
    before = world.service.on_record()
    answer = world.ask(source, shown(source, world.text(source)), peer=peer_of(source), method=method)
    assert answer.status_code == 200, answer.get_data()
    assert len(world.service.on_record() - before) == 1
    (line,) = world.issued()
    assert f'"source": "{source}", "subject": "{SUBJECTS.get(source, "u1")}"' in line


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_is_known_among_all(world: World, source: str) -> None:
    answer = world.ask("everyone", shown(source, world.text(source)), peer=peer_of(source))
    assert answer.status_code == 200, answer.get_data()
    (line,) = world.issued()
    assert f'"source": "{source}"' in line


# What is not good

Show = Callable[[World], Headers]


@dataclass(frozen=True)
class Bad:
    """Evidence that is not good, and the code and status with which it is refused."""

    source: str
    what: str
    show: Show
    code: str = "caller.invalid"
    status: int = 401
    peer: str = ""


def of(source: str, text: Callable[[World], str]) -> Show:
    return lambda world: shown(source, text(world))


def flipped(text: str, at: int = -9) -> str:
    """The text with one character changed, not among the last: those of base64 may say nothing."""
    return f"{text[:at]}{'A' if text[at] != 'A' else 'B'}{text[at + 1 :] if at != -1 else ''}"


def old(make: Callable[[], str], seconds: int) -> str:
    with ago(seconds):
        return make()


def other_claims(token: str) -> str:
    """A genuine token's header and signature around somebody else's name."""
    head, body, tail = token.split(".")
    return f"{head}.{b64(base64.urlsafe_b64decode(body + '==').replace(b'u1', b'u2'))}.{tail}"


def foreign(world: World) -> str:
    """A token with the provider's `kid`, by a key that is not the provider's."""
    kid, algorithm, _ = world.provider.signing
    return sign({"alg": algorithm, "kid": kid}, world.provider.claims(), new_key(algorithm, "foreign"), algorithm)


def by_public_key(world: World) -> str:
    """HMAC with what everybody may know: the text of the public key."""
    header = {"alg": "HS256", "kid": world.provider.signing[0]}
    text = ".".join(b64(json.dumps(part).encode()) for part in (header, world.provider.claims()))
    return f"{text}.{b64(hmac_sha256(world.provider.public_pem().encode(), text.encode()))}"


def unsigned(world: World) -> str:
    return jwt.encode(world.provider.claims(), None, algorithm="none", headers={"kid": world.provider.signing[0]})  # type: ignore[arg-type] # no key


def with_own_key(world: World) -> str:
    """It brings along the key by which to believe it."""
    own = new_key("RS256", "own")
    header = {"alg": "RS256", "kid": "own", "jwk": own.as_dict(private=False)}
    return sign(header, world.provider.claims(), own, "RS256")


def app(key: str = KEY, **entries: Any) -> str:
    return SiblingApp(key).sign_in(**(entries or {"user_id": "u1"}))


def ticket(key: str = KEY, **members: Any) -> str:
    return TicketSigner(key).sign(**{"subject": "u1", **members})


FLASK: Final = {"key_derivation": "hmac", "digest_method": hashlib.sha1}
TICKETS: Final = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
DEMO_SALT: Final = "tokensvc demo sign-in"
FORBIDDEN: Final = ("caller.forbidden", 403)
FOREIGN_PAGE: Final = ("origin.forbidden", 403)

BAD: Final = [
    # An api key.
    Bad("backend", "absent", lambda _: {}, "caller.missing"),
    Bad("backend", "unknown", of("backend", lambda _: "tsk_CANARY" + "A" * 24)),
    Bad("backend", "with a character changed", of("backend", lambda world: flipped(world.service.api_key))),
    Bad("backend", "cut", of("backend", lambda world: world.service.api_key[:-1])),
    Bad("backend", "longer", of("backend", lambda world: world.service.api_key + "A")),
    Bad("backend", "the prefix alone", of("backend", lambda _: "tsk_")),
    Bad(
        "backend",
        "what is configured of it",
        of("backend", lambda world: "tsk_" + hashlib.sha256(world.service.api_key.encode()).hexdigest()),
    ),
    Bad("backend", "of another source", of("backend", lambda world: world.service.stranger_key)),
    Bad("backend", "that may not issue", of("backend", lambda world: world.service.reader_key), *FORBIDDEN),
    # A Flask app's session.
    Bad("web", "absent", lambda _: OWN_PAGE, "caller.missing"),
    Bad("web", "forged", of("web", lambda _: flipped(app()))),
    Bad("web", "of an app with another key", of("web", lambda _: app(OTHER_KEY))),
    Bad("web", "expired", of("web", lambda _: old(app, 32 * 86_400))),
    Bad("web", "from the future", of("web", lambda _: old(app, -3600))),
    Bad("web", "signed for another purpose", of("web", lambda _: signed({"user_id": "u1"}, salt="reset", how=FLASK))),
    Bad("web", "of nobody who is signed in", of("web", lambda _: app(theme="dark")), "caller.missing"),
    Bad("web", "no session", of("web", lambda _: signed(["u1"], salt="cookie-session", how=FLASK))),
    Bad("web", "twice", lambda _: {**OWN_PAGE, "Cookie": f"session={app()}; session={app(user_id='u2')}"}),
    Bad(
        "web",
        "used by another site's page",
        lambda _: {**shown("web", app()), "Sec-Fetch-Site": "cross-site"},
        *FOREIGN_PAGE,
    ),
    Bad("web", "used by a page that is not shown", lambda _: {"Cookie": f"session={app()}"}, *FOREIGN_PAGE),
    # An identity provider's token.
    Bad("mobile", "absent", lambda _: {}, "caller.missing"),
    Bad("mobile", "forged", of("mobile", lambda world: flipped(world.provider.token()))),
    Bad("mobile", "of somebody else", of("mobile", lambda world: other_claims(world.provider.token()))),
    Bad("mobile", "by another's key", of("mobile", foreign)),
    Bad("mobile", "expired", of("mobile", lambda world: dated(world, -7200, -3600))),
    Bad("mobile", "not good yet", of("mobile", lambda world: dated(world, 3600, 7200))),
    Bad("mobile", "for another audience", of("mobile", lambda world: world.provider.token(aud="elsewhere"))),
    Bad("mobile", "for two audiences", of("mobile", lambda world: world.provider.token(aud=[AUDIENCE, "elsewhere"]))),
    Bad("mobile", "for no audience", of("mobile", lambda world: world.provider.token(aud=...))),
    Bad("mobile", "of another issuer", of("mobile", lambda world: world.provider.token(iss="https://evil.example"))),
    Bad("mobile", "of nobody", of("mobile", lambda world: world.provider.token(sub=...))),
    Bad("mobile", "with alg none", of("mobile", unsigned)),
    Bad("mobile", "signed by the public key", of("mobile", by_public_key)),
    Bad("mobile", "with another alg", of("mobile", lambda world: world.provider.token_with_header(alg="PS256"))),
    Bad("mobile", "with an unknown kid", of("mobile", lambda world: world.provider.token_with_header(kid="key-9"))),
    Bad("mobile", "with its own key", of("mobile", with_own_key)),
    Bad(
        "mobile",
        "an ID token of another kind",
        of("mobile", lambda world: world.provider.token_with_header(typ="secevent+jwt")),
    ),
    # A ticket.
    Bad("ticket", "absent", lambda _: {}, "caller.missing"),
    Bad("ticket", "forged", of("ticket", lambda _: flipped(ticket()))),
    Bad("ticket", "with another key", of("ticket", lambda _: ticket(OTHER_KEY))),
    Bad("ticket", "expired", of("ticket", lambda _: old(ticket, 400))),
    Bad("ticket", "from the future", of("ticket", lambda _: old(ticket, -400))),
    Bad(
        "ticket",
        "signed for another purpose",
        of("ticket", lambda _: signed({"subject": "u1"}, salt="reset", how=TICKETS)),
    ),
    Bad("ticket", "that holds too little", of("ticket", lambda _: signed({"subject": "u1"}, salt=SALT, how=TICKETS))),
    Bad("ticket", "of another profile", of("ticket", lambda _: ticket(profile="avatars")), *FORBIDDEN),
    Bad("ticket", "two of them", lambda _: {"Authorization": f"Ticket {ticket()}", "X-Upload-Ticket": ticket()}),
    # A proxy's header.
    Bad("proxy", "absent", lambda _: {}, "caller.missing", peer=PROXY),
    Bad("proxy", "spoofed by a stranger", of("proxy", lambda _: "u1"), peer="stranger"),
    Bad("proxy", "spoofed on this machine", of("proxy", lambda _: "u1"), peer="127.0.0.1"),
    Bad("proxy", "spoofed on a unix socket", of("proxy", lambda _: "u1"), peer=""),
    Bad("proxy", "added to by the client", of("proxy", lambda _: "u2,u1"), peer=PROXY),
    Bad("proxy", "with a name that is none", of("proxy", lambda _: "u" * 129), peer=PROXY),
    # The demo page's sign-in.
    Bad("demo", "absent", lambda _: OWN_PAGE, "caller.missing"),
    Bad("demo", "forged", of("demo", lambda world: flipped(world.text("demo")))),
    Bad("demo", "with another key", of("demo", lambda _: signed("demo", salt=DEMO_SALT, key=OTHER_KEY))),
    Bad("demo", "expired", of("demo", lambda _: old(lambda: signed("demo", salt=DEMO_SALT), 13 * 3600))),
    Bad("demo", "signed for another purpose", of("demo", lambda _: signed("demo", salt="reset"))),
    Bad("demo", "from another machine", of("demo", lambda world: world.text("demo")), *FORBIDDEN, peer="stranger"),
    # An address.
    Bad("guests", "that is none", lambda _: {"X-Forwarded-For": "unknown"}, peer=PROXY),
    Bad("guests", "that nobody knows", lambda _: {}, peer=""),
]


def dated(world: World, issued: int, expires: int) -> str:
    """A token with these times, in seconds from now."""
    now = int(time.time())
    return world.provider.token(iat=now + issued, exp=now + expires)


def require_refused(world: World, bad: Bad, headers: Headers, profile: str, method: str) -> None:
    peer = stranger() if bad.peer == "stranger" else bad.peer if bad.peer or bad.source in ("proxy", "guests") else None
    before = world.service.on_record()
    answer = world.ask(profile, headers, peer="127.0.0.1" if peer is None else peer, method=method)
    detail = problem_of(answer, bad.status, bad.code)
    assert detail
    assert {name for name, _ in answer.headers} - {"WWW-Authenticate"} == REFUSED_HEADERS
    assert world.service.on_record() == before
    assert not world.issued()
    told = answer.get_data(as_text=True) + "".join(world.log)
    for text in headers.values():
        evidence = text.rpartition(" ")[2].rpartition("=")[2]
        assert len(evidence) < 16 or evidence not in told


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{bad.source}: {bad.what}")
def test_what_is_not_good_is_refused_alike_and_leaves_no_trace(world: World, bad: Bad, method: str) -> None:
    require_refused(world, bad, bad.show(world), bad.source, method)


def test_every_source_is_held_to_what_is_forged_and_what_is_absent() -> None:
    """So that a source that is added to the service is added here."""
    assert {bad.source for bad in BAD} == set(SOURCES)
    assert {bad.source for bad in BAD if bad.what == "absent"} == {*SOURCES} - {"guests"}


def test_a_ticket_for_one_use_is_refused_the_second_time(world: World) -> None:
    once = shown("ticket", ticket(uses=1))
    assert world.ask("ticket", once).status_code == 200
    world.issued()
    require_refused(world, Bad("ticket", "used", lambda _: once), once, "ticket", "GET")


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        (kind, place)
        for kind in (*SIGNED, "private key", "public key", "v2 credential")
        for place in SOURCES[:-1]
        if kind != place
    ],
)
def test_evidence_of_one_kind_is_nothing_in_anothers_place(world: World, kind: str, place: str) -> None:
    """All that sign do it with one key, so only the purpose tells them apart. What we hand out is none."""
    texts = {"private key": world.service.private_key, "public key": world.service.public_key}
    text = texts[kind] if kind in texts else world.service.jwt({}) if kind == "v2 credential" else world.text(kind)
    world.log.clear()
    before = world.service.on_record()
    for profile in (place, "strict") if {kind, place} != {"backend", "mobile"} else (place,):
        answer = world.ask(profile, shown(place, text), peer="127.0.0.1")
        code = answer.get_json()["code"]
        assert code in ("caller.invalid", "caller.missing")
        problem_of(answer, 401, code)
        assert text not in answer.get_data(as_text=True)
    assert world.service.on_record() == before


def test_a_spoofed_address_is_nobody_s(world: World) -> None:
    """Without a trusted proxy X-Forwarded-For is the client's own text; behind one, all but its last entry is."""
    for peer, header, subject in (
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),
        (PROXY, "203.0.113.9, 198.51.100.8", "198.51.100.8"),
    ):
        assert world.ask("guests", {"X-Forwarded-For": header}, peer=peer).status_code == 200
        (line,) = world.issued()
        assert f'"subject": "{subject}"' in line


# Several sources on one profile

FORGED: Final = {
    "backend": "tsk_forged",
    "web": "forged",
    "mobile": "e30.e30.forged",
    "ticket": "forged",
    "proxy": "u1,u2",
    "demo": "forged",
}


def together(first: Headers, second: Headers) -> Headers | None:
    """Both in one request; None if they need the same place."""
    if (first.keys() & second.keys()) - {"Cookie", "Sec-Fetch-Site"}:
        return None
    cookies = "; ".join(headers["Cookie"] for headers in (first, second) if "Cookie" in headers)
    return {**first, **second, **({"Cookie": cookies} if cookies else {})}


@pytest.mark.parametrize("forged", FORGED)
def test_the_first_that_presents_itself_decides_and_a_forged_one_is_a_refusal(world: World, forged: str) -> None:
    compared = 0
    for good in FORGED:
        headers = together(shown(forged, FORGED[forged]), shown(good, world.text(good)))
        if good == forged or headers is None or {forged, good} == {"proxy", "demo"}:  # the two want different peers
            continue
        before = world.service.on_record()
        answer = world.ask("strict", headers, peer=PROXY if "proxy" in (forged, good) else "127.0.0.1")
        if SOURCES.index(forged) < SOURCES.index(good):
            problem_of(answer, 401, "caller.invalid")
            assert world.service.on_record() == before
        else:
            assert answer.status_code == 200, (good, answer.get_data())
            assert f'"source": "{good}"' in world.issued()[0]
        compared += 1
    assert compared >= 4


def test_guests_are_whoever_presents_nothing_and_nobody_who_forges(world: World) -> None:
    assert world.ask("everyone", {}).status_code == 200
    for forged, text in FORGED.items():
        problem_of(world.ask("everyone", shown(forged, text)), 401, "caller.invalid")


# No timing oracle: a stopwatch would tell little on a busy machine, so what is counted is what takes the time.


@pytest.mark.parametrize("presented", [0, 3, 7, None])
def test_api_keys_are_found_without_their_digests_and_compared_in_constant_time(
    make_service: ServiceMaker, monkeypatch: pytest.MonkeyPatch, presented: int | None
) -> None:
    """The table is one of numbers, which Python keys anew in each process: no time depends on how near a guess is."""
    texts = [f"tsk_{number:024}" for number in range(8)]
    digests = [hashlib.sha256(text.encode()).digest() for text in texts]

    def configure(tables: Tables) -> None:
        tables["callers"]["backend"]["keys"] = [
            {"id": f"k{number}", "sha256": digest.hex(), "subject": f"k{number}"}
            for number, digest in enumerate(digests)
        ]

    service: Service = make_service(change=configure)
    compared: list[tuple[bytes, bytes]] = []

    def same(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return left == right

    monkeypatch.setattr(api_keys, "same", same)
    text = "tsk_unknown" if presented is None else texts[presented]
    answer = service.send("GET", "/auth", {"Authorization": f"Bearer {text}"})
    assert answer.status_code == (401 if presented is None else 200)
    assert compared == ([] if presented is None else [(digests[presented], digests[presented])])
    sources = [source for source in service.issue.sources.values() if isinstance(source, api_keys.ApiKeys)]
    assert {type(number) for source in sources for number in source._callers} == {int}


@pytest.mark.parametrize("presented", ["first", "last", "unknown"])
def test_every_private_key_is_compared_whichever_is_presented(
    make_service: ServiceMaker, monkeypatch: pytest.MonkeyPatch, presented: str
) -> None:
    known = {name: f"private_CANARY{name}{'0' * 20}" for name in ("first", "middle", "last")}

    def configure(tables: Tables) -> None:
        pairs = [{"public_key": f"public_{name}", "private_key": text} for name, text in known.items()]
        tables["accounts"]["default"] = {"active": "public_first", "keys": pairs}

    service: Service = make_service(change=configure)
    compared: list[bytes] = []

    def same(left: bytes, right: bytes) -> bool:
        compared.append(left)
        return left == right

    monkeypatch.setattr(core_keys, "same", same)
    text = known.get(presented, "private_of_nobody_at_all")
    basic = "Basic " + base64.b64encode(f"{text}:".encode()).decode()
    answer = service.upload("v1", {"fileName": "a.png"}, Authorization=basic)
    assert answer.status_code == (403 if presented == "unknown" else 200)
    times = 1 if presented == "unknown" else 2  # before the body is read, and if that is good, with the form again
    assert compared == [text.encode() for text in known.values()] * times


# The identity provider's keys, under load

THREADS: Final = 8
REQUESTS: Final = 48


@dataclass
class Load:
    """Many at once ask the same; `hand` is the clock of what is held of the provider's keys."""

    world: World
    hand: Hand

    def ask(self, *tokens: str) -> set[tuple[int, str]]:
        """Statuses and codes of as many requests, with these tokens in turn; all have the same shape."""

        def one(number: int) -> tuple[int, str]:
            client = self.world.service.app.test_client(use_cookies=False)
            token = tokens[number % len(tokens)]
            answer = client.get("/auth/mobile", headers={"Authorization": f"Bearer {token}"})
            if answer.status_code == 200:
                return 200, ""
            code = str(answer.headers["X-Tokensvc-Code"])
            problem_of(answer, answer.status_code, code)
            assert ("Retry-After" in answer.headers) is (answer.status_code == 503)
            return answer.status_code, code

        with ThreadPoolExecutor(THREADS) as threads:
            return set(threads.map(one, range(REQUESTS)))


@pytest.fixture
def load(make_service: ServiceMaker, log: list[str]) -> Iterator[Load]:
    with IdentityProvider(now=int(time.time())) as own:
        service: Service = make_service(change=trusting(own))
        hand = Hand()
        source: Any = service.issue.sources["mobile"]
        source._keys._monotonic = hand
        yield Load(World(service, own, log), hand)


GOOD: Final = {(200, "")}
OUTAGE: Final = {(503, "store.unavailable")}


def test_a_rotation_under_load_is_noticed_by_one_fetch_and_refuses_nobody(load: Load) -> None:
    provider = load.world.provider
    first = provider.token()
    assert load.ask(first) == GOOD
    assert provider.hits == 1
    provider.rotate()
    assert load.ask(first, provider.token()) == GOOD
    assert provider.hits == 2
    withdrawn = provider.signing[0]
    load.hand.now += 700
    newest = provider.rotate()
    provider.withdraw(withdrawn)
    assert load.ask(provider.token()) == GOOD
    assert newest == provider.signing[0]
    assert provider.hits == 3


def test_a_withdrawn_key_is_refused_once_the_keys_are_old(load: Load) -> None:
    provider = load.world.provider
    kid, token = provider.signing[0], provider.token()
    assert load.ask(token) == GOOD
    provider.rotate()
    provider.withdraw(kid)
    load.hand.now += 700
    load.ask(token)  # who come while the keys are fetched go on with those that are held
    assert load.ask(token) == {(401, "caller.invalid")}


def test_an_outage_of_the_provider_under_load_is_no_outage_of_ours(load: Load) -> None:
    """Held keys go on to serve; what they cannot tell is an outage and no refusal; and nothing has to be restarted."""
    provider, records = load.world.provider, load.world.service
    known = provider.token()
    assert load.ask(known) == GOOD
    provider.way = Way.STATUS_503
    load.hand.now += 700
    assert load.ask(known) == GOOD
    assert provider.hits == 2  # one try for all of them
    provider.rotate()
    before = records.on_record()
    assert load.ask(provider.token()) == OUTAGE
    assert records.on_record() == before
    assert load.ask(known) == GOOD
    assert provider.hits == 3  # one more for all who come with an unknown key
    provider.way = Way.WELL
    load.hand.now += 6
    assert load.ask(known, provider.token()) == GOOD
    assert provider.hits == 4


def test_keys_of_which_nothing_was_heard_for_more_than_a_day_are_not_believed(load: Load) -> None:
    provider = load.world.provider
    assert load.ask(provider.token()) == GOOD
    provider.way = Way.STATUS_503
    load.hand.now += 86_399
    assert load.ask(provider.token()) == GOOD
    load.hand.now += 2
    assert load.ask(provider.token()) == OUTAGE


def test_a_start_while_the_provider_is_down_is_an_outage_until_it_is_back(load: Load) -> None:
    provider = load.world.provider
    provider.way = Way.HANGING_UP
    before = load.world.service.on_record()
    assert load.ask(provider.token()) == OUTAGE
    assert provider.hits == 1
    assert load.world.service.on_record() == before
    provider.way = Way.WELL
    load.hand.now += 6
    assert load.ask(provider.token()) == GOOD
