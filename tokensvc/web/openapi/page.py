"""The document: `/openapi.json` for programs, and `/docs` to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from flask import Blueprint, Response, json
from markupsafe import Markup, escape

from tokensvc.web.pages import page, prose

from .answers import Node

METHODS: Final = ("get", "head", "post", "put", "patch", "delete")


def openapi_blueprint(document: Node) -> Blueprint:
    """The routes that tell what the others are."""
    blueprint = Blueprint("openapi", __name__)
    text = json.dumps(document, separators=(",", ":"))

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        answer = Response(text, mimetype="application/json")
        answer.headers["Cache-Control"] = "no-cache"
        return answer

    @blueprint.get("/docs")
    def docs() -> Response:
        return page("docs.html", told=_told(document))

    return blueprint


def operations(document: Node) -> Iterator[tuple[str, str, Node]]:
    """Path, method and operation of each, with the parameters of its path among its own."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                operation = item[method]
                parameters = [*item.get("parameters", ()), *operation.get("parameters", ())]
                yield path, method, {**operation, "parameters": parameters}


def _told(document: Node) -> Mapping[str, Any]:
    """What the template shows."""
    found = list(operations(document))
    return {
        "info": document["info"],
        "about": [prose(part) for part in document["info"]["description"].split("\n\n")],
        "tags": [
            {
                **tag,
                "operations": [_operation(document, *each) for each in found if each[2]["tags"] == [tag["name"]]],
            }
            for tag in document["tags"]
        ],
        "security": {
            name: prose(scheme["description"]) for name, scheme in document["components"]["securitySchemes"].items()
        },
        "schemas": {name: _schema(schema) for name, schema in document["components"]["schemas"].items()},
    }


def _operation(document: Node, path: str, method: str, operation: Node) -> Node:
    body = operation.get("requestBody", {"content": {}})
    return {
        "id": operation["operationId"],
        "path": path,
        "method": method.upper(),
        "summary": operation["summary"],
        "deprecated": operation.get("deprecated", False),
        "description": prose(operation.get("description", "")),
        "security": [" and ".join(each) or "nobody in particular" for each in operation.get("security", ())],
        "parameters": [
            {
                "name": parameter["name"],
                "where": parameter["in"],
                "required": parameter.get("required", False),
                "type": _type(parameter["schema"]),
                "description": prose(parameter.get("description", "")),
            }
            for parameter in operation["parameters"]
        ],
        "bodies": [
            {
                "media": media,
                "type": _type(content["schema"]),
                "members": _members(content["schema"]),
                "description": prose(content["schema"].get("description", "")),
                "examples": _examples(content),
            }
            for media, content in body["content"].items()
        ],
        "answers": [_answer(document, status, answer) for status, answer in operation["responses"].items()],
    }


def _answer(document: Node, status: str, answer: Node) -> Node:
    known = document["components"]["headers"]
    contents = answer.get("content", {})
    lines = answer["description"].split("\n")
    return {
        "status": status,
        "good": status < "4",
        "lines": [prose(line) for line in lines],
        "links": [
            (link["operationId"], prose(link.get("description", ""))) for link in answer.get("links", {}).values()
        ],
        "types": [(media, _type(content["schema"])) for media, content in contents.items() if "problem" not in media],
        "examples": [each for content in contents.values() for each in _examples(content)],
        "headers": [
            (name, prose(known[_name(header)]["description"] if "$ref" in header else header.get("description", "")))
            for name, header in answer.get("headers", {}).items()
            if status < "4" or name in ("Retry-After", "RateLimit")
        ],
    }


def _examples(content: Node) -> list[tuple[str, str]]:
    named = {name: example["value"] for name, example in content.get("examples", {}).items()}
    if "example" in content:
        named["Example"] = content["example"]
    return [(name, json.dumps(value, indent=2, ensure_ascii=False)) for name, value in named.items()]


def _schema(schema: Node) -> Node:
    kinds = schema.get("oneOf", ())
    return {
        "description": prose(schema.get("description", "")),
        "type": _type(schema) if not kinds and not schema.get("properties") else "",
        "kinds": [
            {"type": _type(kind), "members": _members(kind), "description": prose(kind.get("description", ""))}
            for kind in (kinds or [schema])
        ],
    }


def _members(schema: Node) -> list[Node]:
    return [
        {
            "name": name,
            "required": name in schema.get("required", ()),
            "type": _type(member),
            "description": prose(member.get("description", "")),
        }
        for name, member in schema.get("properties", {}).items()
    ]


def _name(reference: Node) -> str:
    return str(reference["$ref"].rpartition("/")[2])


def _type(schema: Node) -> Markup:
    """A schema in a few words."""
    if "$ref" in schema:
        return Markup('<a href="#schema-{0}">{0}</a>').format(_name(schema))
    if "const" in schema:
        return Markup("<code>{}</code>").format(json.dumps(schema["const"]))
    if "enum" in schema:
        return Markup(", ").join(Markup("<code>{}</code>").format(json.dumps(value)) for value in schema["enum"])
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return Markup(" or ").join(_type(each) for each in schema[several])
    kind = schema.get("type", "anything")
    if kind == "array":
        return Markup("list of {}").format(_type(schema.get("items", {})))
    words = " or ".join(kind) if isinstance(kind, list) else kind
    bounds = [f"{sign} {schema[name]}" for name, sign in (("minimum", "≥"), ("maximum", "≤")) if name in schema]
    if kind == "object" and schema.get("properties"):
        words += " of " + ", ".join(schema["properties"])
    elif isinstance(schema.get("additionalProperties"), dict):
        return Markup("object of {}").format(_type(schema["additionalProperties"]))
    return escape(", ".join([words, *bounds]))
