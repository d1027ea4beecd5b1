"""`tokensvc doctor` as an operator runs it, on real stores; and what of it a start stops for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.service import ROOT, Deployment, serving, tokensvc
from tests.support.valkey import APP_RIGHTS, Valkey

REFUSED, USAGE, OUTAGE = 1, 2, 3


def examined(deployment: Deployment, *options: str, **settings: str) -> tuple[int, dict[str, Any]]:
    """The exit status and the JSON."""
    told = tokensvc("doctor", "--json", *options, **{**deployment.environment, **settings})
    assert told.stderr == ""
    assert deployment.private_key not in told.stdout
    return told.returncode, json.loads(told.stdout)


def places(report: dict[str, Any], level: str) -> set[str]:
    return {finding["place"] for finding in report["findings"] if finding["level"] == level}


def test_a_good_store_is_fine(deployment: Deployment, valkey: Valkey) -> None:
    status, report = examined(deployment, REDIS_URL=valkey.url)
    assert (status, report["fine"]) == (0, True)
    assert {finding["level"] for finding in report["findings"]} <= {"warning", "unknown", "fine"}
    assert all(finding.keys() == {"level", "place", "what", "remedy"} for finding in report["findings"])
    assert places(report, "unknown") == {"accounts.default.url_endpoint"}
    assert "store" in places(report, "fine")
    told = tokensvc("doctor", **deployment.environment, REDIS_URL=valkey.url)
    assert told.returncode == 0
    assert "Nothing keeps the service from working" in told.stdout


def test_an_evicting_store_stops_doctor_and_start(deployment: Deployment) -> None:
    with Valkey(maxmemory_policy="allkeys-lru") as own:
        status, report = examined(deployment, REDIS_URL=own.url)
        assert (status, report["fine"]) == (REFUSED, False)
        assert places(report, "fatal") == {"store"}
        for command in (["serve"], ["preflight"]):
            told = tokensvc(*command, **deployment.environment, REDIS_URL=own.url)
            assert told.returncode == REFUSED
            assert "tokensvc does not start" in told.stderr
            assert "maxmemory-policy noeviction" in told.stderr


def test_rights_that_are_missing_stop_it(deployment: Deployment, valkey: Valkey) -> None:
    rights = APP_RIGHTS.replace("+evalsha ", "")
    valkey.command("ACL", "SETUSER", "limited", "reset", "on", ">limited-CANARY", *rights.split())
    url = valkey.url_as("limited", "limited-CANARY")
    status, report = examined(deployment, REDIS_URL=url)
    assert status == REFUSED
    assert "CANARY" not in str(report)
    told = tokensvc("serve", **deployment.environment, REDIS_URL=url)
    assert told.returncode == REFUSED
    assert "does not let our user do what it has to" in told.stderr


def test_so_does_a_wrong_password(deployment: Deployment, valkey: Valkey) -> None:
    valkey.command("ACL", "SETUSER", "app", "reset", "on", ">app-password", *APP_RIGHTS.split())
    status, report = examined(deployment, REDIS_URL=valkey.url_as("app", "wrong-CANARY"))
    assert (status, places(report, "fatal")) == (REFUSED, {"store"})
    assert "CANARY" not in str(report)


def test_a_store_that_does_not_answer_is_an_outage_and_a_start_goes_on(deployment: Deployment) -> None:
    """It may come later: until then the service is not ready."""
    with Valkey(appendonly="yes") as own:
        own.kill()
        status, report = examined(deployment, REDIS_URL=own.url)
        assert (status, places(report, "outage")) == (OUTAGE, {"store"})
        told = tokensvc("preflight", **deployment.environment, REDIS_URL=own.url)
        assert told.returncode == 0
        assert "Warning: store: does not answer" in told.stderr


def test_a_configuration_with_faults_is_told_as_such(deployment: Deployment) -> None:
    deployment.write("[profiles.b]\n")
    status, report = examined(deployment)
    assert (status, report["fine"]) == (USAGE, False)
    assert [fault["place"] for fault in report["faults"]] == ["profiles.b.callers"]


def test_the_embedded_store_before_it_ever_ran_and_while_it_runs(deployment: Deployment) -> None:
    status, report = examined(deployment)
    assert (status, "store" in places(report, "unknown")) == (0, True)
    with serving(deployment):
        status, report = examined(deployment)
        assert status == 0
        assert places(report, "unknown") == {"accounts.default.url_endpoint"}
    status, report = examined(deployment)
    assert (status, "store" in places(report, "unknown")) == (0, True)


def test_a_folder_that_can_hold_no_store_stops_it(deployment: Deployment) -> None:
    status, report = examined(deployment, TOKENSVC_DATA_DIR=str(deployment.folder / ("d" * 100)))
    assert (status, places(report, "fatal")) == (REFUSED, {"store"})


def test_a_folder_that_everybody_may_write_to_stops_doctor_and_start(deployment: Deployment) -> None:
    deployment.data.mkdir()
    (deployment.data / "store").mkdir()
    (deployment.data / "store").chmod(0o777)
    assert examined(deployment)[0] == REFUSED
    told = tokensvc("serve", **deployment.environment)
    assert told.returncode == REFUSED
    assert "chmod o-w" in told.stderr


def test_what_only_doctor_says_of_the_configuration(deployment: Deployment, valkey: Valkey, tmp_path: Path) -> None:
    deployment.write(
        '[callers.guests]\nkind = "anonymous"\n[profiles.open]\ncallers = ["guests"]\npublic = true\n'
        'versions = ["v2"]\nlimits = { max_bytes = "99MB", rate = "9/minute" }\n'
        '[cors]\norigins = ["http://app.example", "http://localhost:5173", "https://app.example"]\n'
    )
    nginx = tmp_path / "nginx.conf"
    nginx.write_text("server {\n    client_max_body_size 8m;\n}\n")
    status, report = examined(deployment, "--nginx", str(nginx), "--no-upstream", REDIS_URL=valkey.url)
    assert status == 0
    assert places(report, "warning") - {"upload.store"} == {
        "profiles.default.lifetime",
        "profiles.open.public",
        "profiles.open.limits.max_bytes",
        "cors.origins[0]",
        "cors.origins[1]",
        f"{nginx}:2",
    }
    assert places(report, "unknown") == set()


def test_the_nginx_that_we_ship_lets_uploads_through(deployment: Deployment, valkey: Valkey) -> None:
    ours = str(ROOT / "deploy" / "nginx" / "front.conf")
    _, report = examined(deployment, "--nginx", ours, "--no-upstream", REDIS_URL=valkey.url)
    assert [finding["level"] for finding in report["findings"] if finding["place"].startswith(ours)] == ["fine"]


def test_an_upstream_that_is_not_there_is_unknown(deployment: Deployment, valkey: Valkey) -> None:
    there = "http://127.0.0.1:1/demo"
    status, report = examined(deployment, REDIS_URL=valkey.url, IMAGEKIT_URL_ENDPOINT=there)
    assert (status, places(report, "unknown")) == (0, {"accounts.default.url_endpoint"})
