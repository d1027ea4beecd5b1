"""docs/configuration.md, made from the settings themselves. `make docs` writes it.

A description is written once, beside the type that enforces it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .reading import SECRET_MEMBERS, VARIABLES
from .settings import FROM_ENVIRONMENT, Settings

_HEAD: Final = """\
# Configuration

The environment says what differs from host to host, and `tokensvc.toml` the rest. Whatever is wrong is told at once,
each fault with its place and a remedy, and nothing is started. A member that is not listed here is a fault too: a
misspelt limit must not be silently absent. Made from the code by `make docs`.

## Environment

A variable that is set to nothing counts as not set. Those with `_FILE` may be given as a path instead: `NAME_FILE`
names a file that holds the value.

| variable | meaning | default |
|---|---|---|
"""
_FILE_HEAD: Final = """
## The file

TOML. A secret may be given as `NAME_file = "path"` instead, relative to the folder of `tokensvc.toml`. A complete file:

```toml
[accounts.default]
active = "public_B"
[[accounts.default.keys]]
public_key = "public_A"                  # retired, and accepted for a while
private_key_file = "/run/secrets/key-a"
accept_until = 2026-12-01T00:00:00Z
[[accounts.default.keys]]
public_key = "public_B"
private_key_file = "/run/secrets/key-b"

[cors]
origins = ["https://app.example"]

[callers.backend]
kind = "api_key"
keys = [{ id = "backend", sha256 = "…", subject = "backend", may = ["issue"] }]

[profiles.default]
callers = ["backend"]
lifetime = 900
[profiles.default.allow]
fileName = true
folder = true

[upload]
url = "https://uploads.example"
store = "file:///var/lib/tokensvc/files"
[upload.plan]
max_bytes = "25MB"
```
"""


def whole_page() -> str:
    """The page, as Markdown."""
    variables = "".join(
        f"| `{variable.name}`{' or `_FILE`' if variable.may_be_file else ''} | {variable.meaning} "
        f"| {f'`{variable.default}`' if variable.default else ''} |\n"
        for variable in VARIABLES
    )
    return _HEAD + variables + _FILE_HEAD + "".join(_sections())


def _sections() -> Iterator[str]:
    for place, model in tables():
        title = f"`[{place}]`{_kind(model)}" if place else "Above all tables"
        yield f"\n### {title}\n\n{_about(model)}| setting | meaning | default |\n|---|---|---|\n"
        for name, field in model.model_fields.items():
            if not place and (name in FROM_ENVIRONMENT or _tables_of(field)):
                continue
            yield f"| {_spelling(name)} | {field.description} | {_default(field)} |\n"


def tables() -> Iterator[tuple[str, type[BaseModel]]]:
    """Each table of the file by its heading, `[[…]]` without the outer pair of brackets."""
    yield "", Settings
    yield from _below(Settings, "")


def _below(model: type[BaseModel], place: str) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        kind = get_origin(field.annotation)
        for inner in _tables_of(field):
            inside = f"{place}.{name}".lstrip(".") + (".NAME" if kind is dict else "")
            yield (f"[{inside}]" if kind is list else inside), inner
            yield from _below(inner, inside)


def _tables_of(field: FieldInfo) -> list[type[BaseModel]]:
    """The models that a field's annotation is made of."""
    return list(_models_in(field.annotation))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - annotations have no common type
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is Annotated:
        yield from _models_in(get_args(annotation)[0])
    elif get_origin(annotation) in (dict, list, Union, UnionType):
        for part in get_args(annotation):
            yield from _models_in(part)


def _kind(model: type[BaseModel]) -> str:
    field = model.model_fields.get("kind")
    return f" of kind {field.description}" if field else ""


def _about(model: type[BaseModel]) -> str:
    return "" if model is Settings else f"{' '.join((model.__doc__ or '').split())}\n\n"


def _spelling(name: str) -> str:
    return f"`{name}` or `{name}_file`" if name in SECRET_MEMBERS else f"`{name}`"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None or isinstance(field.default, BaseModel):
        return ""
    if isinstance(field.default, dict):
        return ", ".join(f"`{name}`" for name in field.default)
    return f"`{json.dumps(field.default)}`"
