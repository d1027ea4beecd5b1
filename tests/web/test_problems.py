"""One shape for every error, whichever door it leaves by."""

from __future__ import annotations

import io
import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.app import BOUNDARY, KEPT_NONE, ORIGIN, form
from tests.support.valkey import HANG_GUARD_SECONDS, Valkey
from tokensvc.core.errors import Code, Outage, Refusal
from tokensvc.web import create_app, problems

from .conftest import assert_problem

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

    from tests.support.app import Service

    from .conftest import ServiceMaker

# The list that the interface promises. It may grow; a status in it never changes.
PROMISED = {
    "caller.missing": 401,
    "caller.invalid": 401,
    "caller.forbidden": 403,
    "origin.forbidden": 403,
    "profile.unknown": 404,
    "version.forbidden": 403,
    "request.malformed": 400,
    "expire.invalid": 400,
    "token.invalid": 400,
    "token.exists": 409,
    "key.mismatch": 400,
    "parameter.forbidden": 422,
    "parameter.invalid": 422,
    "rate.limited": 429,
    "quota.exceeded": 429,
    "credential.invalid": 403,
    "credential.expired": 403,
    "credential.unissued": 403,
    "credential.revoked": 403,
    "credential.stale": 403,
    "idempotency.mismatch": 422,
    "credential.replayed": 409,
    "credential.held": 409,
    "store.unavailable": 503,
    "too_large": 413,
    "not_found": 404,
    "method": 405,
    "internal": 500,
}

WHERE = "Check the path; credentials are at /auth, uploads at /api/v1/files/upload and /api/v2/files/upload."
WITH = "GET fetches a v1 credential, POST a v2 one or an upload."
AS = "Send an upload as multipart/form-data, and no body with Content-Encoding."
OUTAGE = (
    "A store that the service needs does not answer.",
    "Try again shortly. If a credential is then refused as used, fetch a new one.",
)
UNEXPECTED = ("An unexpected error.", "Try again; tell us the request_id if it stays.")


def test_every_code_has_the_status_that_is_promised() -> None:
    assert {code: status for code, (status, _) in problems.STATUS.items()} == PROMISED
    assert {str(code) for code in Code} <= problems.STATUS.keys()


def test_every_code_has_a_title_of_its_own() -> None:
    titles = [title for _, title in problems.STATUS.values()]
    assert len(set(titles)) == len(titles)
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z' ]+", title) for title in titles)


def assert_upload_error(answer: TestResponse, status: int, code: str, message: str, help_text: str) -> None:
    assert answer.get_json() == {"message": message, "help": help_text}
    assert answer.status_code == status
    assert answer.content_type == "application/json"
    assert answer.headers["X-Tokensvc-Code"] == code
    assert answer.headers["Cache-Control"] == "no-store, private"
    assert len(answer.headers["x-request-id"]) == 24
    assert answer.headers["x-ik-requestid"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/auth/",
        "/auth/a/b",
        "/AUTH",
        "/auth//short",
        "/auth//",
        "/files/none.png",
        "/%00",
        "/.env",
    ],
)
def test_what_is_not_there_is_not_found(service: Service, path: str) -> None:
    assert_problem(service.send("GET", path), 404, "not_found", "Not Found.", WHERE)


@pytest.mark.parametrize("path", ["/api", "/api/v3/files/upload", "/api/v1/files", "/api/v1/files/upload/", "/api//"])
def test_what_is_not_there_below_api_is_told_as_imagekit_does(service: Service, path: str) -> None:
    answer = service.send("POST", path)
    if path == "/api":
        assert_problem(answer, 404, "not_found", "Not Found.", WHERE)
    else:
        assert_upload_error(answer, 404, "not_found", "Not Found.", WHERE)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "FOO"])
@pytest.mark.parametrize(
    ("path", "allow"),
    [("/auth", {"GET", "HEAD", "POST"}), ("/auth/short", {"GET", "HEAD", "POST"}), ("/livez", {"GET", "HEAD"})],
)
def test_a_method_that_is_not_declared_is_refused(service: Service, method: str, path: str, allow: set[str]) -> None:
    answer = service.send(method, path, {"X-HTTP-Method-Override": "GET", **service.bearer})
    assert_problem(answer, 405, "method", "Method Not Allowed.", WITH)
    assert set(answer.headers["Allow"].split(", ")) == allow


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_upload_is_a_post(service: Service, method: str, version: str) -> None:
    answer = service.send(method, f"/api/{version}/files/upload")
    assert_upload_error(answer, 405, "method", "Method Not Allowed.", WITH)
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "application/json"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Content-Encoding": "gzip"},
    ],
)
def test_an_upload_is_a_plain_form(service: Service, headers: dict[str, str]) -> None:
    answer = service.send("POST", "/api/v1/files/upload", headers, data=form([("fileName", "a.png")], b"x"))
    assert_upload_error(answer, 415, "request.malformed", "Unsupported Media Type.", AS)
    assert service.on_disk() == KEPT_NONE


GOOD = form([("fileName", "a.png")], b"12345")


@pytest.mark.parametrize(
    "body",
    [b"", b"x", GOOD[:-6], GOOD[: len(GOOD) // 2], GOOD.replace(b"\r\n", b"\n"), GOOD + b"more", GOOD + GOOD],
    ids=["empty", "text", "no end", "half", "bare LF", "trailing", "twice"],
)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_malformed_form_is_refused(service: Service, body: bytes, version: str) -> None:
    answer = service.send(
        "POST",
        f"/api/{version}/files/upload",
        {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
        input_stream=io.BytesIO(body),
        content_length=len(body),
    )
    assert_upload_error(answer, 400, "request.malformed", "Your request could not be read.", answer.get_json()["help"])
    assert answer.get_json()["help"]
    assert service.on_disk() == KEPT_NONE


# 500


@pytest.fixture
def broken(service: Service) -> Service:
    """A clock that fails, with a secret in its message, as an error of a library might have."""

    def clock() -> int:
        raise RuntimeError(f"{service.private_key} in the way")

    object.__setattr__(service.issue, "clock", clock)
    object.__setattr__(service.accept, "clock", clock)
    service.app = create_app(service.doors())
    service.client = service.app.test_client()
    return service


@pytest.mark.quotes_a_key
@pytest.mark.parametrize("debug", [False, True])
def test_an_unexpected_error_tells_the_client_nothing(broken: Service, *, debug: bool) -> None:
    broken.app.testing = broken.app.debug = debug
    before = broken.on_record()
    for answer in (broken.get(Origin=ORIGIN), broken.post({"uploadPayload": {}}, Origin=ORIGIN)):
        assert_problem(answer, 500, "internal", *UNEXPECTED)
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    for version in ("v1", "v2"):
        answer = broken.upload(version, {"fileName": "a.png", "token": "x"})
        assert_upload_error(answer, 500, "internal", *UNEXPECTED)
        assert broken.on_disk() == KEPT_NONE
    assert broken.on_record() <= before


@pytest.mark.quotes_a_key
def test_an_unexpected_error_is_found_in_the_log_by_the_request_id(broken: Service, log: list[str]) -> None:
    answer = broken.get()
    (line,) = [line for line in log if line.startswith("unexpected error")]
    assert line.startswith(f"unexpected error in request {answer.get_json()['request_id']}\n")
    assert "in clock" in line


# 503


@pytest.fixture
def without_store(make_service: ServiceMaker) -> Service:
    with Valkey() as own:
        service: Service = make_service(store=own)
        service.credential()
        own.kill()
    return service


def test_an_outage_of_the_store_is_told_in_time(without_store: Service) -> None:
    service = without_store
    token = service.own_jwt(b'{"iat":%d,"exp":%d}' % (service.clock.now, service.clock.now + 60))
    started_at = time.monotonic()
    for answer in (
        service.get(Origin=ORIGIN),
        service.post({"uploadPayload": {}}, Origin=ORIGIN),
        service.send("GET", "/readyz", {"Origin": ORIGIN}),
    ):
        assert_problem(answer, 503, "store.unavailable", *OUTAGE)
        assert 1 <= int(answer.headers["Retry-After"]) <= 5
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    for answer in (
        service.upload_v1(service.own_credential("t", service.clock.now + 60)),
        service.upload_v2(token),
    ):
        assert_upload_error(answer, 503, "store.unavailable", *OUTAGE)
        assert 1 <= int(answer.headers["Retry-After"]) <= 5
        assert service.on_disk() == KEPT_NONE
    assert time.monotonic() - started_at < HANG_GUARD_SECONDS


def test_a_store_that_hangs_is_an_outage_within_seconds(make_service: ServiceMaker) -> None:
    with Valkey() as own:
        service: Service = make_service(store=own)
        assert service.get().status_code == 200
        own.pause()
        started_at = time.monotonic()
        assert_problem(service.get(), 503, "store.unavailable", *OUTAGE)
        assert time.monotonic() - started_at < 5
        own.resume()
        assert service.get().status_code == 200


def test_a_refusal_is_given_without_the_store(without_store: Service) -> None:
    """Nothing that is refused anyway waits for the store."""
    assert without_store.get("expire=300").status_code == 400
    assert without_store.send("GET", "/auth").status_code == 401


# What leaves is what was decided, and the log says the same


def test_an_outage_of_the_disk_is_one_too(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which store it was is in the log only; that the credential may have been used is said."""

    def receive() -> None:
        raise Outage("There is no room left for files.", retry_after=60)

    monkeypatch.setattr(type(service.files), "receive", lambda _self: receive())
    answer = service.upload_v1(service.credential())
    assert_upload_error(answer, 503, "store.unavailable", *OUTAGE)
    assert answer.headers["Retry-After"] == "60"


def _only_line(log: list[str]) -> dict[str, Any]:
    """The one line that was written, without what nobody can foresee."""
    (line,) = log
    facts: dict[str, Any] = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", facts.pop("time"))
    assert re.fullmatch("[0-9a-f]{32}", facts.pop("trace"))
    assert facts.pop("ms") >= 0
    return facts


def test_a_refusal_is_one_line_of_the_log(service: Service, log: list[str]) -> None:
    answer = service.get("expire=300")
    assert _only_line(log) == {
        "level": "info",
        "event": "refused",
        "code": "expire.invalid",
        "field": "expire",
        "version": "v1",
        "profile": "default",
        "account": "default",
        "source": "backend",
        "subject": "ci",
        "request": answer.headers["X-Request-Id"],
    }


def test_an_outage_is_one_line_of_the_log_with_its_reason(without_store: Service, log: list[str]) -> None:
    log.clear()
    answer = without_store.get()
    assert _only_line(log) == {
        "level": "error",
        "event": "outage",
        "code": "store.unavailable",
        "version": "v1",
        "profile": "default",
        "account": "default",
        "source": "backend",
        "subject": "ci",
        "detail": "The nonce store cannot be reached.",
        "request": answer.headers["X-Request-Id"],
    }


def test_each_request_has_a_name_of_its_own(service: Service) -> None:
    names = {service.send("GET", "/nowhere", {"X-Request-Id": "mine"}).headers["X-Request-Id"] for _ in range(3)}
    assert len(names) == 3
    assert "mine" not in names


@pytest.mark.parametrize("code", list(Code))
def test_every_refusal_has_the_shape_and_the_status_of_its_code(service: Service, code: Code) -> None:
    path = "/x"

    def refuse() -> Any:
        raise Refusal(code, "Braces {token} {0} {} stay.", "So {do} these.", field="a{b}")

    for where in (path, "/api/v1/x", "/api/v2/x"):
        service.app.add_url_rule(where, where, refuse)
    assert_problem(service.send("GET", path), PROMISED[code], code, "Braces {token} {0} {} stay.", "So {do} these.")
    for version in ("v1", "v2"):
        answer = service.send("GET", f"/api/{version}/x")
        assert 400 <= answer.status_code < 500
        assert answer.headers["X-Tokensvc-Code"] == code
        assert answer.get_json()["help"] == "Braces {token} {0} {} stay. So {do} these."


# Host names


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("tokens.example", 200),
        ("tokens.example:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]", 200),
        ("[::1]:8000", 200),
        ("evil.example", 400),
        ("tokens.example.evil", 400),
        ("a.tokens.example", 400),
        ("localhost", 400),
        ("tokens.example@evil.example", 400),
        ("tokens.example/x", 400),
        ("[::2]", 400),
        ("below.example", 200),
        ("a.below.example:8000", 200),
        ("abelow.example", 400),
        ("", 400),
    ],
)
def test_only_listed_hosts_are_answered(make_service: ServiceMaker, host: str, status: int) -> None:
    hosts = ["tokens.example", "127.0.0.1", "[::1]", ".below.example"]
    service: Service = make_service(change=lambda tables: tables.update(hosts=hosts))
    answer = service.send("GET", "/auth", {**service.bearer, "Host": host})
    if status == 200:
        assert answer.status_code == 200
        return
    assert_problem(answer, 400, "request.malformed", "Bad Request.")
    answer = service.send("OPTIONS", "/auth", {"Host": host, "Origin": ORIGIN, "Access-Control-Request-Method": "GET"})
    assert_problem(answer, 400, "request.malformed", "Bad Request.")
    answer = service.upload("v1", {"fileName": "a.png"}, Host=host)
    assert_upload_error(answer, 400, "request.malformed", "Bad Request.", "")
    answer = service.send("GET", "/auth", {**service.bearer, "Host": host, "Origin": f"http://{host}"})
    assert answer.status_code in (400, 403)
