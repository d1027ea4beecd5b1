"""What schemas are put together from. An object is closed: it has no members but those that are named."""

from __future__ import annotations

from typing import Any, Final

from .answers import Node

TEXT: Final[Node] = {"type": "string"}
COUNT: Final[Node] = {"type": "integer", "minimum": 0}
SECONDS: Final[Node] = {"type": "integer", "description": "Unix seconds."}
UUID: Final = "8d6e2a0c-3c0e-4f4e-9a3f-6d1b2c3d4e5f"
SIGNATURE: Final = "71c4d6f1c1b9b4a2f1f7e3f0a5d2b8c9e0a1b2c3"
JWT: Final = "eyJhbGciOiJIUzI1NiJ9.eyJmaWxlTmFtZSI6ImEuanBnIn0.c2lnbmF0dXJl"
ID: Final[Node] = {"type": "string", "pattern": "^[0-9a-f]{24}$"}


def closed(required: dict[str, Node], optional: dict[str, Node] | None = None, **more: Any) -> Node:  # noqa: ANN401 - any JSON
    """An object with these members and no others."""
    return {
        "type": "object",
        "required": list(required),
        "properties": required | (optional or {}),
        "additionalProperties": False,
        **more,
    }


def or_null(node: Node) -> Node:
    """The same, or null."""
    return {"anyOf": [node, {"type": "null"}]}


def fixed(value: str | bool, says: str = "") -> Node:
    """This value and no other."""
    return {"const": value, **({"description": says} if says else {})}
