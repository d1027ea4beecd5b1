"""`/metrics`: who may read it, what it says, and that it says it of nobody in particular."""

from __future__ import annotations

import hashlib
import re
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.app import Service, Tables
from tests.support.service import ROOT
from tests.support.valkey import Valkey
from tests.web.test_secrecy import exercise
from tokensvc import __version__
from tokensvc.adapters.nonces.breaker import OUTAGES_IN_A_ROW
from tokensvc.core.errors import Code

from .conftest import problem_of

if TYPE_CHECKING:
    from .conftest import ServiceMaker

FAR = {"REMOTE_ADDR": "203.0.113.9"}
OPERATOR = "tsk_CANARYoperates"


def let_operate(tables: Tables) -> None:
    """One more key, in a source of its own, which may operate."""
    digest = hashlib.sha256(OPERATOR.encode()).hexdigest()
    key = {"id": "operator", "sha256": digest, "subject": "operator", "may": ["operate"]}
    tables["callers"]["operators"] = {"kind": "api_key", "keys": [key]}


def totals(service: Service) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample, as a program of this machine reads it."""
    text = service.send("GET", "/metrics").get_data(as_text=True)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Since:
    """What was added to the totals since it was made: the applications of one test process count together."""

    def __init__(self, service: Service) -> None:
        self.service, self.before = service, totals(service)

    def of(self, metric: str, /, **labels: str) -> float:
        """The difference, over all samples that have these labels."""
        return sum(
            value - self.before.get((name, having), 0)
            for (name, having), value in totals(self.service).items()
            if name == metric and having >= frozenset(labels.items())
        )


# Who may read it


def test_a_program_of_this_machine_reads_it_without_a_key(service: Service) -> None:
    answer = service.send("GET", "/metrics")
    assert answer.status_code == 200
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000"])
def test_every_loopback_address_is_this_machine(service: Service, peer: str, host: str) -> None:
    answer = service.send("GET", "/metrics", {"Host": host}, environ_base={"REMOTE_ADDR": peer})
    assert answer.status_code == 200


@pytest.mark.parametrize("peer", ["203.0.113.9", "10.0.0.1", "2001:db8::1", ""])
def test_another_machine_and_a_unix_socket_need_a_key(service: Service, peer: str) -> None:
    answer = service.send("GET", "/metrics", environ_base={"REMOTE_ADDR": peer})
    problem_of(answer, 401, "caller.missing")


@pytest.mark.parametrize("sign", ["X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Forwarded", "Via"])
def test_what_a_proxy_of_this_machine_passes_on_needs_a_key(service: Service, sign: str) -> None:
    problem_of(service.send("GET", "/metrics", {sign: "127.0.0.1"}), 401, "caller.missing")


def test_a_configured_proxy_is_no_reader_even_if_it_says_nothing(make_service: ServiceMaker) -> None:
    service = make_service(change=lambda tables: tables.update(proxies=["127.0.0.1"]))
    problem_of(service.send("GET", "/metrics"), 401, "caller.missing")


def test_a_name_that_leads_here_from_elsewhere_needs_a_key(service: Service) -> None:
    """DNS rebinding: a page's own name has our address."""
    problem_of(service.send("GET", "/metrics", {"Host": "rebound.example"}), 401, "caller.missing")


def test_a_key_that_may_operate_reads_it_from_anywhere(make_service: ServiceMaker) -> None:
    service = make_service(change=let_operate)
    answer = service.send("GET", "/metrics", {"Authorization": f"Bearer {OPERATOR}"}, environ_base=FAR)
    assert answer.status_code == 200


@pytest.mark.parametrize("peer", ["203.0.113.9", "127.0.0.1"])
def test_another_key_is_refused_wherever_it_comes_from(service: Service, peer: str) -> None:
    answer = service.send("GET", "/metrics", service.bearer, environ_base={"REMOTE_ADDR": peer})
    problem_of(answer, 403, "caller.forbidden")


@pytest.mark.parametrize("peer", ["203.0.113.9", "127.0.0.1"])
def test_an_unknown_key_is_refused_wherever_it_comes_from(service: Service, peer: str) -> None:
    answer = service.send(
        "GET", "/metrics", {"Authorization": "Bearer tsk_guessed"}, environ_base={"REMOTE_ADDR": peer}
    )
    problem_of(answer, 401, "caller.invalid")


# What it says


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_upload_is_counted_from_issue_to_bytes(service: Service, version: str) -> None:
    since = Since(service)
    profile = "default" if version == "v1" else "open"
    if version == "v1":
        credential = service.credential()
        service.clock.now += 45
        assert service.upload_v1(credential, b"hello").status_code == 200
        assert service.upload_v1(credential, b"hello").status_code == 400
    else:
        token = service.jwt({"fileName": "a.txt"})
        service.clock.now += 45
        assert service.upload_v2(token, b"hello", fileName="a.txt").status_code == 200
        assert service.upload_v2(token, b"hello", fileName="a.txt").status_code == 400
    events = "tokensvc_events_total"
    assert since.of(events, event="issued", version=version, profile=profile) == 1
    assert since.of(events, event="redeemed", version=version, profile=profile) == 1
    assert since.of(events, event="stored", version=version) == 1
    assert since.of(events, event="replayed", version=version) == 1
    assert since.of(events, event="refused", version=version, code="credential.replayed") == 1
    assert since.of(events, event="refused") == 1
    assert since.of("tokensvc_upload_bytes_total") == 5
    assert since.of("tokensvc_redemption_age_seconds_count") == 1
    assert since.of("tokensvc_redemption_age_seconds_bucket", le="30.0") == 0
    assert since.of("tokensvc_redemption_age_seconds_bucket", le="60.0") == 1
    assert since.of("tokensvc_store_seconds_count", script="record") == 1
    assert since.of("tokensvc_store_seconds_count", script="redeem") == 2
    assert since.of("tokensvc_store_seconds_bucket", script="redeem", le="+Inf") == 2
    assert since.of("tokensvc_store_outages_total") == 0


def test_each_credential_of_a_batch_is_counted(service: Service) -> None:
    since = Since(service)
    service.send("POST", "/auth/batch", service.bearer, json={"version": "v1", "count": 7})
    assert since.of("tokensvc_events_total", event="issued", version="v1", profile="default") == 7


def test_what_other_uploaders_spend_is_counted_with_its_age(service: Service) -> None:
    """And what was refused has none."""
    since = Since(service)
    body = {"version": "v1", **service.get().get_json()}
    reader = {"Authorization": f"Bearer {service.reader_key}"}
    service.clock.now += 45
    assert service.send("POST", "/redeem", reader, json=body).status_code == 200
    assert service.send("POST", "/redeem", reader, json=body).status_code == 409
    events = "tokensvc_events_total"
    assert since.of(events, event="redeemed", version="v1", profile="default") == 1
    assert since.of(events, event="replayed", version="v1", profile="default") == 1
    assert since.of("tokensvc_redemption_age_seconds_count") == 1
    assert since.of("tokensvc_redemption_age_seconds_bucket", le="30.0") == 0
    assert since.of("tokensvc_redemption_age_seconds_bucket", le="60.0") == 1


def test_a_refusal_is_counted_by_code_and_profile_but_not_under_a_name_that_is_none(service: Service) -> None:
    since = Since(service)
    problem_of(service.get("expire=300", profile="short"), 400, "expire.invalid")
    problem_of(service.get(profile="CANARYprofile"), 404, "profile.unknown")
    events = "tokensvc_events_total"
    assert since.of(events, event="refused", code="expire.invalid", profile="short", version="v1") == 1
    assert since.of(events, event="refused", code="profile.unknown", profile="", version="v1") == 1
    assert "CANARYprofile" not in service.send("GET", "/metrics").get_data(as_text=True)


def test_the_outstanding_are_told_and_while_the_store_is_silent_there_is_no_figure(make_service: ServiceMaker) -> None:
    with Valkey() as own:
        service: Service = make_service(store=own)
        for _ in range(3):
            service.credential()
        assert service.upload_v1(service.credential()).status_code == 200
        assert totals(service)["tokensvc_outstanding", frozenset()] == 3
        own.kill()
        assert [name for name, _ in totals(service) if name == "tokensvc_outstanding"] == []


def test_a_store_that_is_gone_is_counted_with_its_breaker_and_the_open_throttle(make_service: ServiceMaker) -> None:
    with Valkey() as own:
        service: Service = make_service(store=own)
        since = Since(service)
        own.kill()
        for _ in range(OUTAGES_IN_A_ROW + 2):
            problem_of(service.get(), 503, "store.unavailable")
        assert since.of("tokensvc_breaker_open") == 1
        forged = {"Authorization": "Bearer tsk_forged"}
        for _ in range(3):
            assert service.send("GET", "/auth", forged, environ_base=FAR).status_code == 401
    assert since.of("tokensvc_events_total", event="outage", code="store.unavailable") == OUTAGES_IN_A_ROW + 2
    assert since.of("tokensvc_store_outages_total", script="record") >= OUTAGES_IN_A_ROW
    assert since.of("tokensvc_breaker_openings_total") == 1
    assert since.of("tokensvc_throttle_open_total") >= 3
    assert since.of("tokensvc_events_total", event="unthrottled") == 1
    assert make_service().get().status_code == 200  # the next answer of a store to this process
    assert since.of("tokensvc_breaker_open") == 0


def test_what_a_worker_costs_is_told(service: Service) -> None:
    found = {name: value for (name, _), value in totals(service).items()}
    assert found["tokensvc_workers"] == 1
    assert found["tokensvc_worker_cpu_seconds_total"] == pytest.approx(time.process_time(), rel=0.5, abs=1)
    assert found["tokensvc_worker_open_files"] == pytest.approx(len(list(Path("/proc/self/fd").iterdir())), abs=3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert peak / 10 < found["tokensvc_worker_resident_bytes"] <= peak
    assert found["tokensvc_about"] == 1


def test_a_store_that_is_replaced_is_counted_as_an_epoch(make_service: ServiceMaker) -> None:
    with Valkey() as own:
        service: Service = make_service(store=own)
        since = Since(service)
        for _ in range(2):
            assert service.get().status_code == 200
        assert since.of("tokensvc_epoch_changes_total") == 1  # the first


def test_what_goes_wrong_unexpectedly_is_counted(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: Any, **_options: Any) -> Any:
        raise RuntimeError

    since = Since(service)
    monkeypatch.setattr(type(service.nonces), "record", broken)
    problem_of(service.get(), 500, "internal")
    assert since.of("tokensvc_events_total", event="failed", code="internal", profile="default") == 1


def test_no_label_says_who_or_what_it_was(service: Service) -> None:
    presented = exercise(service)
    text = service.send("GET", "/metrics").get_data(as_text=True)
    assert not [secret for secret in presented if secret in text]
    assert "CANARY" not in text
    nonces = {key.rpartition(b":")[2].decode() for key in service.on_record()}
    assert nonces
    assert not [nonce for nonce in nonces if nonce in text]
    allowed = {
        "event": re.compile(r"[a-z_]{4,20}"),
        "version": re.compile("v1|v2|"),
        "code": re.compile("|".join(re.escape(code) for code in (*Code, "store.unavailable", "internal", ""))),
        "script": re.compile(r"[a-z_]{4,12}"),
        "le": re.compile(r"[0-9.]+|\+Inf"),
        "worker": re.compile("0"),
        "release": re.compile(re.escape(__version__)),
    }
    for name, labels in totals(service):
        for label, value in labels:
            if label != "profile":  # that of other tests' configurations in this process, too
                assert allowed[label].fullmatch(value), (name, label, value)
            assert value not in {"ci", "reader", "stranger", "127.0.0.1"}, (name, label)


def test_every_metric_is_documented_and_no_other(service: Service) -> None:
    text = service.send("GET", "/metrics").get_data(as_text=True)
    told = set(re.findall(r"^# TYPE ([a-z_]+) ", text, re.MULTILINE))
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert told == set(re.findall(r"^\| `(tokensvc_[a-z_]+)`", page, re.MULTILINE))
    assert all(name.startswith("tokensvc_") for name in told)
