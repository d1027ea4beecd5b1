"""No evidence of one kind is taken for another's, even if all keys are the same one; and the first shown decides."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.support.app import Service
from tests.support.callers import SiblingApp
from tokensvc.adapters.api_keys import ApiKeys, Holder, new_api_key
from tokensvc.adapters.callers.anonymous import Anonymous
from tokensvc.adapters.callers.forwarded import Forwarded
from tokensvc.adapters.callers.session import FlaskSession
from tokensvc.adapters.callers.ticket import Tickets
from tokensvc.adapters.demo_sign_in import COOKIE, DemoSignIn
from tokensvc.adapters.logs import lines
from tokensvc.core.addresses import Peers
from tokensvc.core.keys import Secret
from tokensvc.embed.tickets import TicketSigner
from tokensvc.ports import CallerSource

from .conftest import SeatSources

KEY = "one-key-for-all-" * 2
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
API_KEY, API_KEY_SHA256 = new_api_key(lambda count: bytes(range(count)))


def sources() -> dict[str, CallerSource]:
    """One of each kind; those that sign do it with the same key."""

    def clock() -> int:
        return int(time.time())

    return {
        "backend": ApiKeys("backend", {API_KEY_SHA256: Holder("ci", frozenset({"issue"}))}),
        "ticket": Tickets("ticket", [Secret(KEY)], clock=clock),
        "web": FlaskSession("web", [Secret(KEY)], clock=clock),
        "demo": DemoSignIn("demo", Secret(KEY)),
        "proxy": Forwarded("proxy", header="X-Forwarded-User", trusted=Peers.parse(["127.0.0.1"])),
        "guests": Anonymous("guests", proxies=Peers()),
    }


@dataclass
class Evidence:
    """What a good caller of each kind shows, as a text, and where it is shown."""

    source: str
    text: str


def evidence() -> list[Evidence]:
    return [
        Evidence("backend", API_KEY),
        Evidence("ticket", TicketSigner(KEY).sign(subject="u1")),
        Evidence("web", SiblingApp(KEY).sign_in(user_id="u1")),
        Evidence("demo", DemoSignIn("demo", Secret(KEY))._serializer.dumps("demo")),
        Evidence("proxy", "u1"),
    ]


PLACES: dict[str, Callable[[str], dict[str, str]]] = {
    "backend": lambda text: {"Authorization": f"Bearer {text}"},
    "ticket": lambda text: {"Authorization": f"Ticket {text}"},
    "ticket, its own header": lambda text: {"X-Upload-Ticket": text},
    "web": lambda text: {"Cookie": f"session={text}"},
    "demo": lambda text: {"Cookie": f"{COOKIE}={text}"},
    "basic": lambda text: {"Authorization": "Basic " + base64.b64encode(f"{text}:".encode()).decode()},
    "bare": lambda text: {"Authorization": text},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["backend", "ticket", "web", "demo"])
def test_evidence_of_one_kind_is_good_in_its_own_place_only(seated: SeatSources, kind: str, place: str) -> None:
    known = {name: source for name, source in sources().items() if name not in {"proxy", "guests"}}
    service = seated(known)
    before = service.on_record()
    shown = next(each for each in evidence() if each.source == kind)
    answer = service.send("GET", "/auth", {**SAME_ORIGIN, **PLACES[place](shown.text)})
    if place.partition(",")[0] == kind:
        assert answer.status_code == 200
        assert len(service.on_record() - before) == 1
    else:
        assert (answer.status_code, answer.get_json()["code"][:7]) == (401, "caller.")
        assert answer.get_json().keys() == {
            *("type", "title", "status", "detail", "code", "request_id", "message", "help")
        }
        assert shown.text not in answer.get_data(as_text=True)
        assert service.on_record() == before


GOOD = {
    "backend": {"Authorization": f"Bearer {API_KEY}"},
    "ticket": {"X-Upload-Ticket": ""},
    "web": {"Cookie": ""},
    "demo": {"Cookie": ""},
    "proxy": {"X-Forwarded-User": "u1"},
    "guests": {},
}
FORGED = {
    "backend": {"Authorization": f"Bearer {API_KEY}x"},
    "ticket": {"X-Upload-Ticket": "x"},
    "web": {"Cookie": "session=x"},
    "demo": {"Cookie": f"{COOKIE}=x"},
    "proxy": {"X-Forwarded-User": "u1,u2"},
}


def good(name: str) -> dict[str, str]:
    texts = {each.source: each.text for each in evidence()}
    match name:
        case "ticket":
            return {"X-Upload-Ticket": texts["ticket"]}
        case "web":
            return {"Cookie": f"session={texts['web']}"}
        case "demo":
            return {"Cookie": f"{COOKIE}={texts['demo']}"}
        case _:
            return GOOD[name]


def joined(*shown: dict[str, str]) -> dict[str, str]:
    """All of it in one request."""
    cookies = "; ".join(headers["Cookie"] for headers in shown if "Cookie" in headers)
    headers = {name: text for headers in shown for name, text in headers.items() if name != "Cookie"}
    return {**SAME_ORIGIN, **headers, **({"Cookie": cookies} if cookies else {})}


def issued_to(service: Service, headers: dict[str, str]) -> str:
    with lines.written_to(io.StringIO()) as said:
        assert service.send("GET", "/auth", headers).status_code == 200
    (line,) = [line for line in said.getvalue().splitlines() if '"issued"' in line]
    return next(name for name in sources() if f'"source": "{name}"' in line)


@pytest.mark.parametrize("name", sources())
def test_each_kind_alone_is_known_among_all(seated: SeatSources, name: str) -> None:
    service = seated(sources())
    assert issued_to(service, joined(good(name))) == name


def test_of_several_that_are_good_the_first_in_the_profile_decides(seated: SeatSources) -> None:
    everything = joined(*(good(name) for name in sources()))
    named = list(sources())
    for order in (named[:-1], named[-2::-1], ["web", "proxy", "backend", "demo", "ticket"]):
        service = seated({name: sources()[name] for name in order})
        assert issued_to(service, everything) == order[0]


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_one_is_refused_although_a_later_one_is_good(seated: SeatSources, name: str) -> None:
    rest = [other for other in sources() if other != name]
    service = seated({other: sources()[other] for other in [name, *rest]})
    before = service.on_record()
    answer = service.send("GET", "/auth", joined(FORGED[name], *(good(other) for other in rest if other not in FORGED)))
    assert (answer.status_code, answer.get_json()["code"]) == (401, "caller.invalid")
    for other in rest:
        headers = joined(FORGED[name], good(other)) if not (FORGED[name].keys() & good(other).keys()) else None
        if headers is not None:
            answer = service.send("GET", "/auth", headers)
            assert (answer.status_code, answer.get_json()["code"]) == (401, "caller.invalid")
    assert service.on_record() == before


def test_a_source_that_the_profile_does_not_name_lets_nobody_in(seated: SeatSources) -> None:
    for name in ("backend", "ticket", "web", "demo", "proxy"):
        others = {other: source for other, source in sources().items() if other not in {name, "guests"}}
        service = seated(others)
        answer = service.send("GET", "/auth", joined(good(name)))
        assert (answer.status_code, answer.get_json()["code"]) == (401, "caller.missing")
