"""Probes, figures and these papers themselves."""

from __future__ import annotations

from typing import Final

from tokensvc.web.problems import STATUS

from .answers import HEADERS, KNOWN_CALLER, STORE, Node, headers, json_answer, problem, ref, refusals

_HTML: Final[Node] = {"text/html": {"schema": {"type": "string"}}}
_GUARDED: Final = headers(
    Content_Security_Policy="Policy", X_Content_Type_Options="NoSniff", Cache_Control="Revalidated"
)
_OPENAPI: Final = json_answer("OpenAPI 3.1.", {"type": "object"}, Cache_Control="Revalidated")


def paths() -> dict[str, Node]:
    """The path items."""
    return {
        "/livez": {"get": _livez()},
        "/readyz": {"get": _readyz()},
        "/metrics": {"get": _metrics()},
        "/openapi.json": {
            "get": {
                "operationId": "openapi",
                "tags": ["Documentation"],
                "summary": "This document",
                "responses": {"200": _OPENAPI} | refusals(),
            }
        },
        "/docs": {
            "get": {
                "operationId": "docs",
                "tags": ["Documentation"],
                "summary": "This document, to read",
                "responses": {"200": {"description": "A page.", "headers": _GUARDED, "content": _HTML}} | refusals(),
            }
        },
        "/docs/errors/{code}": {
            "get": {
                "operationId": "errorPage",
                "tags": ["Documentation"],
                "summary": "What an error code means, and what to do about it",
                "parameters": [
                    {
                        "name": "code",
                        "in": "path",
                        "required": True,
                        "schema": ref("ErrorCode"),
                        "example": next(iter(STATUS)),
                    }
                ],
                "responses": {
                    "200": {
                        "description": "A page in HTML for browsers, in plain text for who does not ask for that.",
                        "headers": _GUARDED,
                        "content": _HTML | {"text/plain": {"schema": {"type": "string"}}},
                    }
                }
                | refusals("not_found"),
            }
        },
    }


def _livez() -> Node:
    return {
        "operationId": "livez",
        "tags": ["Operators"],
        "summary": "The process answers",
        "responses": {"200": json_answer("It does.", ref("Alive"), {"status": "alive"}, Cache_Control="NotStored")}
        | refusals(),
    }


def _readyz() -> Node:
    unavailable = problem(503, STORE)
    unavailable["description"] += "\nOr the process is stopping."
    # Retry-After and the names of the request are the problem's only.
    unavailable["headers"] = {
        name: _optional(header) for name, header in unavailable["headers"].items() if name != "Cache-Control"
    }
    unavailable["content"]["application/json"] = {"schema": ref("Stopping"), "example": {"status": "stopping"}}
    return {
        "operationId": "readyz",
        "tags": ["Operators"],
        "summary": "It could issue and redeem now, and will be here in a moment",
        "responses": {"200": json_answer("It could.", ref("Ready"), {"status": "ready"}, Cache_Control="NotStored")}
        | refusals(*STORE)
        | {"503": unavailable},
    }


def _optional(header: Node) -> Node:
    known = HEADERS[header["$ref"].rpartition("/")[2]]
    return {name: part for name, part in known.items() if name != "required"}


def _metrics() -> Node:
    return {
        "operationId": "metrics",
        "tags": ["Operators"],
        "summary": "What is counted, for Prometheus",
        "description": "Needs an api key that may `operate`, but for who asks from this machine without a proxy.",
        "security": [{"bearer": []}, {}],
        "responses": {
            "200": {
                "description": "The totals of all workers.",
                "headers": headers(Cache_Control="NotStored"),
                "content": {"text/plain": {"schema": {"type": "string"}}},
            }
        }
        | refusals(*KNOWN_CALLER, *STORE),
    }
