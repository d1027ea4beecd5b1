"""`when_store_is_down = "issue-v2-untracked"`: what goes out while the store is really down, and what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.app import KEPT_NONE, KEPT_ONE, ORIGIN, Tables
from tests.support.valkey import Valkey
from tokensvc.core.callers import Presented
from tokensvc.core.errors import Unanswered
from tokensvc.core.nonces import NonceId
from tokensvc.core.policy import AskV2
from tokensvc.embed.tickets import TicketSigner
from tokensvc.ports import Recording
from tokensvc.service.untracked import Untracked

from .conftest import problem_of

if TYPE_CHECKING:
    from tests.support.app import Service

    from .conftest import ServiceMaker

TICKETS = "a-secret-for-tickets-of-these-tests"
ASKED = {"uploadPayload": {"fileName": "a.png"}}


def declare(tables: Tables) -> None:
    tables["accounts"]["other"] = {
        "active": f"{tables['accounts']['default']['active']}2",
        "keys": [
            {
                "public_key": f"{tables['accounts']['default']['active']}2",
                "private_key": f"{tables['accounts']['default']['keys'][0]['private_key']}2",
            }
        ],
    }
    tables["callers"]["ticket"] = {"kind": "ticket", "secret_key": TICKETS}
    untracked = {"callers": ["ticket", "backend"], "when_store_is_down": "issue-v2-untracked"}
    tables["profiles"]["degrades"] = untracked
    tables["profiles"]["crosses"] = {**untracked, "account": "other", "unissued": "cross-off"}


@pytest.fixture
def store() -> Iterator[Valkey]:
    with Valkey(appendonly="yes") as own:
        yield own


@pytest.fixture
def service(make_service: ServiceMaker, store: Valkey) -> Service:
    made: Service = make_service(store=store, change=declare)
    return made


def events(log: list[str]) -> list[str]:
    return [json.loads(line)["event"] for line in log if line.startswith("{")]


def test_while_the_store_is_down_v2_goes_out_and_is_marked(service: Service, store: Valkey, log: list[str]) -> None:
    whole = service.post(ASKED, profile="degrades", Origin=ORIGIN)
    assert whole.status_code == 200
    assert "X-Tokensvc-Untracked" not in whole.headers
    store.kill()
    answer = service.post({"uploadPayload": {"fileName": "b.png"}}, profile="degrades", Origin=ORIGIN)
    assert answer.status_code == 200
    assert answer.get_json().keys() == {"token"}
    assert answer.headers["X-Tokensvc-Untracked"] == "store-down"
    assert "X-Tokensvc-Untracked" in answer.headers["Access-Control-Expose-Headers"]
    noted = [json.loads(line) for line in log if '"issued_untracked"' in line]
    assert [(note["profile"], note["subject"], note["version"]) for note in noted] == [("degrades", "ci", "v2")]
    assert events(log).count("issued") == 1
    counted = service.send("GET", "/metrics").get_data(as_text=True)
    assert 'tokensvc_events_total{code="",event="issued_untracked",profile="degrades",version="v2"}' in counted


def test_nothing_else_goes_out(service: Service, store: Valkey) -> None:
    """Not v1, not in a batch, and not of a profile that does not say so."""
    store.kill()
    for answer in (
        service.get(profile="degrades"),
        service.post(ASKED),
        service.send(
            "POST", "/auth/degrades/batch", service.bearer, json={"version": "v2", "uploads": [{"fileName": "a"}]}
        ),
    ):
        assert problem_of(answer, 503, "store.unavailable")
        assert "X-Tokensvc-Untracked" not in answer.headers


@pytest.mark.parametrize("is_down", [False, True])
def test_a_ticket_for_one_use_fetches_nothing_without_the_store(service: Service, store: Valkey, is_down: bool) -> None:
    """Who shows it again would be given another, as often as they like."""
    ticket = {"Authorization": f"Ticket {TicketSigner(TICKETS).sign(subject='alice', uses=1)}"}
    if is_down:
        store.kill()
        answer = service.send("POST", "/auth/degrades", ticket, json=ASKED)
        assert problem_of(answer, 503, "store.unavailable")
        store.start()
    assert service.send("POST", "/auth/degrades", ticket, json=ASKED).status_code == 200


class GoesSilent:
    """The real store, until something is to be recorded."""

    def __init__(self, service: Service) -> None:
        self.redeem = service.nonces.redeem
        self.elsewhere = service.nonces.elsewhere

    def record(self, *_: object, **__: object) -> Recording:
        raise Unanswered("silent")


def test_a_ticket_that_is_used_up_when_the_store_goes_silent_fetches_nothing(service: Service) -> None:
    presented = Presented({"authorization": f"Ticket {TicketSigner(TICKETS).sign(subject='a', uses=1)}"}, {}, "")
    silent: Any = GoesSilent(service)
    issue = replace(service.issue, nonces=silent)
    with pytest.raises(Unanswered):
        issue.v2("degrades", presented, AskV2({"fileName": "a.png"}))
    for _ in range(2):
        unbounded = Presented({"authorization": f"Ticket {TicketSigner(TICKETS).sign(subject='a')}"}, {}, "")
        assert not issue.v2("degrades", unbounded, AskV2({"fileName": "a.png"})).tracked


def test_who_has_no_name_is_handed_out_nothing(service: Service) -> None:
    """The configuration refuses such a profile; and so does the use case."""
    silent: Any = GoesSilent(service)
    presented = Presented({"authorization": f"Bearer {service.api_key}"}, {}, "")
    issue = replace(service.issue, nonces=silent)
    assert not issue.v2("degrades", presented, AskV2({"fileName": "a.png"})).tracked
    with pytest.raises(Unanswered):
        replace(issue, anonymous=frozenset({"backend"})).v2("degrades", presented, AskV2({"fileName": "b.png"}))


def test_a_store_that_answers_that_it_is_full_is_not_down(make_service: ServiceMaker) -> None:
    with Valkey(maxmemory="1mb", maxmemory_policy="noeviction") as full:
        service: Service = make_service(store=full, change=declare)
        assert problem_of(service.post(ASKED, profile="degrades"), 503, "store.unavailable")


def test_the_own_upload_endpoint_refuses_it(service: Service, store: Valkey) -> None:
    """While the store is down nothing is accepted; afterwards it is not on record."""
    store.kill()
    token = service.post(ASKED, profile="degrades").get_json()["token"]
    assert service.upload_v2(token, fileName="a.png").status_code == 503
    store.start()
    answer = service.upload_v2(token, fileName="a.png")
    assert (answer.status_code, answer.headers["X-Tokensvc-Code"]) == (403, "credential.unissued")
    assert service.on_disk() == KEPT_NONE


def test_an_account_that_crosses_off_takes_it_once(service: Service, store: Valkey) -> None:
    store.kill()
    token = service.post(ASKED, profile="crosses").get_json()["token"]
    assert service.upload_v2(token, fileName="a.png").status_code == 503
    store.start()
    assert service.upload_v2(token, fileName="a.png").status_code == 200
    assert service.upload_v2(token, fileName="a.png").headers["X-Tokensvc-Code"] == "credential.replayed"
    assert service.on_disk() == KEPT_ONE


def test_equal_payloads_are_different_credentials(service: Service, store: Valkey) -> None:
    """As when they are on record: ImageKit would take one of two alike."""
    store.kill()
    tokens = [service.post(ASKED, profile="degrades").get_json()["token"] for _ in range(7)]
    assert len(set(tokens)) == 7


def test_once_the_store_is_back_everything_is_on_record_again(service: Service, store: Valkey) -> None:
    store.kill()
    assert service.post(ASKED, profile="degrades").headers["X-Tokensvc-Untracked"]
    store.start()
    before = service.on_record()
    assert "X-Tokensvc-Untracked" not in service.post(ASKED, profile="degrades").headers
    assert len(service.on_record() - before) == 1


def test_a_worker_hands_out_so_many_a_minute_and_no_more() -> None:
    untracked = Untracked(most=2)
    for number in range(2):
        assert untracked.has_room(1000)
        assert untracked.take(NonceId(f"{number}".ljust(22, "n")), 1000)
    assert not untracked.has_room(1059)
    assert untracked.has_room(1060)


def test_when_that_many_are_out_the_next_waits_for_the_store(service: Service, store: Valkey) -> None:
    store.kill()
    issue = service.issue
    for number in range(600):
        issue.untracked.take(NonceId(f"{number}".ljust(22, "n")), service.clock.now)
    assert problem_of(service.post(ASKED, profile="degrades"), 503, "store.unavailable")
    service.clock.now += 60
    assert service.post(ASKED, profile="degrades").status_code == 200
