"""The log of the whole service: one stream of JSON, gunicorn's own lines in it, and no secret whatever is sent."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from tests.support.processes import until
from tests.support.service import Client, Deployment, Running, free_port, running, serving, tokensvc

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.valkey import Valkey
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def lines_of(service: Running) -> list[dict[str, Any]]:
    """Every line of the log; each is JSON, but for the warnings about the configuration, before anything runs."""
    found = [json.loads(line) for line in service.log.splitlines() if not line.startswith("Warning: ")]
    for line in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line["time"]), line
        assert line["level"] in {"debug", "info", "warning", "error", "critical"}
        assert line["event"]
    return found


def test_every_line_is_json_with_access_lines_if_asked_for_and_no_secret(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    deployment.write()
    with serving(deployment, GUNICORN_CMD_ARGS="--access-logfile -") as (service, client):
        credential = client.credential()
        trace = {"Traceparent": f"00-{TRACE}-{PARENT}-01"}
        assert client.upload(credential, trace).status == 200
        assert client.upload(credential).status == 400
        bearer = {"Authorization": f"Bearer {deployment.api_key}", "Cookie": "session=CANARYcookie"}
        assert client.request("GET", f"/auth?expire=1&token=CANARYquery{'a' * 8}", headers=bearer).status == 400
        assert client.request("GET", "/no%0Awhere%1b%5b2J").status == 404
        with socket.create_connection(("127.0.0.1", int(str(client.address)))) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nAuthorization : CANARYheader\r\nbroken\x1b\r\n\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 400")
        assert service.stop() == 0
    found = lines_of(service)
    stored = next(line for line in found if line["event"] == "stored")
    assert (stored["trace"], stored["parent"]) == (TRACE, PARENT)
    redeemed = next(line for line in found if line["event"] == "redeemed")
    assert redeemed["request"] == stored["request"]
    assert (redeemed["subject"], redeemed["account"], redeemed["profile"]) == ("t", "default", "default")
    assert next(line for line in found if line["event"] == "replayed")["level"] == "warning"
    access = [line for line in found if line["event"] == "request" and line["path"] != "/readyz"]
    told = [(line["method"], line["path"], line["status"]) for line in access]
    assert {  # in any order: several workers write, and a line is written after its answer is sent
        ("GET", "/auth", 200),
        ("POST", "/api/v1/files/upload", 200),
        ("POST", "/api/v1/files/upload", 400),
        ("GET", "/auth", 400),
        ("GET", "/no\nwhere\x1b[2J", 404),
    } <= set(told)
    assert stored["request"] in {line.get("request") for line in access}
    assert any(line["event"] == "server" and "Booting worker" in line["message"] for line in found)
    secrets = (deployment.api_key, deployment.private_key, *(credential[name] for name in ("token", "signature")))
    assert not [secret for secret in secrets if secret in service.log]
    assert "CANARY" not in service.log


def test_without_being_asked_there_are_no_access_lines_and_the_launcher_speaks_json(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    deployment.write()
    with serving(deployment) as (service, client):
        assert client.issue().status == 200
        os.kill(service.supervisor, signal.SIGKILL)
        until(lambda: "supervisor was gone" in service.log)
        until(client.is_ready)
        assert service.stop() == 0
    events = {line["event"] for line in lines_of(service)}
    assert {"issued", "server", "launcher"} <= events
    assert "request" not in events


def test_people_may_have_it_in_words(tmp_path: Path, valkey: Valkey) -> None:
    deployment = Deployment(tmp_path)
    deployment.write()
    client = Client(free_port(), deployment.api_key)
    command = [sys.executable, "-m", "tokensvc", "serve", "--bind", f"127.0.0.1:{client.address}", "--workers", "1"]
    with running(command, deployment, client, REDIS_URL=valkey.url, TOKENSVC_LOG="console") as service:
        assert client.issue().status == 200
        assert service.stop() == 0
    assert "{" not in service.log
    assert re.search(r"\[info\s*\] issued .*subject=t", service.log)
    assert re.search(r"\[info\s*\] server .*Booting worker", service.log)


def test_another_form_is_refused_by_name(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    deployment.write()
    told = tokensvc("serve", **{**deployment.environment, "TOKENSVC_LOG": "xml"})
    assert told.returncode == 2
    assert "TOKENSVC_LOG: must be 'json' or 'console'" in told.stderr
