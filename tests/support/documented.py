"""Holds an answer to what the service's own OpenAPI document says of it: status, headers, content type and body.

`Service.send` asks this of every answer, so all tests of the interface are tests of its document as well.
"""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any, Final

from jsonschema import Draft202012Validator

from tokensvc.web.openapi import document
from tokensvc.web.openapi.page import operations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from werkzeug.test import TestResponse

DOCUMENT: Final = document()
_PLACES: Final = {"profile": "[^/]+", "code": "[^/]+", "path": ".+"}
_PATHS: Final = [
    (re.compile(re.sub(r"\\\{(\w+)\\\}", lambda found: _PLACES[found[1]], re.escape(path))), path)
    for path in sorted(DOCUMENT["paths"], key=lambda path: ("{" in path, path))
]


@functools.cache
def validator(schema: str) -> Draft202012Validator:
    """Of a schema of the document, which is given as JSON."""
    return Draft202012Validator({**json.loads(schema), "components": DOCUMENT["components"]})


def links(whole: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """From which operation each link leads, the link's name, and the link as it stands in a document."""
    for _, _, operation in operations(whole):
        for answer in operation["responses"].values():
            for name, link in answer.get("links", {}).items():
                yield operation["operationId"], name, link


def let_all_be_done(tables: dict[str, Any]) -> None:
    """Configure one key that may do all, a proxy that may ask, and nobody who is slowed down with a 429."""
    tables["callers"]["backend"]["keys"][0]["may"] = ["issue", "redeem", "operate"]
    tables["profiles"]["default"] |= {"allow": tables["profiles"]["open"]["allow"]}
    tables["forward_auth"] = {"trusted": ["127.0.0.1/32"]}
    tables["throttle"] = {"failures": "10000/second"}


def faults(schema: dict[str, Any], value: object) -> list[str]:
    """What is wrong with a value by a schema of the document."""
    return [f"{fault.json_path}: {fault.message}" for fault in validator(json.dumps(schema)).iter_errors(value)]


def operation_at(method: str, path: str) -> dict[str, Any] | None:
    """What the document has there, if it has anything."""
    path = path.partition("?")[0]
    known = next((template for pattern, template in _PATHS if pattern.fullmatch(path)), None)
    found: dict[str, Any] | None = DOCUMENT["paths"].get(known, {}).get(method.lower())
    return found


def require_documented(method: str, path: str, answer: TestResponse) -> None:
    """Raise AssertionError where the answer is another than the document says; it may be silent on the path."""
    operation = operation_at(method, path)
    if operation is None:
        return
    whose = f"{method} {path} answers {answer.status_code}"
    assert str(answer.status_code) in operation["responses"], f"{whose}, and the document does not have it"
    told = operation["responses"][str(answer.status_code)]
    for name, header in told.get("headers", {}).items():
        _require_header(f"{whose} with {name}", resolved(header), answer.headers.get(name))
    kind = answer.content_type.partition(";")[0] if answer.content_type else ""
    contents = told.get("content", {})
    if contents and "*/*" not in contents:
        assert kind in contents, f"{whose} as {kind}"
        if kind.endswith("json"):
            wrong = faults(contents[kind]["schema"], answer.get_json())
            assert not wrong, f"{whose}: {wrong}"
            code = answer.headers.get("X-Tokensvc-Code")
            assert code is None or f"`{code}`" in told["description"], f"{whose} with code {code}"
    elif not contents and method != "HEAD":
        assert not answer.get_data(), f"{whose} with a body"


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """The header itself, where a reference stands for it."""
    if "$ref" not in node:
        return node
    found: dict[str, Any] = DOCUMENT["components"]["headers"][node["$ref"].rpartition("/")[2]]
    return found


def _require_header(whose: str, header: dict[str, Any], text: str | None) -> None:
    if text is None:
        assert not header.get("required"), f"{whose} missing"
        return
    value = int(text) if header["schema"].get("type") == "integer" and text.isdigit() else text
    assert not faults(header["schema"], value), f"{whose}: {text}"
