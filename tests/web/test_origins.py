"""Which pages may ask: exact origins, and nothing is issued for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.app import ORIGIN

from .conftest import assert_problem

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

    from tests.support.app import Service

    from .conftest import ServiceMaker

EXPOSED = (
    "x-request-id, x-ik-requestid, X-Tokensvc-Code, X-Tokensvc-Untracked, Retry-After, RateLimit, RateLimit-Policy"
)
FORBIDDEN = (
    "Pages of this origin may not use the service.",
    "Add the exact origin (scheme, host, port) to [cors] origins.",
)
EVIL = [
    "https://evil.example",
    "https://app.example.evil",
    "https://evilapp.example",
    "https://evil.app.example",
    "https://app.exampl",
    "http://app.example",
    "https://app.example:8443",
    "https://app.example:443",
    "https://APP.example",
    "HTTPS://app.example",
    "https://app.example/",
    "https://app.example.",
    "https://app.example@evil.example",
    "https://app.example https://evil.example",
    "https://app.example,https://evil.example",
    "app.example",
    "null",
    "*",
    "file://",
    "https://localhost",
    "http://localhost:81",
    "http://127.0.0.1",
]


def preflight(service: Service, path: str = "/auth", origin: str = ORIGIN, **asked: str) -> TestResponse:
    headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    headers |= {name.replace("_", "-"): value for name, value in asked.items()}
    return service.send("OPTIONS", path, headers)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_listed_origin_may_ask_with_any_header(service: Service, method: str) -> None:
    before = service.on_record()
    answer = preflight(
        service,
        Access_Control_Request_Method=method,
        Access_Control_Request_Headers="authorization,content-type,customheader",
    )
    assert (answer.status_code, answer.get_data()) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST"
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization,content-type,customheader"
    assert answer.headers["Access-Control-Max-Age"] == "600"
    assert set(answer.vary) == {"Origin", "Access-Control-Request-Headers"}
    assert "Access-Control-Allow-Private-Network" not in answer.headers
    assert service.on_record() <= before


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/auth/short", "GET, POST"),
        ("/api/v1/files/upload", "POST"),
        ("/api/v2/files/upload", "POST"),
        ("/livez", "GET"),
    ],
)
def test_a_preflight_names_the_methods_of_its_path(service: Service, path: str, methods: str) -> None:
    answer = preflight(service, path)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Methods"]) == (204, methods)


def test_a_preflight_without_headers_to_ask_for_allows_none(service: Service) -> None:
    assert "Access-Control-Allow-Headers" not in preflight(service).headers


@pytest.mark.parametrize("asked", ["a\x80", "x" * 1025, 'a"b', "a;b", "a/b"])
def test_a_list_of_headers_that_is_none_is_not_echoed(service: Service, asked: str) -> None:
    answer = preflight(service, Access_Control_Request_Headers=asked)
    assert answer.status_code == 204
    assert "Access-Control-Allow-Headers" not in answer.headers


def test_a_preflight_to_a_private_network_is_given_no_leave(service: Service) -> None:
    answer = preflight(service, Access_Control_Request_Private_Network="true")
    assert "Access-Control-Allow-Private-Network" not in answer.headers


def test_a_preflight_for_a_path_with_nothing_there_is_not_found(service: Service) -> None:
    assert preflight(service, "/nowhere").status_code == 404
    assert service.send("OPTIONS", "/nowhere").status_code == 404


@pytest.mark.parametrize("origin", EVIL)
def test_another_origin_gets_no_leave_and_no_credential(service: Service, origin: str) -> None:
    before = service.on_record()
    answers = [
        preflight(service, origin=origin),
        preflight(service, origin=origin, Access_Control_Request_Method="POST"),
        service.get(Origin=origin),
        service.post({"uploadPayload": {"fileName": "a.png"}}, Origin=origin),
    ]
    for answer in answers:
        assert_problem(answer, 403, "origin.forbidden", *FORBIDDEN)
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control-")]
        assert "Origin" in answer.vary
    assert service.on_record() <= before


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://app.example"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_another_origin_cannot_upload(service: Service, origin: str, version: Any) -> None:
    answer = service.upload(version, {"fileName": "a.png"}, Origin=origin)
    assert answer.status_code == 403
    assert answer.get_json() == {"message": FORBIDDEN[0], "help": " ".join(FORBIDDEN)}
    assert answer.headers["X-Tokensvc-Code"] == "origin.forbidden"
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_an_evil_origin_does_not_use_up_a_good_credential(service: Service) -> None:
    credential = service.credential()
    answer = service.upload("v1", {"fileName": "a.png", **credential}, Origin="https://evil.example")
    assert answer.status_code == 403
    assert service.upload_v1(credential).status_code == 200


def test_what_a_listed_origin_gets_it_may_read(service: Service) -> None:
    for answer in (
        service.get(Origin=ORIGIN),
        service.post({"uploadPayload": {}}, Origin=ORIGIN),
        service.upload("v1", {"fileName": "a.png", **service.credential()}, Origin=ORIGIN),
    ):
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.headers["Access-Control-Expose-Headers"] == EXPOSED


def test_errors_may_be_read_too(service: Service) -> None:
    for status, answer in (
        (400, service.get("expire=300", Origin=ORIGIN)),
        (401, service.send("GET", "/auth", {"Origin": ORIGIN})),
        (404, service.send("GET", "/nowhere", {"Origin": ORIGIN})),
        (405, service.send("PUT", "/auth", {"Origin": ORIGIN})),
        (413, service.post(b" " * 70_000, Origin=ORIGIN)),
        (400, service.upload("v1", {"fileName": "a.png", "token": "x"}, Origin=ORIGIN)),
        (415, service.send("POST", "/api/v2/files/upload", {"Origin": ORIGIN}, data=b"x")),
    ):
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.headers["Access-Control-Expose-Headers"] == EXPOSED


def test_an_origin_among_several_is_answered_with_itself(make_service: ServiceMaker) -> None:
    def two(tables: dict[str, Any]) -> None:
        tables["cors"] = {"origins": ["https://other.example", ORIGIN], "max_age": 5}

    service: Service = make_service(change=two)
    answer = preflight(service)
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Max-Age"] == "5"


def test_without_listed_origins_no_page_of_another_origin_may_ask(make_service: ServiceMaker) -> None:
    service: Service = make_service(change=lambda tables: tables.update(cors={}))
    assert preflight(service).status_code == 403
    assert service.get(Origin=ORIGIN).status_code == 403
    assert service.get().status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Origin": ORIGIN}, {"Access-Control-Request-Method": "GET"}])
def test_options_that_is_no_preflight_is_not_a_method_here(service: Service, headers: dict[str, str]) -> None:
    answer = service.send("OPTIONS", "/auth", headers)
    remedy = "GET fetches a v1 credential, POST a v2 one or an upload."
    assert_problem(answer, 405, "method", "Method Not Allowed.", remedy)
    assert answer.headers["Allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        ("http://localhost", "http://localhost"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("https://tokens.example", "https://tokens.example"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://xn--bcher-kva.example", "http://xn--bcher-kva.example"),
    ],
)
def test_the_services_own_pages_may_ask(service: Service, base_url: str, origin: str) -> None:
    body: dict[str, Any] = {"uploadPayload": {}}
    answer = service.send("POST", "/auth", {**service.bearer, "Origin": origin}, json=body, base_url=base_url)
    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer.headers
