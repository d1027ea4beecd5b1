"""Every link of the document leads from a good answer to another: each is followed once, as the document says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.app import Service, basic
from tests.support.documented import DOCUMENT, let_all_be_done, links
from tokensvc.web.openapi.page import operations

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

    from tests.web.conftest import ServiceMaker

LINKS: Final = list(links(DOCUMENT))
PLACES: Final = {operation["operationId"]: (method.upper(), path) for path, method, operation in operations(DOCUMENT)}
UPLOAD_PAYLOAD: Final = {"fileName": "a.png"}


def ask(service: Service, operation: str, body: dict[str, Any], parameters: dict[str, str]) -> TestResponse:
    """Send a request to an operation of the document: a form where it takes files, JSON elsewhere."""
    method, path = PLACES[operation]
    path = path.replace("{path}", parameters.get("path", "")).replace("{profile}", "open")
    headers = {name: text for name, text in parameters.items() if name.startswith("X-")}
    if path.endswith("/files/upload"):
        if "token" not in body:
            headers["Authorization"] = basic(service.private_key)
        return service.upload_at(path, {"fileName": "a.png", **body}, b"", **headers)
    if ("X-Upload-Token" not in headers and method != "GET") or path.startswith("/auth"):
        headers |= service.bearer
    return service.send(method, path, headers, json=body or None)


def first_request(operation: str) -> dict[str, Any]:
    """A body for an operation from which links lead."""
    method, path = PLACES[operation]
    if path.endswith("/batch"):
        return {"version": "v1", "count": 2}
    return {"uploadPayload": UPLOAD_PAYLOAD} if method == "POST" and path.startswith("/auth") else {}


def meant(expression: str, sent: dict[str, Any], answered: dict[str, Any]) -> Any:
    """What a runtime expression of OpenAPI stands for; other texts stand for themselves."""
    whose, pointed, pointer = expression.partition("#/")
    if not pointed:
        return expression
    found: Any = {"$request.body": sent, "$response.body": answered}[whose]
    for step in pointer.split("/"):
        found = found[int(step)] if isinstance(found, list) else found[step]
    return found


@pytest.mark.parametrize(("first", "name", "link"), LINKS, ids=[f"{first}-{name}" for first, name, _ in LINKS])
def test_it_leads_to_a_good_answer(make_service: ServiceMaker, first: str, name: str, link: dict[str, Any]) -> None:
    service = make_service(change=let_all_be_done)
    sent = first_request(first)
    answered = ask(service, first, sent, {})
    assert answered.status_code == 200, answered.get_data()
    body, parameters = (
        {member: meant(text, sent, answered.get_json()) for member, text in link.get(part, {}).items()}
        for part in ("requestBody", "parameters")
    )
    led_to = ask(service, link["operationId"], body, parameters)
    assert led_to.status_code in {200, 204}, f"{name}: {led_to.get_data()!r}"
