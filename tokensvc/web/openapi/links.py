"""What may be done next with what was answered, as OpenAPI's links: a credential is spent, looked at, ended, explained.

Where a body is sent, it is the whole of it, but for an upload: that is a form with the file and the fields besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .answers import Node

_ANSWERED: Final = "$response.body#/"
_V1: Final = {"version": "v1", **{name: _ANSWERED + name for name in ("token", "expire", "signature")}}
_V2: Final = {"version": "v2", "token": f"{_ANSWERED}token"}
_FIELDS: Final = {"fields": "$request.body#/uploadPayload"}
_FORM_V1: Final = {name: _ANSWERED + name for name in ("token", "expire", "signature", "publicKey")}
_FORM_V2: Final = {"token": f"{_ANSWERED}token", "fileName": "$request.body#/uploadPayload/fileName"}


def of_v1(*, uploads: bool) -> dict[str, Node]:
    """Where a v1 credential leads."""
    return {
        "redeem": _link("redeem", _V1),
        "introspect": _link("introspect", _V1),
        "explain": _link("explain", _V1),
        "revoke": _revoke("token"),
        "proxy": _proxy("token", "expire", "signature"),
    } | ({"upload": _link("uploadV1", _FORM_V1, "Add the file and its fields.")} if uploads else {})


def of_v2(*, uploads: bool) -> dict[str, Node]:
    """Where a v2 credential leads. Its fields are those that were asked for, unless the profile forces others."""
    fields = "Add the file, and every other field of `uploadPayload`."
    return {
        "redeem": _link("redeem", _V2 | _FIELDS, "The fields as the texts of the form."),
        "introspect": _link("introspect", _V2),
        "explain": _link("explain", _V2 | _FIELDS, "The fields as the texts of the form."),
        "revoke": _revoke("token"),
        "proxy": _proxy("token"),
    } | ({"upload": _link("uploadV2", _FORM_V2, fields)} if uploads else {})


def of_batch() -> dict[str, Node]:
    """Where a batch leads, shown for its first credential."""
    return {"revoke": _revoke("credentials/0/token")}


def of_upload() -> dict[str, Node]:
    """Where a stored file is."""
    return {
        "file": {
            "operationId": "getFile",
            "parameters": {"path": f"{_ANSWERED}name"},
            "description": "Of a file in the root folder; others are at their `filePath`.",
        }
    }


def _proxy(*fields: str) -> Node:
    headers = {f"X-Upload-{field.capitalize()}": _ANSWERED + field for field in fields}
    return {"operationId": "forwardAuthPost", "parameters": headers, "description": "As the upload's headers."}


def _revoke(pointer: str) -> Node:
    return _link("revoke", {"token": _ANSWERED + pointer})


def _link(operation: str, body: Mapping[str, Any], says: str = "") -> Node:
    return {"operationId": operation, "requestBody": body, **({"description": says} if says else {})}
