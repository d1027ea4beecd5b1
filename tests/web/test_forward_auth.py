"""`GET /forward-auth`: 204 once, and 401 or 403 for everything else, to trusted proxies only."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.app import Service, Tables
from tests.support.nonces import new_request
from tests.support.valkey import Valkey
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.nonces import nonce_id
from tokensvc.web import create_app, problems

from .conftest import ServiceMaker

PROXY = "127.0.0.1"


@pytest.fixture
def service(make_service: ServiceMaker) -> Service:
    return trusting(make_service)


def trusting(make_service: ServiceMaker, *trusted: str, **options: Any) -> Service:
    def change(tables: Tables) -> None:
        tables["forward_auth"] = {"trusted": list(trusted) or [f"{PROXY}/32"]}

    made: Service = make_service(change=change, **options)
    return made


def ask(service: Service, headers: Mapping[str, str], peer: str = PROXY) -> TestResponse:
    return service.send("GET", "/forward-auth", headers, environ_base={"REMOTE_ADDR": peer})


def headers_v1(credential: Mapping[str, str]) -> dict[str, str]:
    return {
        "X-Upload-Token": credential["token"],
        "X-Upload-Expire": credential["expire"],
        "X-Upload-Signature": credential["signature"],
    }


def refused(answer: TestResponse, status: int, code: str) -> None:
    """A problem with the status that proxies pass on, and the code's own title."""
    assert (answer.status_code, answer.headers["X-Tokensvc-Code"]) == (status, code)
    body = answer.get_json()
    assert (body["status"], body["code"], body["title"]) == (status, code, problems.STATUS[code][1])
    assert answer.headers["Cache-Control"] == "no-store, private"
    assert ("WWW-Authenticate" in answer.headers) is (status == 401)


@pytest.mark.parametrize("version", ["v1", "v1 with its public key", "v2"])
def test_a_credential_lets_one_request_through(service: Service, version: str) -> None:
    if version == "v2":
        headers = {"X-Upload-Token": service.jwt({"fileName": "a.jpg"})}
    else:
        credential = service.credential()
        headers = headers_v1(credential)
        if version != "v1":
            headers["X-Upload-Public-Key"] = credential["publicKey"]
    answer = ask(service, headers)
    assert answer.status_code == 204
    assert answer.get_data() == b""
    assert answer.headers["X-Tokensvc-Subject"] == "ci"
    assert answer.headers["X-Tokensvc-Profile"] == ("open" if version == "v2" else "default")
    assert answer.headers["X-Tokensvc-Account"] == "default"
    assert answer.headers["Cache-Control"] == "no-store, private"
    refused(ask(service, headers), 403, "credential.replayed")


@pytest.mark.alone
def test_of_many_at_once_one_is_let_through(service: Service) -> None:
    headers = headers_v1(service.credential())

    def attempt(_: int) -> int:
        client = service.app.test_client()
        return client.get("/forward-auth", headers=headers, environ_base={"REMOTE_ADDR": PROXY}).status_code

    with ThreadPoolExecutor(32) as threads:
        statuses = list(threads.map(attempt, range(300)))
    assert sorted(statuses) == [204] + [403] * 299


@pytest.mark.parametrize("peer", ["192.0.2.1", "127.0.0.2", "::1", ""])
def test_another_peer_may_not_ask_and_spends_nothing(service: Service, peer: str) -> None:
    headers = headers_v1(service.credential())
    refused(ask(service, headers, peer), 403, "caller.forbidden")
    assert ask(service, headers).status_code == 204


def test_nobody_may_ask_unless_configured(make_service: ServiceMaker) -> None:
    service: Service = make_service()
    refused(ask(service, headers_v1(service.credential())), 403, "caller.forbidden")


def test_a_unix_socket_may_be_trusted(make_service: ServiceMaker) -> None:
    service = trusting(make_service, "unix")
    assert ask(service, headers_v1(service.credential()), peer="").status_code == 204
    refused(ask(service, headers_v1(service.credential())), 403, "caller.forbidden")


def test_what_the_client_says_of_where_it_comes_from_does_not_count(service: Service) -> None:
    headers = {**headers_v1(service.credential()), "X-Forwarded-For": PROXY, "X-Real-IP": PROXY}
    refused(ask(service, headers, "192.0.2.1"), 403, "caller.forbidden")


@pytest.mark.parametrize("headers", [{}, {"X-Upload-Expire": "1700000000"}, {"X-Upload-Signature": "0" * 40}])
def test_without_a_token_it_is_401(service: Service, headers: dict[str, str]) -> None:
    refused(ask(service, headers), 401, "caller.missing")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"X-Upload-Signature": "0" * 40}, "credential.invalid"),
        ({"X-Upload-Signature": ""}, "credential.invalid"),
        ({"X-Upload-Expire": ""}, "credential.invalid"),
        ({"X-Upload-Expire": "1800"}, "expire.invalid"),
        ({"X-Upload-Token": "another"}, "credential.invalid"),
        ({"X-Upload-Token": "caf\xe9"}, "credential.invalid"),
        ({"X-Upload-Public-Key": "public_another"}, "credential.invalid"),
        ({"X-Upload-Signature": "", "X-Upload-Expire": ""}, "credential.invalid"),
    ],
)
def test_what_is_not_genuine_is_401_and_spends_nothing(service: Service, change: dict[str, str], code: str) -> None:
    headers = headers_v1(service.credential())
    refused(ask(service, {name: text for name, text in {**headers, **change}.items() if text}), 401, code)
    assert ask(service, headers).status_code == 204


def test_what_is_genuine_and_not_good_is_403(service: Service) -> None:
    revoked, expired = service.credential(), service.credential()
    service.nonces.revoke(nonce_id("default", "v1", revoked["token"].encode()), actor="ops")
    refused(ask(service, headers_v1(revoked)), 403, "credential.revoked")
    unissued = service.own_credential(new_request(), service.clock.now + 60)
    refused(ask(service, headers_v1(unissued)), 403, "credential.unissued")
    service.clock.now = int(expired["expire"]) + 5
    refused(ask(service, headers_v1(expired)), 403, "credential.expired")


def test_an_outage_is_503(make_service: ServiceMaker) -> None:
    """Not 403: nothing was decided. A proxy makes an error of its own of it, and lets nothing through."""
    with Valkey() as own:
        service = trusting(make_service, store=own)
        headers = headers_v1(service.credential())
        own.stop()
        answer = ask(service, headers)
    assert (answer.status_code, answer.headers["X-Tokensvc-Code"]) == (503, "store.unavailable")
    assert "Retry-After" in answer.headers


def test_a_head_request_spends_nothing(service: Service) -> None:
    headers = headers_v1(service.credential())
    answer = service.send("HEAD", "/forward-auth", headers, environ_base={"REMOTE_ADDR": PROXY})
    assert answer.status_code == 405
    assert ask(service, headers).status_code == 204


@pytest.mark.parametrize(
    ("subject", "header"),
    [
        ("Zoë", "Zo%C3%AB"),
        ("日本", "%E6%97%A5%E6%9C%AC"),
        ("100%", "100%25"),
        ('a b,c;d="e"', 'a b,c;d="e"'),
    ],
)
def test_a_name_is_made_fit_for_a_header(make_service: ServiceMaker, subject: str, header: str) -> None:
    def change(tables: Tables) -> None:
        tables["forward_auth"] = {"trusted": [PROXY]}
        tables["callers"]["backend"]["keys"][0]["subject"] = subject

    service: Service = make_service(change=change)
    answer = ask(service, headers_v1(service.credential()))
    assert answer.headers["X-Tokensvc-Subject"] == header


def test_of_one_minted_elsewhere_only_the_account_is_known(make_service: ServiceMaker) -> None:
    def change(tables: Tables) -> None:
        tables["forward_auth"] = {"trusted": [PROXY]}
        tables["profiles"]["default"]["unissued"] = "cross-off"

    service: Service = make_service(change=change)
    credential = service.own_credential(new_request(), service.clock.now + 60)
    answer = ask(service, headers_v1(credential))
    assert answer.status_code == 204
    assert {name for name in dict(answer.headers) if name.startswith("X-Tokensvc")} == {"X-Tokensvc-Account"}
    refused(ask(service, headers_v1(credential)), 403, "credential.replayed")


def test_who_sends_forged_ones_is_slowed_down(service: Service) -> None:
    """By its own address, with a status that proxies pass on and the time to wait."""

    class Strict:
        def __init__(self) -> None:
            self.failures: list[str] = []

        def check(self, _address: str) -> None:
            if self.failures:
                raise Refusal(Code.RATE_LIMITED, "Too many.", retry_after=7)

        def failed(self, address: str) -> None:
            self.failures.append(address)

        def anonymous(self, address: str) -> None: ...

    throttle, doors = Strict(), service.doors()
    service.client = create_app(replace(doors, redeeming=replace(doors.redeeming, throttle=throttle))).test_client()
    headers = headers_v1(service.credential())
    refused(ask(service, {}), 401, "caller.missing")
    assert throttle.failures == []
    refused(ask(service, {**headers, "X-Upload-Signature": "0" * 40}), 401, "credential.invalid")
    assert throttle.failures == [PROXY]
    answer = ask(service, headers)
    refused(answer, 403, "rate.limited")
    assert answer.headers["Retry-After"] == "7"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH"])
def test_a_proxy_may_ask_by_the_method_that_it_holds_back(service: Service, method: str) -> None:
    headers = headers_v1(service.credential())
    peer = {"REMOTE_ADDR": PROXY}
    assert service.send(method, "/forward-auth", headers, environ_base=peer).status_code == 204
    assert service.send(method, "/forward-auth", headers, environ_base=peer).status_code == 403


def test_a_proxy_that_takes_only_200_for_a_yes_gets_it(service: Service) -> None:
    headers = headers_v1(service.credential())
    peer = {"REMOTE_ADDR": PROXY}
    answer = service.send("POST", "/forward-auth?ok=200", headers, environ_base=peer)
    assert (answer.status_code, answer.headers["X-Tokensvc-Subject"]) == (200, "ci")
    assert service.send("POST", "/forward-auth?ok=200", headers, environ_base=peer).status_code == 403
