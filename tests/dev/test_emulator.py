"""What each fault does to a client, and what a test suite can do with the emulator."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.app import KEPT_NONE, KEPT_ONE, ORIGIN
from tests.support.service import ROOT, Deployment, clean_environment, serving, tokensvc
from tokensvc.dev.emulation import Emulation
from tokensvc.dev.faults import HowOften

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Emulator, EmulatorMaker

EXPIRE = "Your request contains invalid expire parameter."
FAULTS = "X-Tokensvc-Faults"


# The faults


def test_with_nothing_switched_on_it_is_the_service(make_emulator: EmulatorMaker) -> None:
    emulator = make_emulator()
    credential = emulator.service.credential()
    answer = emulator.service.upload_v1(credential)
    assert (answer.status_code, FAULTS in answer.headers) == (200, False)
    assert emulator.service.upload_v1(credential).headers["X-Tokensvc-Code"] == "credential.replayed"
    assert b"Switched on" not in emulator.service.send("GET", "/").get_data()


def test_latency_comes_before_every_answer_of_an_api(
    make_emulator: EmulatorMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = make_emulator("latency=500ms")
    slept: list[float] = []
    monkeypatch.setattr("tokensvc.dev.application.time.sleep", slept.append)
    emulator.service.upload_v1(emulator.service.credential())
    assert slept == [0.5, 0.5]
    for path in ("/livez", "/readyz", "/", "/static/demo.css", "/dev/state"):
        assert emulator.service.send("GET", path).status_code == 200
    assert len(slept) == 2


def test_reject_refuses_the_share_that_its_seed_says_and_spends_nothing(make_emulator: EmulatorMaker) -> None:
    emulator = make_emulator("reject=0.5", seed=11)
    wanted = ["credential.invalid" * HowOften(0.5).hits(11, "reject=0.5", number) for number in range(12)]
    assert emulator.codes(12) == wanted
    assert 0 < wanted.count("") < 12


def test_who_is_rejected_is_told_by_whom(make_emulator: EmulatorMaker) -> None:
    emulator = make_emulator("reject=x1")
    credential = emulator.service.credential()
    answer = emulator.service.upload_v1(credential)
    assert answer.status_code == 400
    assert answer.get_json()["message"] == "Your request contains invalid signature parameter."
    assert "told to refuse it (fault reject)" in answer.get_json()["help"]
    assert answer.headers[FAULTS] == "reject=x1; seed 1"
    assert emulator.service.upload_v1(credential).status_code == 200


def test_replay_says_that_a_good_credential_was_used_and_uses_it(make_emulator: EmulatorMaker) -> None:
    emulator = make_emulator("replay=x1")
    credential = emulator.service.credential()
    for _ in range(2):
        answer = emulator.service.upload_v1(credential)
        assert (answer.status_code, answer.headers["X-Tokensvc-Code"]) == (400, "credential.replayed")
    assert emulator.codes(1) == [""]
    assert emulator.service.on_disk() == KEPT_ONE


def test_status_is_answered_in_the_shape_of_who_was_asked(make_emulator: EmulatorMaker) -> None:
    emulator = make_emulator("status=503@x1", "status=429@x1")
    first = emulator.service.get()
    assert (first.status_code, first.content_type) == (503, "application/problem+json")
    assert first.headers["Retry-After"] == "1"
    second = emulator.service.upload_v1({"token": "t"})
    assert (second.status_code, second.headers["Retry-After"]) == (429, "1")
    assert second.get_json().keys() == {"message", "help"}
    assert emulator.codes(1) == [""]


def test_a_clock_that_is_ahead_makes_credentials_that_are_not_yet_good(make_emulator: EmulatorMaker) -> None:
    emulator = make_emulator("clock=+300s")
    credential = emulator.service.credential()
    assert int(credential["expire"]) == emulator.clock.now + 300 + 1800
    token = emulator.service.jwt({"fileName": "a.png"})
    answer = emulator.service.upload_v2(token, fileName="a.png")
    assert answer.headers["X-Tokensvc-Code"] == "credential.invalid"
    assert "300 s in the future" in answer.get_json()["help"]


@pytest.mark.parametrize("fault", ["expire=now", "clock=-2h"])
def test_credentials_that_have_expired_when_they_come(make_emulator: EmulatorMaker, fault: str) -> None:
    emulator = make_emulator(fault)
    answer = emulator.service.upload_v1(emulator.service.credential())
    assert (answer.status_code, answer.headers["X-Tokensvc-Code"]) == (400, "credential.expired")
    assert answer.get_json()["message"].startswith(EXPIRE)
    answer = emulator.service.upload_v2(emulator.service.jwt({"fileName": "a.png"}), fileName="a.png")
    assert answer.headers["X-Tokensvc-Code"] == "credential.expired"


def test_the_store_is_down_for_all_that_need_it(make_emulator: EmulatorMaker) -> None:
    emulator = make_emulator()
    credential = emulator.service.credential()
    emulator.told("POST", "faults", {"faults": ["store=down"]})
    for answer in (
        emulator.service.get(),
        emulator.service.upload_v1(credential),
        emulator.service.send("GET", "/readyz"),
    ):
        assert (answer.status_code, answer.headers.get("X-Tokensvc-Code")) == (503, "store.unavailable")
    emulator.told("POST", "faults", {"faults": ["store=down@x1"]})
    assert emulator.service.send("GET", "/readyz").status_code == 200
    assert emulator.service.get().status_code == 503
    assert emulator.service.upload_v1(credential).status_code == 200


def test_the_page_and_a_listed_origin_see_what_is_switched_on(make_emulator: EmulatorMaker) -> None:
    emulator = make_emulator("reject=0.5", clock="+60s", seed=3)
    page = emulator.service.send("GET", "/").get_data(as_text=True)
    assert page.count("Switched on: reject=0.5; clock is off by +60s; seed 3</p>") == 1
    answer = emulator.service.get(Origin=ORIGIN)
    assert FAULTS in answer.headers["Access-Control-Expose-Headers"]


def test_all_workers_draw_from_one_series(make_emulator: EmulatorMaker) -> None:
    emulator = make_emulator("reject=x3")
    (fault,) = emulator.file.now().parsed
    other = type(emulator.file)(emulator.file.home, emulator.clock)
    assert [emulator.file.hit(fault), other.hit(fault), emulator.file.hit(fault), other.hit(fault)] == [
        *(True, True, True),
        False,
    ]


# The clock


def test_its_clock_is_set_and_moved(make_emulator: EmulatorMaker) -> None:
    """Also far from that of the nonce store, which keeps its records by its own."""
    emulator = make_emulator(clock="1700000000")
    before = emulator.service.on_record()
    credential = emulator.service.credential()
    (record,) = emulator.service.on_record() - before
    assert emulator.service.redis.ttl(record) > 1800
    assert credential["expire"] == str(1_700_000_000 + 1800)
    assert emulator.told("POST", "clock", {"move": "+1804s"}).get_json()["clock"] == {
        "now": 1_700_001_804,
        "offset": None,
        "stands": True,
    }
    assert emulator.service.upload_v1(credential).status_code == 200
    late = emulator.service.own_credential("a-token", 1_700_001_800)
    emulator.told("POST", "clock", {"move": "+1s"})
    assert emulator.service.upload_v1(late).headers["X-Tokensvc-Code"] == "credential.expired"
    assert emulator.told("POST", "clock", {"set": "-1h"}).get_json()["clock"] == {
        "now": emulator.clock.now - 3600,
        "offset": -3600,
        "stands": False,
    }
    assert emulator.codes(1) == [""]


# The control


def test_a_reset_forgets_nonces_files_counts_and_what_was_changed(make_emulator: EmulatorMaker) -> None:
    def limit(tables: dict[str, Any]) -> None:
        tables["profiles"]["default"] |= {"limits": {"per_day": 2}}

    emulator = make_emulator("reject=x1", seed=5, change=limit)
    spent, unspent = emulator.service.credential(), emulator.service.credential()
    assert emulator.service.get().status_code == 429
    assert emulator.service.upload_v1(spent).status_code == 400
    stored = emulator.service.upload_v1(spent)
    assert stored.status_code == 200
    emulator.told("POST", "clock", {"set": "+5m"})
    emulator.told("POST", "faults", {"faults": ["store=down"], "seed": 9})
    answer = emulator.told("POST", "reset")
    assert answer.get_json() == {
        "removed_files": 1,
        "faults": ["reject=x1"],
        "seed": 5,
        "clock": {"now": emulator.clock.now, "offset": 0, "stands": False},
        "publicKey": emulator.service.public_key,
        "files": 0,
    }
    assert emulator.service.on_disk() == KEPT_NONE
    assert emulator.service.send("GET", stored.get_json()["url"]).status_code == 404
    assert emulator.codes(2) == ["credential.invalid", ""]
    assert emulator.service.upload_v1(unspent).headers["X-Tokensvc-Code"] == "credential.unissued"


def test_a_new_start_keeps_what_was_forgotten_forgotten(make_emulator: EmulatorMaker) -> None:
    emulator = make_emulator()
    before = emulator.service.credential()
    emulator.told("POST", "reset")
    emulator.file.begin(Emulation())
    assert emulator.service.upload_v1(before).headers["X-Tokensvc-Code"] == "credential.unissued"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("faults", {"faults": "reject=1"}, "faults is not a list"),
        ("faults", {"faults": ["reject=7"]}, "how often is a share"),
        ("faults", {"fault": []}, "not known"),
        ("faults", {"seed": -1}, "seed is not a whole number"),
        ("faults", {"seed": True}, "seed is not a whole number"),
        ("clock", {}, "Exactly one of set and move"),
        ("clock", {"set": "now", "move": "+1s"}, "Exactly one of set and move"),
        ("clock", {"set": 5}, "Exactly one of set and move"),
        ("clock", {"move": "later"}, "no offset"),
        ("clock", {"move": "-3650d", "set": "now"}, "Exactly one"),
    ],
)
def test_what_cannot_be_set_is_refused_and_nothing_is_changed(
    make_emulator: EmulatorMaker, path: str, body: dict[str, Any], field: str
) -> None:
    emulator = make_emulator("status=503@0", seed=3, clock="+5s")
    before = emulator.file.now()
    answer = emulator.told("POST", path, body)
    assert (answer.status_code, answer.headers["X-Tokensvc-Code"]) == (400, "request.malformed")
    assert field in answer.get_json()["detail"]
    assert emulator.file.now() == before


def refused_control(emulator: Emulator, code: str, headers: dict[str, str], **options: Any) -> None:
    kept = emulator.service.upload_v1(emulator.service.credential())
    assert kept.status_code == 200
    before = emulator.file.now(), emulator.service.on_disk()
    for path in ("reset", "faults", "clock"):
        answer = emulator.service.send("POST", f"/dev/{path}", headers, json={}, **options)
        assert answer.headers["X-Tokensvc-Code"] == code, path
    assert (emulator.file.now(), emulator.service.on_disk()) == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": ORIGIN},
        {"Origin": "http://localhost"},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
)
def test_no_page_controls_it_not_even_a_listed_one(make_emulator: EmulatorMaker, headers: dict[str, str]) -> None:
    refused_control(make_emulator(), "origin.forbidden", {"X-Tokensvc-Dev": "1", **headers})


def test_a_form_that_a_page_can_send_without_being_asked_controls_nothing(make_emulator: EmulatorMaker) -> None:
    """Old browsers send neither Origin nor Sec-Fetch-Site with it."""
    refused_control(make_emulator(), "request.malformed", {"Content-Type": "text/plain"})


@pytest.mark.parametrize("peer", ["10.0.0.1", "192.168.1.5", "fe80::1", "", "unix"])
def test_another_machine_controls_nothing(make_emulator: EmulatorMaker, peer: str) -> None:
    far = {"REMOTE_ADDR": peer}
    headers = {"X-Tokensvc-Dev": "1", "X-Forwarded-For": "127.0.0.1"}
    refused_control(make_emulator(), "caller.forbidden", headers, environ_overrides=far)


# The command


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--fault", "reject=7"], "--fault: 'reject=7': how often is a share from 0 to 1"),
        (["--fault", "slow"], "--fault: 'slow' is no fault. There are: latency=500ms"),
        (["--fault", "store=down", "--fault", "store=down"], "store=down is given twice"),
        (["--clock", "noon"], "--clock: 'noon' is no clock"),
        (["--seed", "-1"], "'--seed'"),
    ],
)
def test_dev_says_what_is_wrong_with_a_fault_before_it_starts(tmp_path: Path, arguments: list[str], told: str) -> None:
    answer = tokensvc("dev", "--data", str(tmp_path / "d"), *arguments)
    assert answer.returncode == 2
    assert told in " ".join(answer.stderr.split())
    assert not (tmp_path / "d").exists()


# Nobody else has it


def test_what_production_runs_does_not_import_it() -> None:
    """With its import rule, this is the whole proof: what is not imported cannot be switched on."""
    script = (
        "import sys, tokensvc.application, tokensvc.launcher; print([m for m in sys.modules if 'tokensvc.dev' in m])"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], env=clean_environment(), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout == "[]\n"
    assert "tokensvc.dev" not in (ROOT / "wsgi.py").read_text()


def test_serve_has_no_faults_and_no_control(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Not even in the data directory of a development server that was told to go wrong."""
    assert "No such option" in tokensvc("serve", "--fault", "reject=1").stderr
    deployment = Deployment(tmp_path_factory.mktemp("p"))
    deployment.write()
    home = deployment.data / "dev"
    home.mkdir(parents=True)
    (home / "emulation.json").write_text(
        '{"start": {}, "now": {"faults": ["reject=1"], "seed": 1, "clock": {"offset": 9000, "at": null}}}'
    )
    with serving(deployment) as (service, client):
        for method, path in (("GET", "state"), ("POST", "reset"), ("POST", "faults"), ("POST", "clock")):
            answer = client.request(method, f"/dev/{path}", b"{}", {"X-Tokensvc-Dev": "1"})
            assert answer.status == 404, path
        stored = client.upload(client.credential())
        assert stored.status == 200
        assert "x-tokensvc-faults" not in stored.headers
        assert service.stop() == 0
