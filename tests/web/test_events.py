"""What each event says: of whom and of which credential it is, as soon as that is known, whatever the answer was."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.app import Service, Tables, basic, png
from tests.support.nonces import new_request
from tests.support.service import ROOT
from tests.support.valkey import Valkey
from tokensvc.core.errors import Outage
from tokensvc.core.nonces import nonce_id
from tokensvc.web import create_app

from .test_operate import OPERATOR, add_operator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from werkzeug.test import TestResponse

    from .conftest import ServiceMaker

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACED = {"Traceparent": f"00-{TRACE}-{PARENT}-01"}
OF_THE_REQUEST = {"time", "level", "event", "request", "trace", "parent", "ms"}
GOOD_FILE = {"fileName": "a.png"}
KEY = "k" * 16

WHO = {"source": "backend", "subject": "ci", "account": "default"}
MINE = {**WHO, "profile": "default", "version": "v1"}
"""Of a v1 credential of the default profile."""

OPEN = {**WHO, "profile": "open", "version": "v2"}
REFUSED = {**MINE, "field": "token"}


def change(tables: Tables) -> None:
    add_operator(tables)
    tables["profiles"] |= {
        "held": {"callers": ["backend"], "spend": "on-success"},
        "degrades": {"callers": ["backend"], "when_store_is_down": "issue-v2-untracked"},
        "counted": {"callers": ["backend"], "limits": {"rate": "1/hour"}},
    }


@dataclass(frozen=True, slots=True)
class Scene:
    service: Service
    store: Valkey

    def ask(self, path: str, body: Any, key: str) -> TestResponse:
        return self.service.send("POST", path, {"Authorization": f"Bearer {key}", **TRACED}, json=body)

    def get(self, query: str = "", profile: str = "") -> TestResponse:
        return self.service.get(query, profile=profile, **TRACED)

    def post(self, body: Any, profile: str = "") -> TestResponse:
        return self.service.post(body, profile=profile, **TRACED)

    def credential(self, profile: str = "") -> dict[str, str]:
        return {name: str(value) for name, value in self.service.get(profile=profile).get_json().items()}

    def redeem(self, body: Any) -> TestResponse:
        return self.ask("/redeem", body, self.service.reader_key)

    def v1(self, credential: dict[str, str], content: bytes | None = b"", *, key: str = "") -> TestResponse:
        headers = {**TRACED, "Idempotency-Key": key} if key else TRACED
        return self.service.upload("v1", {**GOOD_FILE, **credential}, content, **headers)

    def v2(self, token: str, name: str = "a.png") -> TestResponse:
        return self.service.upload("v2", {"fileName": name, "token": token}, b"", **TRACED)

    def spent(self, key: str = "") -> dict[str, str]:
        """A credential that an upload has used up."""
        credential = self.credential()
        assert self.v1(credential, key=key).status_code == 200
        return credential

    def revoked(self) -> dict[str, str]:
        credential = self.credential()
        assert self.revoke(credential["token"]).status_code == 200
        return credential

    def revoke(self, token: str) -> TestResponse:
        return self.ask("/revoke", {"token": token}, OPERATOR)

    def of_another_epoch(self) -> dict[str, str]:
        credential = self.credential()
        self.store.command("DEL", "ik{00}:e")
        return credential

    def claimed(self) -> dict[str, str]:
        """A credential that another upload has in its hold."""
        credential = self.credential("held")
        nonce = nonce_id("default", "v1", credential["token"].encode())
        self.service.nonces.redeem(nonce, request=new_request(), lease=60)
        return credential

    def silent(self) -> Scene:
        """The same, with a store that is gone."""
        self.store.kill()
        return self

    def v1_after(self, credential: dict[str, str], change: Callable[[Scene], object]) -> TestResponse:
        change(self)
        return self.v1(credential)

    def broken(self) -> Scene:
        """The same, with a fault in the middle of issuing."""
        self.service.client = create_app(self.service.doors(issue=replace(self.service.issue, rings={}))).test_client()
        return self


EVENTS: dict[str, tuple[str, Callable[[Scene], TestResponse], dict[str, Any]]] = {
    "a v1 credential": ("issued", lambda s: s.get(), {**MINE, "nonce": True}),
    "a v2 credential": ("issued", lambda s: s.post({"uploadPayload": GOOD_FILE}, "open"), {**OPEN, "nonce": True}),
    "a batch": (
        "issued",
        lambda s: s.ask("/auth/batch", {"version": "v1", "count": 1}, s.service.api_key),
        {**MINE, "nonce": True},
    ),
    "without a store": (
        "issued_untracked",
        lambda s: s.silent().post({"uploadPayload": GOOD_FILE}, "degrades"),
        {**OPEN, "profile": "degrades", "nonce": True},
    ),
    "an upload": ("redeemed", lambda s: s.v1(s.credential()), {**MINE, "age": 0, "nonce": True}),
    "a v2 upload": ("redeemed", lambda s: s.v2(s.service.jwt(GOOD_FILE)), {**OPEN, "age": 0, "nonce": True}),
    "another uploader": (
        "redeemed",
        lambda s: s.redeem({"version": "v1", **s.credential()}),
        {**MINE, "age": 0, "by": "reader", "nonce": True},
    ),
    "its file": ("stored", lambda s: s.v1(s.credential()), {**MINE, "file": True, "size": len(png()), "nonce": True}),
    "a file with the private key": (
        "stored",
        lambda s: s.service.upload("v1", GOOD_FILE, b"", Authorization=basic(s.service.private_key), **TRACED),
        {"account": "default", "version": "v1", "file": True, "size": len(png())},
    ),
    "an upload of one that is spent on success": (
        "claimed",
        lambda s: s.v1(s.credential("held")),
        {**MINE, "profile": "held", "age": 0, "nonce": True},
    ),
    "and that is refused": (
        "released",
        lambda s: s.v1(s.credential("held"), None),
        {**MINE, "profile": "held", "age": 0, "nonce": True},
    ),
    "the same upload again": (
        "finished",
        lambda s: s.v1(s.spent(KEY), key=KEY),
        {**MINE, "age": 0, "nonce": True},
    ),
    "a second upload": ("replayed", lambda s: s.v1(s.spent()), {**MINE, "age": 0, "nonce": True}),
    "a second redemption": (
        "replayed",
        lambda s: s.redeem({"version": "v1", **s.spent()}),
        {**MINE, "age": 0, "by": "reader", "nonce": True},
    ),
    "of one that is in use": (
        "held",
        lambda s: s.v1(s.claimed()),
        {**MINE, "profile": "held", "age": 0, "nonce": True},
    ),
    "of one that was revoked": ("revoked", lambda s: s.v1(s.revoked()), {**MINE, "age": 0, "nonce": True}),
    "a revocation": (
        "revoked",
        lambda s: s.revoke(s.credential()["token"]),
        {**MINE, "by": "ops", "outcome": "revoked", "nonce": True},
    ),
    "of one of before a failover": ("stale", lambda s: s.v1(s.of_another_epoch()), {**MINE, "age": 0, "nonce": True}),
    "of one from elsewhere": (
        "unissued",
        lambda s: s.v1(s.service.own_credential("elsewhere", s.service.clock.now + 60)),
        {"account": "default", "version": "v1", "nonce": True},
    ),
    "a watermark": (
        "revoked_before",
        lambda s: s.ask("/revoke", {"subject": "ci", "issued_before": s.service.clock.now}, OPERATOR),
        {"scope": "subject", "name": "ci", "issued_before": True, "by": "ops"},
    ),
    # Refusals: of the caller, as soon as that is known.
    "nobody": (
        "refused",
        lambda s: s.service.send("GET", "/auth", TRACED),
        {"code": "caller.missing", "profile": "default", "version": "v1"},
    ),
    "an expire that cannot be": (
        "refused",
        lambda s: s.get("expire=1"),
        {**MINE, "code": "expire.invalid", "field": "expire"},
    ),
    "a parameter that may not be chosen": (
        "refused",
        lambda s: s.post({"uploadPayload": {**GOOD_FILE, "folder": "/x"}}),
        {**WHO, "profile": "default", "version": "v2", "code": "parameter.forbidden", "field": "folder"},
    ),
    "more than the rate": (
        "refused",
        lambda s: s.get(profile="counted") and s.get(profile="counted"),
        {**MINE, "profile": "counted", "code": "rate.limited"},
    ),
    "a batch with an expire that cannot be": (
        "refused",
        lambda s: s.ask("/auth/batch", {"version": "v2", "uploads": [GOOD_FILE], "expire": 9999}, s.service.api_key),
        {**WHO, "profile": "default", "code": "expire.invalid", "field": "expire"},
    ),
    "a key without the right": (
        "refused",
        lambda s: s.ask("/revoke", {"token": "x"}, s.service.reader_key),
        {"by": "reader", "code": "caller.forbidden"},
    ),
    # and of the credential.
    "one that is no credential": (
        "refused",
        lambda s: s.v1({**s.credential(), "signature": "0" * 40}),
        {"code": "credential.invalid", "version": "v1", "field": "token"},
    ),
    "a form without its file": (
        "refused",
        lambda s: s.v1(s.credential(), None),
        {**MINE, "code": "request.malformed", "field": "file", "nonce": True},
    ),
    "a field that is not bound": (
        "refused",
        lambda s: s.v2(s.service.jwt(GOOD_FILE), "b.png"),
        {**OPEN, "code": "parameter.forbidden", "field": "uploadPayload.fileName", "nonce": True},
    ),
    "the answer to a second upload": (
        "refused",
        lambda s: s.v1(s.spent()),
        {**REFUSED, "code": "credential.replayed", "nonce": True},
    ),
    "the answer to a second redemption": (
        "refused",
        lambda s: s.redeem({"version": "v1", **s.spent()}),
        {**REFUSED, "by": "reader", "code": "credential.replayed", "nonce": True},
    ),
    "the answer about one that was revoked": (
        "refused",
        lambda s: s.v1(s.revoked()),
        {**REFUSED, "code": "credential.revoked", "nonce": True},
    ),
    # Outages and faults.
    "no store to issue": (
        "outage",
        lambda s: s.silent().get(),
        {**MINE, "code": "store.unavailable", "detail": True},
    ),
    "no store to redeem": (
        "outage",
        lambda s: s.v1_after(s.credential(), Scene.silent),
        {"account": "default", "version": "v1", "code": "store.unavailable", "detail": True, "nonce": True},
    ),
    "a fault of ours": ("failed", lambda s: s.broken().get(), {**MINE, "code": "internal"}),
}
"""Each event of a request, how it comes about, and its facts; True is for what is new each time."""

OF_NO_REQUEST = {
    *("swept", "unswept", "keys_fetched", "keys_missed", "unthrottled", "audit_missed"),
    *("breaker_opened", "epoch_changed", "rollback_found", "clock_skewed"),
}
"""They come about in a request, or beside one, and are of the service: they are tested where they come from."""


@pytest.fixture
def scene(make_service: ServiceMaker) -> Iterator[Scene]:
    with Valkey() as own:
        yield Scene(make_service(store=own, change=change), own)


@pytest.mark.parametrize(("event", "provoke", "facts"), EVENTS.values(), ids=EVENTS)
def test_it_says_all_that_is_known(
    scene: Scene,
    log: list[str],
    event: str,
    provoke: Callable[[Scene], TestResponse],
    facts: dict[str, Any],
) -> None:
    answer = provoke(scene)
    lines = [json.loads(line) for line in log if line.startswith("{")]
    (line,) = [one for one in lines if one["event"] == event and one["request"] == lines[-1]["request"]]
    assert answer.headers.get("X-Request-Id", line["request"]) == line["request"]
    assert (line["trace"], line["parent"]) == (TRACE, PARENT)
    assert 0 <= line["ms"] < 60_000
    told = {name: fact for name, fact in line.items() if name not in OF_THE_REQUEST}
    assert {name: facts.get(name) is True or fact for name, fact in told.items()} == facts
    if "nonce" in told:
        assert re.fullmatch("[A-Za-z0-9_-]{22}", told["nonce"])


def test_every_event_of_the_page_is_here() -> None:
    table = (ROOT / "docs/metrics.md").read_text().partition("| event | when |")[2].partition("## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert named - {event for event, _, _ in EVENTS.values()} - OF_NO_REQUEST == {"unreleased", "unfinished"}


def test_nothing_is_said_of_the_request_before(scene: Scene, log: list[str]) -> None:
    scene.get()
    del log[:]
    scene.service.send("GET", "/auth")
    (line,) = [json.loads(line) for line in log]
    assert line.keys() == {*OF_THE_REQUEST - {"parent"}, "code", "profile", "version"}


def test_what_can_only_go_wrong_after_a_yes_says_whose_it_was(scene: Scene, log: list[str]) -> None:
    """The note of a result, and the end of a hold, that the store does not answer."""

    class Silent:
        def __getattr__(self, verb: str) -> Any:
            return _unanswered if verb in {"finish", "release"} else getattr(scene.service.nonces, verb)

    accept = replace(scene.service.accept, nonces=Silent())
    uploads = replace(scene.service.doors().uploads, accept=accept)  # type: ignore[type-var] # there are some
    first, second = scene.credential(), scene.credential("held")
    scene.service.client = create_app(scene.service.doors(uploads=uploads)).test_client()
    assert scene.v1(first, key="k").status_code == 200
    assert scene.v1(second, None).status_code == 400
    lines = {line["event"]: line for line in map(json.loads, log)}
    assert {name: lines["unfinished"][name] for name in MINE} == MINE
    assert {name: lines["unreleased"][name] for name in MINE} == {**MINE, "profile": "held"}


def _unanswered(*_arguments: object, **_named: object) -> None:
    raise Outage("silent")
