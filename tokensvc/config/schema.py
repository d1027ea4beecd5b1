"""The JSON Schema (Draft 2020-12) of `tokensvc.toml`, for editors: made from the settings themselves.

It cannot say all that is checked: names that refer to nothing, for one, are told by `tokensvc config check` alone.
"""

from __future__ import annotations

from typing import Any, Final

from .reading import SECRET_LISTS, SECRET_MEMBERS
from .settings import FROM_ENVIRONMENT, Settings
from .spellings import SIZE_PATTERN

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_SIZES: Final = ("max_bytes", "max_video_bytes", "max_unverified_bytes")


def schema() -> Schema:
    """The whole schema. What only the environment may say is not in it."""
    made: Schema = _without_null(Settings.model_json_schema())
    for name in FROM_ENVIRONMENT:
        del made["properties"][name]
    for table in (made, *made["$defs"].values()):
        _add_files(table)
        _add_texts(table)
    return {"$schema": DIALECT, **made, "title": "tokensvc.toml"}


def _without_null(part: Any) -> Any:  # noqa: ANN401 - a part of a schema is any JSON
    """TOML has no null: what may be left out is left out."""
    if isinstance(part, list):
        return [_without_null(each) for each in part]
    if not isinstance(part, dict):
        return part
    kept = {name: _without_null(each) for name, each in part.items() if not (name == "default" and each is None)}
    choices = kept.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        rest = [choice for choice in choices if choice != {"type": "null"}]
        del kept["anyOf"]
        kept |= rest[0] if len(rest) == 1 else {"anyOf": rest}
    return kept


def _add_files(table: Schema) -> None:
    """`private_key_file` beside `private_key`, and its like: one of the two, at most or exactly."""
    properties, required = table["properties"], table.get("required", [])
    variants: list[tuple[str, str, Schema]] = [(name, f"{name}_file", {"type": "string"}) for name in SECRET_MEMBERS]
    variants += [
        (name, f"{name.removesuffix('s')}_files", {"type": "array", "items": {"type": "string"}})
        for name in SECRET_LISTS
    ]
    for name, member, kind in variants:
        if name not in properties:
            continue
        properties[member] = {**kind, "description": f"instead of `{name}`: path, relative to this file's folder"}
        either = [{"required": [name]}, {"required": [member]}]
        if name in required:
            required.remove(name)
            table.setdefault("allOf", []).append({"oneOf": either})
        else:
            table.setdefault("allOf", []).append({"not": {"required": [name, member]}})


def _add_texts(table: Schema) -> None:
    """A number of bytes may be a text; a rule may not be `false`."""
    for name, member in table["properties"].items():
        if name in _SIZES:
            member.pop("type")
            size = {"type": "string", "pattern": f"^{SIZE_PATTERN}$"}
            member["anyOf"] = [{"type": "integer", "minimum": 1}, size]
        if name == "allow":
            rules = member["additionalProperties"]["anyOf"]
            rules[rules.index({"type": "boolean"})] = {"const": True}
