"""The service's own document: it is complete, it is OpenAPI 3.1, and the page shows all of it.

Whether the answers are as it says is asked of every answer in these tests: see `tests.support.documented`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest
from openapi_spec_validator import validate

from tests.support.app import Service
from tests.support.documented import DOCUMENT, faults, require_documented, resolved
from tokensvc.web import create_app
from tokensvc.web.openapi import document
from tokensvc.web.openapi.page import METHODS, operations
from tokensvc.web.problems import STATUS

if TYPE_CHECKING:
    from flask import Flask

    from tests.web.conftest import ServiceMaker

NOT_THE_INTERFACE: Final = {"demo", "dev"}
"""Blueprints of the development server only."""

GIVEN_BY_FLASK: Final = {"HEAD", "OPTIONS"}
"""To every path with a GET, and to every path by CORS. The document tells of them once, but for HEAD of a file."""


def routes(app: Flask) -> set[tuple[str, str]]:
    """Path and method of all routes, as OpenAPI writes them. Each account's files are one path."""
    found = set()
    for rule in app.url_map.iter_rules():
        if rule.endpoint.partition(".")[0] in NOT_THE_INTERFACE:
            continue
        path = re.sub(r"^/files/~[^/]+", "/files", re.sub(r"<(?:[^:>]+:)?(\w+)>", r"{\1}", rule.rule))
        versions = ("v1", "v2") if "{version}" in path else ("",)
        for version in versions:
            found |= {
                (path.replace("{version}", version), method) for method in (rule.methods or set()) - GIVEN_BY_FLASK
            }
    return found


def documented(whole: dict[str, Any]) -> set[tuple[str, str]]:
    """The same of the document."""
    return {(path, method.upper()) for path, method, _ in operations(whole)}


def add_an_account(tables: dict[str, Any]) -> None:
    """A second account, whose files have a path of their own."""
    tables["accounts"]["other"] = {
        "active": "public_other",
        "keys": [{"public_key": "public_other", "private_key": "private_CANARYotherotherother"}],
    }


def test_every_route_is_in_the_document_and_the_document_has_no_others(make_service: ServiceMaker) -> None:
    service = make_service(change=add_an_account)
    assert documented(DOCUMENT) - {("/files/{path}", "HEAD")} == routes(service.app)


def test_without_uploads_their_paths_and_shapes_are_not_in_it(make_service: ServiceMaker) -> None:
    service = make_service()
    smaller = document(uploads=False)
    validate(smaller)  # no reference leads nowhere
    assert {path for path, _ in documented(DOCUMENT) - documented(smaller)} == {
        "/api/v1/files/upload",
        "/api/v2/files/upload",
        "/v1/files/upload",
        "/files/{path}",
    }
    app = create_app(service.doors(uploads=None))
    assert app.test_client().get("/openapi.json").get_json() == smaller
    assert documented(smaller) == routes(app)


def test_it_is_openapi_3_1() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_every_error_code_is_an_answer_of_some_path() -> None:
    told = {
        code
        for _, _, operation in operations(DOCUMENT)
        for answer in operation["responses"].values()
        for code in re.findall(r"`([a-z_.]+)`:", answer["description"])
    }
    assert told == STATUS.keys()
    assert DOCUMENT["components"]["schemas"]["ErrorCode"]["enum"] == list(STATUS)


@pytest.mark.parametrize("uploads", [True, False])
def test_every_link_leads_to_an_operation_with_what_was_asked_or_answered(*, uploads: bool) -> None:
    """Whether the operation takes it, `test_openapi_links` tries."""
    whole = document(uploads=uploads)
    by_name = {operation["operationId"]: operation for _, _, operation in operations(whole)}
    found = 0
    for operation in by_name.values():
        for answer in operation["responses"].values():
            for link in answer.get("links", {}).values():
                sent = link.get("requestBody", {}) | link.get("parameters", {})
                parameters = {each["name"] for each in by_name[link["operationId"]]["parameters"]}
                assert link.get("parameters", {}).keys() <= parameters | {"X-Upload-Token"}
                for member in re.findall(r"\$response\.body#/(\w+)", " ".join(map(str, sent.values()))):
                    assert member in resolved_schema(answer["content"]["application/json"]["schema"])["properties"]
                    found += 1
    assert found > 20


def resolved_schema(reference: dict[str, str]) -> dict[str, Any]:
    """The schema for which a reference stands."""
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][reference["$ref"].rpartition("/")[2]]
    return found


def examples(node: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    """Every schema of the document that has examples beside it or in it, with each of them."""
    if isinstance(node, dict):
        schema = node.get("schema", {})
        if "example" in node and schema:
            yield schema, node["example"]
        if isinstance(node.get("examples"), dict) and schema:
            yield from ((schema, one["value"]) for one in node["examples"].values())
        if isinstance(node.get("examples"), list):
            yield from ((node, one) for one in node["examples"])
        for each in node.values():
            yield from examples(each)
    if isinstance(node, list):
        for each in node:
            yield from examples(each)


def test_every_example_is_what_its_schema_says() -> None:
    found = list(examples(DOCUMENT))
    assert len(found) > 50
    for schema, example in found:
        assert not faults(schema, example), example


def test_every_body_and_every_answer_in_json_has_an_example() -> None:
    for path, method, operation in operations(DOCUMENT):
        bodies = operation.get("requestBody", {}).get("content", {}).values()
        assert all("example" in body or body["examples"] for body in bodies), (method, path)
        for status, answer in operation["responses"].items():
            media = answer.get("content", {}).get("application/json")
            if media is not None and path != "/openapi.json":
                assert "example" in media, (method, path, status)


def test_it_is_served_to_everybody_and_names_nothing_of_the_configuration(service: Service) -> None:
    answer = service.send("GET", "/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.get_json() == DOCUMENT
    for secret in (service.public_key, service.private_key, "only-v1", "backend"):
        assert secret not in answer.get_data(as_text=True)


class Page(HTMLParser):
    """What a page links to and loads, and what it has to be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: set[str] = set()
        self.ids: list[str] = []
        self.loaded: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            if name == "href":
                self.links.add(str(value))
            if name in ("src", "style") or name.startswith("on"):
                self.loaded.add(f"{tag} {name}")


@pytest.fixture
def page(service: Service) -> Page:
    answer = service.send("GET", "/docs")
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    return Page(answer.get_data(as_text=True))


def test_the_page_shows_every_operation_and_every_schema(page: Page) -> None:
    wanted = {operation["operationId"] for _, _, operation in operations(DOCUMENT)}
    wanted |= {f"schema-{name}" for name in DOCUMENT["components"]["schemas"]}
    assert wanted <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_every_link_of_the_page_leads_somewhere_here(page: Page, service: Service) -> None:
    for link in page.links:
        assert not urlsplit(link).netloc, link
        if link.startswith("#"):
            assert link[1:] in page.ids, link
        else:
            assert service.send("GET", link).status_code == 200, link
    assert {link for link in page.links if link.startswith("/docs/errors/")} == {
        f"/docs/errors/{code}" for code in STATUS
    }


def test_the_page_has_no_script_and_loads_nothing(page: Page, service: Service) -> None:
    assert not page.tags & {"script", "link", "img", "iframe", "object", "form", "base"}
    assert not page.loaded
    policy = service.send("GET", "/docs").headers["Content-Security-Policy"]
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; "
        r"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        policy,
    )


GUARDED: Final = [
    pytest.param(path, method, operation, id=f"{method.upper()} {path}")
    for path, method, operation in operations(DOCUMENT)
    if operation.get("security") and {} not in operation["security"]
]


@pytest.mark.parametrize(("path", "method", "operation"), GUARDED)
def test_what_asks_who_one_is_says_nothing_to_nobody(
    service: Service, path: str, method: str, operation: dict[str, Any]
) -> None:
    media = operation.get("requestBody", {}).get("content", {}).get("application/json")
    body: dict[str, Any] = {} if media is None else {"json": next(iter(media["examples"].values()))["value"]}
    for evidence in ({}, {"Authorization": "Bearer tsk_nobody"}):
        answer = service.send(method.upper(), path.replace("{profile}", "short"), evidence, **body)
        assert answer.status_code == 401, evidence


def test_an_answer_that_is_not_as_documented_is_seen(service: Service) -> None:
    """The check that is behind all the others."""
    answer = service.send("GET", "/livez")
    answer.status_code = 202
    with pytest.raises(AssertionError, match="does not have it"):
        require_documented("GET", "/livez", answer)
    answer.status_code = 200
    del answer.headers["Cache-Control"]
    with pytest.raises(AssertionError, match="Cache-Control missing"):
        require_documented("GET", "/livez", answer)
    answer.headers["Cache-Control"] = "public"
    with pytest.raises(AssertionError, match="Cache-Control: public"):
        require_documented("GET", "/livez", answer)
    answer.headers["Cache-Control"] = "no-store"
    answer.set_data(b'{"status": "alive", "since": 7}')
    with pytest.raises(AssertionError, match="'since' was unexpected"):
        require_documented("GET", "/livez", answer)


def test_every_header_of_an_answer_is_described() -> None:
    for _, _, operation in operations(DOCUMENT):
        for answer in operation["responses"].values():
            assert all("schema" in resolved(header) for header in answer.get("headers", {}).values())
    assert set(METHODS) >= {method.lower() for _, method in documented(DOCUMENT)}
