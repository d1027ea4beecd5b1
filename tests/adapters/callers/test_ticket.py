"""Tickets: whom they name, for which profile, how long, and how often."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from itsdangerous import URLSafeTimedSerializer

from tests.support.callers import refusal_of, request_with, ticket_in
from tokensvc.adapters.callers.ticket import MAX_AGE_SECONDS, Tickets
from tokensvc.core.callers import Caller
from tokensvc.core.keys import Secret
from tokensvc.embed.tickets import TicketSigner, ticket_serializer

from .conftest import SeatSources

NOW = 1_790_000_000
KEY, OLD_KEY, OTHER_KEY = "new-" * 8, "old-" * 8, "oth-" * 8
FORGED, TOO_OLD, USED = "The ticket is not genuine.", "The ticket is too old.", "The ticket was used before."
PAYLOAD = {"uploadPayload": {"fileName": "a.png"}}


def source_of(*keys: str, now: int = NOW, **options: Any) -> Tickets:
    return Tickets("ticket", [Secret(key) for key in keys or (KEY,)], clock=lambda: now, **options)


def at(second: int) -> time_machine.travel:
    return time_machine.travel(datetime.fromtimestamp(second, UTC), tick=False)


def ticket(*, key: str = KEY, when: int = NOW, **asked: Any) -> str:
    with at(when):
        return TicketSigner(key).sign(**{"subject": "u1", **asked})


def spellings(text: str) -> list[str]:
    """The same ticket with other unused bits at the signature's end, which all verify."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

    def decoded(signature: str) -> bytes:
        return base64.urlsafe_b64decode(signature + "=")

    head, _, signature = text.rpartition(".")
    others = [signature[:-1] + last for last in alphabet if last != signature[-1]]
    return [f"{head}.{other}" for other in others if decoded(other) == decoded(signature)]


@pytest.mark.parametrize("header", ["Authorization", "X-Upload-Ticket"])
def test_a_ticket_in_either_header_names_its_caller(header: str) -> None:
    text = ticket(claims={"team": "blue"}, profile="avatars")
    shown = request_with((header, f"Ticket {text}" if header == "Authorization" else text))
    assert source_of().identify(shown) == Caller("ticket", "u1", claims={"team": "blue"}, profile="avatars")


def test_the_scheme_is_named_in_any_case() -> None:
    assert source_of().identify(request_with(("Authorization", f"tICKET  {ticket()}"))) == Caller("ticket", "u1")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-Upload-Ticket", "")],
        [("X-Upload-Ticket", " ")],
        [("Authorization", "Ticket")],
        [("Authorization", "Ticket ")],
        [("Authorization", f"Bearer {ticket()}")],
        [("Authorization", ticket())],
        [("Cookie", f"ticket={ticket()}; X-Upload-Ticket={ticket()}")],
    ],
)
def test_elsewhere_it_is_no_evidence(headers: list[tuple[str, str]]) -> None:
    assert source_of().identify(request_with(*headers)) is None


def test_the_same_ticket_in_both_headers_is_one_and_another_is_refused() -> None:
    first, second = ticket(), ticket()
    shown = [request_with(("Authorization", f"Ticket {first}"), ("X-Upload-Ticket", text)) for text in (first, second)]
    assert source_of().identify(shown[0]) == Caller("ticket", "u1")
    assert refusal_of(source_of(), shown[1]) == "There are two tickets in the request."


def forgeries() -> dict[str, str]:
    good = ticket()
    payload, stamp, signature = good.rsplit(".", 2)
    other, _, _ = ticket(subject="admin").rsplit(".", 2)
    _, later, _ = ticket(when=NOW + 1).rsplit(".", 2)
    return {
        "another caller": f"{other}.{stamp}.{signature}",
        "another time": f"{payload}.{later}.{signature}",
        "no signature": f"{payload}.{stamp}.",
        "only a payload": payload,
        "cut": good[:-1],
        "padded": good + "=",
        "followed": good + " x",
        "twice": f"{good},{good}",
        "not ASCII": good + "\xe9",
        "another key": ticket(key=OTHER_KEY),
        "another purpose": URLSafeTimedSerializer(
            KEY, salt="cookie-session", signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
        ).dumps({"name": "n" * 22, "subject": "u1", "profile": None, "uses": None, "claims": {}}),
        "nonsense": "x",
        "none": "null",
    }


@pytest.mark.parametrize("name", forgeries())
def test_a_forged_ticket_is_refused(name: str) -> None:
    assert refusal_of(source_of(), ticket_in(forgeries()[name])) == FORGED
    assert refusal_of(source_of(), request_with(("X-Upload-Ticket", forgeries()[name]))) == FORGED


@pytest.mark.parametrize(
    "change",
    [
        {"uses": 2},
        {"uses": True},
        {"subject": ""},
        {"subject": 1},
        {"claims": {"a": 1}},
        {"claims": None},
        {"profile": 1},
        {"name": "short"},
        {"name": None},
        {"only_from": "192.0.2.1"},
    ],
)
def test_a_signed_text_that_is_no_ticket_is_refused(change: dict[str, Any]) -> None:
    """Among them one with a limit that is not known here."""
    members: dict[str, Any] = {"name": "n" * 22, "subject": "u1", "profile": None, "uses": None, "claims": {}}
    with at(NOW):
        good, bad = (ticket_serializer([KEY]).dumps(content) for content in (members, members | change))
    assert source_of().identify(ticket_in(good)) == Caller("ticket", "u1")
    assert refusal_of(source_of(), ticket_in(bad)) == "The ticket does not hold what a ticket holds."


@pytest.mark.parametrize("content", [[], "u1", None, {}])
def test_a_signed_text_that_is_no_table_is_refused(content: object) -> None:
    with at(NOW):
        text = ticket_serializer([KEY]).dumps(content)
    assert refusal_of(source_of(), ticket_in(text)) == "The ticket does not hold what a ticket holds."


@pytest.mark.parametrize("max_age", [1, MAX_AGE_SECONDS])
def test_a_ticket_is_good_until_it_is_older_than_its_longest_age(max_age: int) -> None:
    source = source_of(max_age=max_age)
    assert source.identify(ticket_in(ticket(when=NOW - max_age))) == Caller("ticket", "u1")
    assert refusal_of(source, ticket_in(ticket(when=NOW - max_age - 1))) == TOO_OLD


def test_a_clock_that_is_a_little_ahead_is_forgiven() -> None:
    assert source_of().identify(ticket_in(ticket(when=NOW + 5))) == Caller("ticket", "u1")
    assert refusal_of(source_of(), ticket_in(ticket(when=NOW + 6))) == "The ticket is from the future."


def test_tickets_of_an_old_key_are_good_until_it_is_removed() -> None:
    old, new = ticket(key=OLD_KEY), ticket(key=KEY)
    both, one = source_of(KEY, OLD_KEY), source_of(KEY)
    assert [both.identify(ticket_in(text)) for text in (old, new)] == [Caller("ticket", "u1")] * 2
    assert refusal_of(one, ticket_in(old)) == FORGED


@pytest.mark.parametrize("keys", [[], ["k" * 31], [KEY, ""]])
def test_a_source_without_a_good_key_is_a_fault(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="at least 32"):
        Tickets("ticket", [Secret(key) for key in keys], clock=lambda: NOW)


def test_every_spelling_of_a_ticket_is_one_use() -> None:
    """itsdangerous takes four, whose unused bits differ; the name inside is one."""
    text = ticket(uses=1)
    callers = [source_of().identify(ticket_in(spelling)) for spelling in [text, *spellings(text)]]
    uses = {caller.once for caller in callers if caller}
    assert len(callers) == 4
    assert len(uses) == 1
    (once,) = uses
    assert once is not None
    assert once.until == NOW + MAX_AGE_SECONDS + 1 + 10  # when it is refused anyway, and some seconds of clocks
    other = source_of().identify(ticket_in(ticket(uses=1)))
    assert other is not None
    assert other.once is not None
    assert other.once.nonce != once.nonce


# Over HTTP, with a real store.


def seat_tickets(seated: SeatSources, **profiles: list[str]) -> tuple[Any, int]:
    now = int(time.time())
    return seated({"ticket": source_of(now=now)}, profiles=profiles), now


def header(text: str) -> dict[str, str]:
    return {"X-Upload-Ticket": text}


def test_a_ticket_for_one_use_fetches_one_credential(seated: SeatSources) -> None:
    service, now = seat_tickets(seated)
    text = ticket(when=now, uses=1)
    assert service.send("GET", "/auth", header(text)).status_code == 200
    for again in [text, *spellings(text)]:
        for answer in (
            service.send("GET", "/auth", header(again)),
            service.send("POST", "/auth", header(again), json=PAYLOAD),
        ):
            assert (answer.status_code, answer.get_json()["code"]) == (401, "caller.invalid")
            assert answer.get_json()["detail"] == USED


def test_a_ticket_for_any_number_of_uses_fetches_several(seated: SeatSources) -> None:
    service, now = seat_tickets(seated)
    text = ticket(when=now)
    assert [service.send("GET", "/auth", header(text)).status_code for _ in range(3)] == [200] * 3


@pytest.mark.alone
def test_of_many_uses_at_once_of_a_ticket_for_one_there_is_one(seated: SeatSources) -> None:
    service, now = seat_tickets(seated)
    text, start = ticket(when=now, uses=1), threading.Barrier(16)
    statuses: list[int] = []

    def use() -> None:
        client = service.app.test_client()
        start.wait()
        statuses.append(client.get("/auth", headers=header(text)).status_code)

    before = service.on_record()
    threads = [threading.Thread(target=use) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [401] * 15
    assert len(service.on_record() - before) == 2  # the ticket crossed off, and one credential


def test_a_request_that_is_refused_does_not_use_a_ticket_up(seated: SeatSources) -> None:
    service, now = seat_tickets(seated, other=["ticket"])
    text = ticket(when=now, uses=1, profile="default")
    before = service.on_record()
    refused = [
        service.send("GET", "/auth/other", header(text)),
        service.send("GET", "/auth/closed", header(text)),
        service.send("GET", "/auth?expire=1", header(text)),
        service.send("GET", "/auth?publicKey=public_x", header(text)),
        service.send("POST", "/auth", header(text), json={"uploadPayload": {"folder": "/admin"}}),
    ]
    assert all(400 <= answer.status_code < 500 for answer in refused)
    assert service.on_record() == before
    assert service.send("POST", "/auth", header(text), json=PAYLOAD).status_code == 200


def test_a_ticket_for_a_profile_is_good_for_no_other(seated: SeatSources) -> None:
    service, now = seat_tickets(seated, other=["ticket"])
    bound, free = ticket(when=now, profile="other"), ticket(when=now)
    answer = service.send("GET", "/auth", header(bound))
    assert (answer.status_code, answer.get_json()["code"]) == (403, "caller.forbidden")
    assert answer.get_json()["detail"] == "This caller may fetch credentials of profile other only."
    assert service.send("GET", "/auth/other", header(bound)).status_code == 200
    assert service.send("GET", "/auth/other", header(free)).status_code == 200


def test_a_ticket_in_the_query_is_no_evidence(seated: SeatSources) -> None:
    service, now = seat_tickets(seated)
    text = ticket(when=now)
    answer = service.send("GET", f"/auth?ticket={text}&x-upload-ticket={text}")
    assert (answer.status_code, answer.get_json()["code"]) == (401, "caller.missing")


def test_a_use_that_the_store_would_forget_at_once_is_an_outage(seated: SeatSources) -> None:
    """Its clock is past the time until which the use is to be noted: each use would be the first."""
    early = int(time.time()) - 400
    service = seated({"ticket": source_of(now=early)})
    answer = service.send("GET", "/auth", header(ticket(when=early, uses=1)))
    assert (answer.status_code, answer.get_json()["code"]) == (503, "store.unavailable")
