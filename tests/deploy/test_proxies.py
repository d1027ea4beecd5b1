"""The proxies of deploy/ in front of the real service: what they let through, what they hold back, what they change."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.proxies import DEPLOY, Handler, envoy, handling, nginx, recipe
from tests.support.service import Answer, Client, Deployment, free_port, serving
from tests.support.tls import make_certificate
from tokensvc.core import v1
from tokensvc.core.mac import Keyed

SPOOFED: Final = {"X-Tokensvc-Subject": "root", "X-Tokensvc-Profile": "root", "X-Tokensvc-Account": "root"}


@dataclass(frozen=True)
class Guarded:
    """A proxy that asks `service` before it lets an upload through to `handler`."""

    service: Client
    proxy: Client
    handler: Handler
    deployment: Deployment

    def upload(self, headers: Mapping[str, str]) -> Answer:
        return self.proxy.request("POST", "/upload", b"a picture", {"Content-Type": "image/png", **headers})

    def v1(self) -> dict[str, str]:
        credential = self.service.credential()
        return {
            "X-Upload-Token": credential["token"],
            "X-Upload-Expire": credential["expire"],
            "X-Upload-Signature": credential["signature"],
        }

    def v2(self) -> dict[str, str]:
        asked = json.dumps({"uploadPayload": {"fileName": f"{os.urandom(6).hex()}.png"}}).encode()
        answer = self.service.request("POST", "/auth", asked, {"Authorization": f"Bearer {self.service.api_key}"})
        assert answer.status == 200, answer
        return {"X-Upload-Token": answer.json["token"]}


@pytest.fixture(scope="module")
def tokensvc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, Client]]:
    """With the settings that the recipes name: the loopback may ask, the api key may redeem, a header says who."""
    deployment = Deployment(tmp_path_factory.mktemp("tokensvc"))
    digest = hashlib.sha256(deployment.api_key.encode()).hexdigest()
    deployment.toml.write_text(
        f'[callers.backend]\nkind = "api_key"\n'
        f'keys = [{{ id = "t", sha256 = "{digest}", subject = "t", may = ["issue", "redeem"] }}]\n'
        '[callers.proxy]\nkind = "forwarded"\nheader = "X-Forwarded-User"\ntrusted = ["127.0.0.1/32"]\n'
        '[profiles.default]\ncallers = ["backend", "proxy"]\nlimits = { max_bytes = "1MB" }\n'
        '[forward_auth]\ntrusted = ["127.0.0.1/32"]\n'
    )
    with serving(deployment) as (_, client):
        yield deployment, client


@pytest.fixture(scope="module", params=["nginx", "envoy"])
def guarded(
    request: pytest.FixtureRequest, tokensvc: tuple[Deployment, Client], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    deployment, service = tokensvc
    folder, port = tmp_path_factory.mktemp("proxy"), free_port()
    with handling() as handler:
        if request.param == "nginx":
            addresses = {
                "listen 80;": f"listen 127.0.0.1:{port};",
                "127.0.0.1:8000": f"127.0.0.1:{service.address}",
                "127.0.0.1:9000": f"127.0.0.1:{handler.port}",
            }
            running = nginx(folder, recipe("nginx/auth-request.conf", addresses), port)
        else:
            addresses = {
                "address: 0.0.0.0, port_value: 8080": f"address: 127.0.0.1, port_value: {port}",
                "port_value: 8000": f"port_value: {service.address}",
                "port_value: 9000": f"port_value: {handler.port}",
            }
            running = envoy(folder, recipe("envoy/envoy.yaml", addresses), port)
        with running:
            yield Guarded(service, Client(port), handler, deployment)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_upload_comes_through_once_and_says_whose_it_is(guarded: Guarded, version: str) -> None:
    credential = guarded.v1() if version == "v1" else guarded.v2()
    guarded.handler.seen.clear()
    answer = guarded.upload({**credential, **SPOOFED})
    assert (answer.status, answer.body) == (200, b"taken")
    (seen,) = guarded.handler.seen
    assert (seen.method, seen.path, seen.body) == ("POST", "/upload", b"a picture")
    named = {name: seen.headers.get(f"x-tokensvc-{name}") for name in ("subject", "profile", "account")}
    assert named == {"subject": "t", "profile": "default", "account": "default"}
    assert not {"x-upload-token", "x-upload-signature"} & seen.headers.keys()

    again = guarded.upload(credential)
    assert (again.status, again.headers["x-tokensvc-code"]) == (403, "credential.replayed")
    assert guarded.handler.seen == [seen]


def test_of_twenty_at_once_with_one_credential_one_comes_through(guarded: Guarded) -> None:
    credential = guarded.v1()
    guarded.handler.seen.clear()
    with ThreadPoolExecutor(20) as pool:
        statuses = [answer.status for answer in pool.map(guarded.upload, [credential] * 20)]
    assert sorted(statuses) == [200] + [403] * 19
    assert len(guarded.handler.seen) == 1


def test_what_is_refused_never_gets_to_the_handler(guarded: Guarded) -> None:
    good = guarded.v1()
    expire = int(time.time()) + 600
    by_a_stranger = {"X-Upload-Token": "t", "X-Upload-Expire": str(expire)}
    by_a_stranger["X-Upload-Signature"] = v1.sign(Keyed(b"private_of_a_stranger"), "t", expire)
    never_issued = {"X-Upload-Token": "t", "X-Upload-Expire": str(expire)}
    never_issued["X-Upload-Signature"] = v1.sign(Keyed(guarded.deployment.private_key.encode()), "t", expire)
    cases: list[tuple[Mapping[str, str], int, str]] = [
        ({}, 401, "caller.missing"),
        ({**good, "X-Upload-Signature": "0" * 40}, 401, "credential.invalid"),
        ({**good, "X-Upload-Expire": "9" * 10}, 401, "credential.invalid"),
        ({"X-Upload-Token": "a.b.c"}, 401, "credential.invalid"),
        (by_a_stranger, 401, "credential.invalid"),
        (never_issued, 403, "credential.unissued"),
    ]
    guarded.handler.seen.clear()
    for headers, status, code in cases:
        answer = guarded.upload({**headers, **SPOOFED})
        assert (answer.status, answer.headers.get("x-tokensvc-code")) == (status, code), headers
    assert guarded.handler.seen == []
    assert guarded.upload(good).status == 200  # none of these spent it


def test_only_the_one_path_is_there(guarded: Guarded) -> None:
    credential = guarded.v1()
    guarded.handler.seen.clear()
    for path in ("/upload/", "/UPLOAD", "/_tokensvc", "/forward-auth", "/"):
        assert guarded.proxy.request("POST", path, b"", credential).status == 404, path
    assert guarded.handler.seen == []
    assert guarded.upload(credential).status == 200


def test_a_stopped_service_lets_nothing_through(tmp_path: Path) -> None:
    """Neither nginx nor Envoy takes silence for a yes."""
    with handling() as handler:
        port, nobody = free_port(), free_port()
        addresses = {
            "listen 80;": f"listen 127.0.0.1:{port};",
            "127.0.0.1:8000": f"127.0.0.1:{nobody}",
            "127.0.0.1:9000": f"127.0.0.1:{handler.port}",
        }
        with nginx(tmp_path, recipe("nginx/auth-request.conf", addresses), port):
            assert Client(port).request("POST", "/upload", b"x", {"X-Upload-Token": "t"}).status == 500
        addresses = {
            "address: 0.0.0.0, port_value: 8080": f"address: 127.0.0.1, port_value: {port}",
            "port_value: 8000": f"port_value: {nobody}",
            "port_value: 9000": f"port_value: {handler.port}",
        }
        with envoy(tmp_path, recipe("envoy/envoy.yaml", addresses), port):
            assert Client(port).request("POST", "/upload", b"x", {"X-Upload-Token": "t"}).status == 503
        assert handler.seen == []


# oauth2-proxy, by the interface that it documents: 202 with X-Auth-Request-User, or 401


@pytest.fixture(scope="module")
def signed_in(
    tokensvc: tuple[Deployment, Client], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Client, Client]]:
    """The proxy, and the service behind it."""
    _, service = tokensvc
    port = free_port()
    with handling() as sign_in:
        sign_in.answer = lambda seen: (
            (202, {"X-Auth-Request-User": "u1"}) if seen.headers.get("cookie") == "_oauth2_proxy=u1" else (401, {})
        )
        addresses = {
            "listen 80;": f"listen 127.0.0.1:{port};",
            "server 127.0.0.1:8000;": f"server 127.0.0.1:{service.address};",
            "server 127.0.0.1:4180;": f"server 127.0.0.1:{sign_in.port};",
        }
        text = recipe("nginx/oauth2-proxy.conf", addresses)
        with nginx(tmp_path_factory.mktemp("oauth2"), text, port):
            yield Client(port), service


def test_who_is_signed_in_at_the_proxy_is_the_subject(signed_in: tuple[Client, Client]) -> None:
    proxy, service = signed_in
    page = {"X-Requested-With": "XMLHttpRequest"}  # or the Origin of a page that is listed
    answer = proxy.request("GET", "/auth", headers={**page, "Cookie": "_oauth2_proxy=u1", "X-Forwarded-User": "root"})
    assert answer.status == 200, answer
    credential = {"version": "v1", **answer.json}
    told = service.request(
        "POST",
        "/redeem",
        json.dumps(credential).encode(),
        {"Authorization": f"Bearer {service.api_key}", "Content-Type": "application/json"},
    )
    assert (told.status, told.json["grant"]["subject"], told.json["grant"]["source"]) == (200, "u1", "proxy")


def test_who_is_not_signed_in_gets_nothing_whatever_header_he_sends(signed_in: tuple[Client, Client]) -> None:
    proxy, _ = signed_in
    assert proxy.request("GET", "/auth", headers={"X-Forwarded-User": "root"}).status == 401
    assert proxy.request("GET", "/oauth2/auth", headers={"Cookie": "_oauth2_proxy=u1"}).status == 404  # internal


# nginx in front of everything


def test_the_front_passes_on_who_asks_and_nothing_that_a_client_says_of_it(tmp_path: Path) -> None:
    certificate, port = make_certificate(tmp_path), free_port()
    with handling() as handler:
        addresses = {
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "/etc/nginx/tls/uploads.example.pem": str(certificate.certificate_path),
            "/etc/nginx/tls/uploads.example.key": str(certificate.key_path),
            "server 127.0.0.1:8000;": f"server 127.0.0.1:{handler.port};",
        }
        with nginx(tmp_path, recipe("nginx/front.conf", addresses), port):
            trust = ssl.create_default_context(cafile=str(certificate.certificate_path))

            def ask(path: str, body: bytes = b"") -> int:
                connection = http.client.HTTPSConnection("127.0.0.1", port, context=trust, timeout=30)
                with contextlib.closing(connection):
                    headers = {"Host": "uploads.example", "X-Forwarded-For": "203.0.113.9"}
                    connection.request("POST" if body else "GET", path, body or None, headers)
                    return connection.getresponse().status

            assert ask("/auth") == 200
            seen = handler.seen.pop()
            assert (seen.headers["x-forwarded-for"], seen.headers["host"]) == ("127.0.0.1", "uploads.example")
            assert ask("/api/v1/files/upload", b"x" * 2_000_000) == 200
            handler.seen.clear()
            assert ask("/api/v1/files/upload", b"x" * 26 * 1024 * 1024) == 200
            handler.seen.clear()
            with contextlib.suppress(ssl.SSLError, ConnectionError):  # or it hangs up on what still comes
                assert ask("/api/v1/files/upload", b"x" * (26 * 1024 * 1024 + 1)) == 413
            assert handler.seen == []


# Traefik, by the form of its file provider


def test_traefik_s_file_asks_at_forward_auth_and_drops_what_a_client_says_of_itself() -> None:
    """There is no Traefik to be had from PyPI, npm or Debian: its dynamic configuration is checked by its form."""
    http_ = yaml.safe_load((DEPLOY / "traefik/dynamic.yaml").read_text())["http"]
    assert set(http_) == {"routers", "middlewares", "services"}
    (router,) = http_["routers"].values()
    assert set(router) == {"rule", "entryPoints", "middlewares", "service"}
    assert router["service"] in http_["services"]
    assert router["middlewares"] == list(http_["middlewares"])
    before, question, after = http_["middlewares"].values()
    forward = question["forwardAuth"]
    assert set(forward) == {"address", "trustForwardHeader", "authRequestHeaders", "authResponseHeaders"}
    assert forward["address"].endswith("/forward-auth")
    assert forward["trustForwardHeader"] is False
    assert set(before["headers"]["customRequestHeaders"]) == set(forward["authResponseHeaders"]) == set(SPOOFED)
    assert set(after["headers"]["customRequestHeaders"]) <= set(forward["authRequestHeaders"])
    assert {
        *before["headers"]["customRequestHeaders"].values(),
        *after["headers"]["customRequestHeaders"].values(),
    } == {""}


# tusd


def hook(
    service: Client, deployment: Deployment, headers: Mapping[str, str], *, size: int = 5, url: str = ""
) -> dict[str, Any]:
    """What the hook answers to an event of the shape that tusd 2 documents."""
    key = deployment.folder / "api-key"
    key.write_text(f"{deployment.api_key}\n")
    event = {
        "Type": "pre-create",
        "Event": {
            "Upload": {
                "ID": "",
                "Size": size,
                "SizeIsDeferred": False,
                "Offset": 0,
                "MetaData": {"filename": "a.png"},
                "IsPartial": False,
                "IsFinal": False,
                "PartialUploads": None,
                "Storage": None,
            },
            "HTTPRequest": {
                "Method": "POST",
                "URI": "/files/",
                "RemoteAddr": "192.0.2.1:41000",
                "Header": {"Tus-Resumable": ["1.0.0"], **{name: [text] for name, text in headers.items()}},
            },
        },
    }
    environment = {
        **os.environ,
        "TOKENSVC_URL": url or f"http://127.0.0.1:{service.address}",
        "TOKENSVC_API_KEY_FILE": str(key),
    }
    ran = subprocess.run(
        [sys.executable, str(DEPLOY / "tusd/pre-create")],
        input=json.dumps(event),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_tusd_creates_an_upload_once_for_a_credential(
    tokensvc: tuple[Deployment, Client], guarded: Guarded, version: str
) -> None:
    deployment, service = tokensvc
    credential = guarded.v1() if version == "v1" else guarded.v2()
    first = hook(service, deployment, credential)
    assert first == {"ChangeFileInfo": {"MetaData": {"filename": "a.png", "tokensvc-subject": "t"}}}
    again = hook(service, deployment, credential)
    assert again["RejectUpload"] is True
    assert again["HTTPResponse"]["StatusCode"] == 409
    assert json.loads(again["HTTPResponse"]["Body"])["code"] == "credential.replayed"


def test_tusd_refuses_what_has_no_credential_or_is_too_large_or_cannot_be_asked(
    tokensvc: tuple[Deployment, Client], guarded: Guarded
) -> None:
    deployment, service = tokensvc

    def refusal(answer: dict[str, Any]) -> tuple[bool, int]:
        return answer["RejectUpload"], answer["HTTPResponse"]["StatusCode"]

    assert refusal(hook(service, deployment, {})) == (True, 401)
    assert refusal(hook(service, deployment, guarded.v1(), size=1_000_001)) == (True, 413)
    assert "RejectUpload" not in hook(service, deployment, guarded.v1(), size=1_000_000)
    good = guarded.v2()
    assert refusal(hook(service, deployment, good, url=f"http://127.0.0.1:{free_port()}")) == (True, 503)
    assert "RejectUpload" not in hook(service, deployment, good)
    forged = f"{good['X-Upload-Token'].rpartition('.')[0]}.{base64.urlsafe_b64encode(bytes(32)).decode().rstrip('=')}"
    assert refusal(hook(service, deployment, {"X-Upload-Token": forged})) == (True, 403)


def test_the_hook_may_be_executed() -> None:
    """tusd executes the file itself."""
    assert os.access(DEPLOY / "tusd/pre-create", os.X_OK)
