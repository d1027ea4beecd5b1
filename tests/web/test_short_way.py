"""Plain requests for a credential pass Flask by, and nobody can tell that they did."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, request
from werkzeug.test import TestResponse

from tests.support.app import BOUNDARY, ORIGIN, Service, basic, form, png
from tests.support.callers import SiblingApp, seat
from tokensvc.adapters.callers.session import FlaskSession
from tokensvc.core.keys import Secret
from tokensvc.web import create_app
from tokensvc.web.batch import MOST_BYTES

from .conftest import problem_of

if TYPE_CHECKING:
    from .conftest import ServiceMaker

_CHANCE = re.compile(r"_[\w-]{9}\.png|[0-9a-f]{40}|[0-9a-f]{24}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|eyJ[\w.-]+")
"""Names of files, signatures, names of requests, tokens of v1, JWTs: the random parts of an answer."""


def clock() -> int:
    return int(time.time())


def watched(app: Flask) -> list[str]:
    """The paths of the requests that Flask dispatches from now on."""
    seen: list[str] = []
    dispatch = app.full_dispatch_request

    def see() -> Any:
        seen.append(request.path)
        return dispatch()

    app.full_dispatch_request = see  # type: ignore[method-assign] # a spy
    return seen


def by_flask(service: Service) -> Flask:
    """The same application, with a hook more: so all of its requests go Flask's way."""
    app = create_app(service.doors())
    app.after_request(lambda answer: answer)
    return app


def said(answer: TestResponse) -> tuple[int, list[tuple[str, str]], str]:
    """All of an answer but what is random in it."""
    headers = sorted((name, _CHANCE.sub("…", text)) for name, text in answer.headers)
    return answer.status_code, headers, _CHANCE.sub("…", answer.get_data(as_text=True))


V2 = {"uploadPayload": {"fileName": "a.jpg"}}
ASKED: Mapping[str, tuple[str, str, Any, Mapping[str, str]]] = {
    "v1": ("GET", "/auth", None, {}),
    "v1, default by name": ("GET", "/auth/default", None, {}),
    "v1, another profile": ("GET", "/auth/open", None, {}),
    "v1, with a query": ("GET", "/auth?t=1&expire=17", None, {}),
    "v1, by nobody": ("GET", "/auth", None, {"Authorization": ""}),
    "v1, by a forger": ("GET", "/auth", None, {"Authorization": "Bearer tsk_0123456789"}),
    "v1, in a trace": ("GET", "/auth", None, {"Traceparent": f"00-{'1a' * 16}-{'2b' * 8}-01"}),
    "v2": ("POST", "/auth", V2, {}),
    "v2, refused": ("POST", "/auth", {"uploadPayload": {"fileName": "a.jpg", "token": "x"}}, {}),
    "v2, no JSON": ("POST", "/auth", "{", {}),
    "v2, compressed": ("POST", "/auth", V2, {"Content-Encoding": "gzip"}),
    "v2, too large": ("POST", "/auth", " " * 70_000, {}),
    "batch of v1": ("POST", "/auth/batch", {"version": "v1", "count": 3}, {}),
    "batch, default by name": ("POST", "/auth/default/batch", {"version": "v1", "count": 1}, {}),
    "batch of v2": (
        "POST",
        "/auth/open/batch",
        {"version": "v2", "uploads": [{"fileName": "a.jpg"}, {"fil": "b"}]},
        {},
    ),
    "batch, a key": ("POST", "/auth/batch", {"version": "v1", "count": 1}, {"Idempotency-Key": "k 1"}),
    "batch, refused": ("POST", "/auth/batch", {"version": "v1", "count": 101}, {}),
    "batch, too large": ("POST", "/auth/batch", " " * (MOST_BYTES + 1), {}),
    "v1, of a listed page": ("GET", "/auth", None, {"Origin": ORIGIN}),
    "v1, of an own page": ("GET", "/auth", None, {"Origin": "http://localhost"}),
    "v1, of another page": ("GET", "/auth", None, {"Origin": "https://evil.example"}),
    "v1, of nobody's page": ("GET", "/auth", None, {"Origin": "null"}),
    "v1, of a page without a name": ("GET", "/auth", None, {"Origin": ""}),
    "v1, of a listed page by nobody": ("GET", "/auth", None, {"Origin": ORIGIN, "Authorization": ""}),
    "v2, of a listed page": ("POST", "/auth", V2, {"Origin": ORIGIN}),
    "v2, of another page": ("POST", "/auth", V2, {"Origin": "https://evil.example"}),
    "redeem, of a listed page": ("POST", "/redeem", {}, {"Origin": ORIGIN}),
    "redeem, nothing": ("POST", "/redeem", {}, {}),
    "redeem, unissued": ("POST", "/redeem", {"version": "v2", "token": "e30.e30.x"}, {}),
}


def ask(app: Flask, service: Service, method: str, path: str, body: Any, headers: Mapping[str, str]) -> TestResponse:
    data = body if isinstance(body, str) or body is None else json.dumps(body)
    key = {"Authorization": f"Bearer {service.reader_key}"} if path == "/redeem" else service.bearer
    return app.test_client(use_cookies=False).open(path, method=method, headers={**key, **headers}, data=data)


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_an_answer_is_the_same_as_by_flask(service: Service, asked: tuple[str, str, Any, Mapping[str, str]]) -> None:
    slow = by_flask(service)
    here, there = watched(service.app), watched(slow)
    assert said(ask(service.app, service, *asked)) == said(ask(slow, service, *asked))
    assert (len(here), len(there)) == (0, 1)


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost", "https://evil.example", "null"])
@pytest.mark.parametrize("site", [{}, {"Sec-Fetch-Site": "cross-site"}])
@pytest.mark.parametrize("asked", ["v1", "v2"])
def test_a_page_that_asks_with_cookies_is_answered_as_by_flask(
    make_service: ServiceMaker, origin: str, site: dict[str, str], asked: str
) -> None:
    key = "key-" * 8
    service = seat(
        make_service(change=lambda tables: tables["profiles"].update(web={"callers": ["web"]})),
        {"web": FlaskSession("web", [Secret(key)], clock=clock)},
    )
    shown = {"Origin": origin, **site, "Cookie": f"session={SiblingApp(key).sign_in(user_id='u1')}"}
    method, _, body, _ = ASKED[asked]
    short, long = (
        ask(app, service, method, "/auth/web", body, {**shown, "Authorization": ""})
        for app in (service.app, by_flask(service))
    )
    assert said(short) == said(long)
    assert short.status_code == (200 if origin in {ORIGIN, "http://localhost"} else 403)
    assert ("Access-Control-Allow-Credentials" in short.headers) == (origin == ORIGIN)


FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
SENT: Mapping[str, tuple[str, Mapping[str, str], Mapping[str, str]]] = {
    "v1": ("/api/v1/files/upload", {}, {}),
    "v1, at the first address": ("/v1/files/upload", {}, {}),
    "v1, under another name of the host": ("/api/v1/files/upload", {}, {"Host": "xn--mnchen-3ya.example:8000"}),
    "v1, under no name of a host": ("/api/v1/files/upload", {}, {"Host": "a b"}),
    "v1, of a listed page": ("/api/v1/files/upload", {}, {"Origin": ORIGIN}),
    "v1, of another page": ("/api/v1/files/upload", {}, {"Origin": "https://evil.example"}),
    "v1, for later": ("/api/v1/files/upload", {"transformation": '{"pre":"w-1"}'}, {}),
    "v1, a key": ("/api/v1/files/upload", {}, {"Idempotency-Key": "one"}),
    "v1, no key": ("/api/v1/files/upload", {}, {"Idempotency-Key": "k 1"}),
    "v1, no form": ("/api/v1/files/upload", {}, {"Content-Type": "text/plain"}),
    "v1, a form in capitals": (
        "/api/v1/files/upload",
        {},
        {"Content-Type": f"Multipart/Form-Data ; boundary={BOUNDARY}"},
    ),
    "v1, without a type": ("/api/v1/files/upload", {}, {"Content-Type": ""}),
    "v1, compressed": ("/api/v1/files/upload", {}, {"Content-Encoding": "gzip"}),
    "v1, a bad field": ("/api/v1/files/upload", {"isPrivateFile": "maybe"}, {}),
    "v1, with a header": ("/api/v1/files/upload", {}, {"X-Upload-Token": "another"}),
    "v1, by a forger": ("/api/v1/files/upload", {"signature": "0" * 40}, {}),
    "v1, by two": ("/api/v1/files/upload", {}, {"Authorization": basic("private_key")}),
    "v1, with a bearer's key": ("/api/v1/files/upload", {}, {"Authorization": "Bearer tsk_0123456789"}),
    "v2, without a token": ("/api/v2/files/upload", {"token": ""}, {}),
    "v2, another token": ("/api/v2/files/upload", {}, {}),
}


@pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
def test_an_upload_is_answered_as_by_flask_and_what_it_says_twice_too(
    service: Service, sent: tuple[str, Mapping[str, str], Mapping[str, str]]
) -> None:
    path, fields, headers = sent
    slow, answers = by_flask(service), list[tuple[object, object]]()
    here, there = watched(service.app), watched(slow)
    for app in (service.app, slow):
        credential = service.credential()
        body = form({"fileName": "a.png", **credential, **fields}.items(), png())
        pair = [
            app.test_client(use_cookies=False).open(path, method="POST", headers={**FORM, **headers}, data=body)
            for _ in range(2)
        ]
        answers.append((said(pair[0]), said(pair[1])))
    assert answers[0] == answers[1]
    assert (here, there) == ([], [path, path])


def test_a_credential_is_redeemed_once_whichever_way(service: Service) -> None:
    slow = by_flask(service)
    first, second = ({"version": "v1", **service.credential()} for _ in range(2))
    seen = watched(service.app)
    answers = [ask(app, service, "POST", "/redeem", one, {}) for app in (service.app, slow) for one in (first, second)]
    assert [answer.status_code for answer in answers] == [200, 200, 409, 409]
    again = ask(service.app, service, "POST", "/redeem", first, {})
    assert said(again) == said(answers[2])
    assert seen == []


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("HEAD", "/auth", {}),
        ("OPTIONS", "/auth", {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}),
        ("GET", "/auth/", {}),
        ("GET", "/auth/no-such-profile", {}),
        ("GET", "/auth/limits", {}),
        ("GET", "/auth/batch", {}),
        ("POST", "/auth/no-such-profile/batch", {}),
        ("GET", "/redeem", {}),
        ("PUT", "/auth", {}),
        ("get", "/auth", {}),
    ],
)
def test_whatever_else_is_asked_goes_by_flask(
    service: Service, method: str, path: str, headers: Mapping[str, str]
) -> None:
    app, begun = service.app, list[object]()
    make_context = app.request_context

    def see(environ: Any) -> Any:
        begun.append(path)
        return make_context(environ)

    app.request_context = see  # type: ignore[method-assign] # a spy
    ask(app, service, method, path, None, headers)
    assert begun == [path]


def test_another_host_is_refused_on_it_too(make_service: ServiceMaker) -> None:
    service = make_service(change=lambda tables: tables.update(hosts=["uploads.example"]))
    short, long = (
        ask(app, service, "GET", "/auth", None, {"Host": "evil.example"}) for app in (service.app, by_flask(service))
    )
    assert said(short) == said(long)
    assert short.status_code == 400
    assert ask(service.app, service, "GET", "/auth", None, {"Host": "uploads.example:8000"}).status_code == 200


def test_what_goes_wrong_on_it_is_told_as_everywhere(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise TypeError("unexpected")

    monkeypatch.setattr("tokensvc.core.v1.sign", fail)
    problem_of(ask(service.app, service, *ASKED["v1"]), 500, "internal")


def test_who_traces_has_a_span_for_each_request(service: Service) -> None:
    """Flask's hooks begin and end them."""
    spans: list[str] = []

    def begin(name: str, _trail: object) -> Callable[[int], None]:
        return lambda status: spans.append(f"{name} {status}")

    app = create_app(service.doors(begin_span=begin))
    assert ask(app, service, *ASKED["v1"]).status_code == 200
    assert spans == ["issue 200"]
