"""Clients that cannot run here: what they send, written as they write it, and how strictly they read.

The old ones send no header of their own, so the api key stands for the app's gateway, which adds it. Sources of the
shapes: the public repositories of the SDKs at the versions that are named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from tests.e2e.wire import MULTIPART, Answer, Part, multipart, send
from tests.support.pictures import png
from tests.support.server import Service

PICTURE: Final = png(40, 30)
ANDROID_LIFETIME: Final = 2700
LARGEST_JAVA_INT: Final = 2**31 - 1


# What the clients make of an answer. Each raises AssertionError where the client would fail or crash.
def require_success(answer: Answer) -> dict[str, Any]:
    assert 200 <= answer.status <= 299, answer.body
    read = answer.json()
    assert isinstance(read, dict)
    return read


def require_text(read: Mapping[str, Any], *names: str) -> None:
    for name in names:
        assert type(read[name]) is str, name


def read_on_android_2(answer: Answer) -> dict[str, Any]:
    """Gson with `token` and `signature` as String, and (2.0.1) `expire` as a 32 bit Int."""
    read = require_success(answer)
    require_text(read, "token", "signature")
    assert int(read["expire"]) <= LARGEST_JAVA_INT
    return read


def read_on_ios_2(answer: Answer) -> dict[str, Any]:
    """Codable: two String, and an Int that neither a JSON string nor true would satisfy."""
    read = require_success(answer)
    require_text(read, "token", "signature")
    assert type(read["expire"]) is int
    return read


def read_in_dart(answer: Answer) -> dict[str, Any]:
    """Status 200 and no other, `expire as int`."""
    assert answer.status == 200, answer.body
    return read_on_ios_2(answer)


def read_as_map_of_strings(answer: Answer) -> str:
    """iOS 3 force-casts to [String: String], Android 3 reads a Map<String, String>: all else is fatal."""
    read = require_success(answer)
    require_text(read, *read)
    return str(read["token"])


def read_upload_on_ios(answer: Answer) -> dict[str, Any]:
    """Codable again: `size` is an Int; what may be absent is a String or null, never an object."""
    read = require_success(answer)
    require_text(read, "fileId", "name", "filePath", "url", "fileType")
    assert type(read["size"]) is int
    for name in ("metadata", "customCoordinates", "thumbnailUrl"):
        assert read.get(name) is None or type(read[name]) is str, name
    return read


# What the clients send.
def fetch_v1(service: Service, profile: str = "", **query: object) -> Answer:
    path = f"/auth{profile}?{urlencode(query)}" if query else f"/auth{profile}"
    return send(service, "GET", path, {"Authorization": service.secrets.bearer})


def fetch_v2(service: Service, payload: Mapping[str, str]) -> Answer:
    asked = {"uploadPayload": payload, "expire": 60, "publicKey": service.secrets.public_key}
    headers = {"Authorization": service.secrets.bearer, "Content-Type": "application/json"}
    return send(service, "POST", "/auth", headers, json.dumps(asked).encode())


def upload(service: Service, version: str, parts: Sequence[Part], query: str = "") -> Answer:
    return send(service, "POST", f"/api/{version}/files/upload{query}", MULTIPART, multipart(parts))


def v1_fields(service: Service, credential: Mapping[str, Any]) -> dict[str, str]:
    """The four fields of a v1 credential in the order of the mobile SDKs."""
    return {
        "publicKey": service.secrets.public_key,
        "signature": credential["signature"],
        "expire": str(credential["expire"]),
        "token": credential["token"],
    }


def require_picture(answer: Mapping[str, Any]) -> None:
    assert (answer["width"], answer["height"], answer["size"]) == (40, 30, len(PICTURE))
