"""Clients without a toolchain here: their requests byte for byte, their readers as strict as they are.

What such a client shows of a refusal cannot be seen, so those two cells follow from its sources, over a real answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tests.e2e.mobile import (
    ANDROID_LIFETIME,
    PICTURE,
    fetch_v1,
    fetch_v2,
    read_as_map_of_strings,
    read_in_dart,
    read_on_android_2,
    read_on_ios_2,
    read_upload_on_ios,
    require_picture,
    require_success,
    v1_fields,
)
from tests.e2e.wire import MULTIPART, Answer, Part, multipart, send, text_parts
from tests.support.server import Secrets, Service

from .rows import NOT_SPOKEN, NOTHING, OWN_WORDS, STORED, Row

_A_V2_QUESTION: Final = b'{"uploadPayload": {"fileName": "a.png"}}'
_APP_DECIDES: Final = "what the app makes of it"
_LABEL: Final = "image/png"


@dataclass(frozen=True, slots=True)
class Replay:
    """One version of a client. `ask` returns the form fields to send with the file; `fetch` says what it asked."""

    client: str
    version: str
    fetch: str
    ask: Callable[[Service], dict[str, str]]
    path: str
    build: Callable[[Mapping[str, str]], list[Part]]
    read: Callable[[Answer], Mapping[str, Any]]
    shows: tuple[str, ...]
    of_a_refused_credential: str = OWN_WORDS


def observe(service: Service, client: Replay) -> Row:
    """Fetch and upload, send the very same request again, and ask without being allowed to."""
    body = multipart(client.build(client.ask(service)))
    answer = send(service, "POST", client.path, MULTIPART, body)
    require_picture(client.read(answer))
    stored = service.stored_objects()

    again = send(service, "POST", client.path, MULTIPART, body)
    assert again.status == 400
    assert "has been used before" in again.json()["message"]
    assert all(type(again.json()[member]) is str for member in client.shows if member != "status")
    assert service.stored_objects() == stored
    _require_refusal(service, client)
    v1, v2 = (NOT_SPOKEN, STORED) if "/v2/" in client.path else (STORED, NOT_SPOKEN)
    return Row(
        client.client, client.version, client.fetch, v1, v2, ", ".join(client.shows), client.of_a_refused_credential
    )


def _require_refusal(service: Service, client: Replay) -> None:
    """A stranger's fetch is answered in JSON with a status that no client takes for a yes."""
    keys = service.secrets
    stranger = replace(service, secrets=Secrets(keys.public_key, keys.private_key, "of-nobody"))
    method = "POST" if "POST" in client.fetch else "GET"
    headers = {"Authorization": stranger.secrets.bearer}
    refused = send(service, method, "/auth", headers, _A_V2_QUESTION if method == "POST" else b"")
    assert refused.status == 401
    assert type(refused.json()["message"]) is str


# Android: OkHttp says the length of every part. Up to 2.0.0 the SDK uploads the expire that it asked for.


def _okhttp(fields: Mapping[str, str]) -> list[Part]:
    parts = [Part("file", PICTURE, fields["fileName"], _LABEL), *text_parts(fields)]
    return [replace(part, with_length=True) for part in parts]


def _android(version: str) -> Replay:
    mark = {} if version == "0.2" else {"sdk-version": f"android-{version}"}

    def ask(service: Service) -> dict[str, str]:
        own = int(time.time()) + ANDROID_LIFETIME
        credential = read_on_android_2(fetch_v1(service, "/hour", expire=own, **mark))
        if version != "2.0.1":
            credential["expire"] = own
        more = {"fileName": "a.png", "useUniqueFileName": "true", "tags": "'a', 'b'", "isPrivateFile": "null"}
        return v1_fields(service, credential) | more

    query = f"?sdk-version={mark['sdk-version']}" if mark else ""
    shows = ("message",)
    fetch = "SDK: `GET ?expire=" + ("…&sdk-version=…`" if mark else "…`")
    return Replay("imagekit-android", version, fetch, ask, f"/v1/files/upload{query}", _okhttp, require_success, shows)


def _ask_on_android_3(service: Service) -> dict[str, str]:
    payload = {
        "fileName": "a.png",
        "useUniqueFileName": "true",
        "tags": "a,b",
        "customMetadata": r'{"text":"salt \u0026 pepper \u003d good"}',
    }
    return {"token": read_as_map_of_strings(fetch_v2(service, payload)), **payload}


# iOS: up to 2 empty fields are always there. In 3 the headers of a part come from a dictionary, in any order.


def _alamofire(fields: Mapping[str, str]) -> list[Part]:
    return [Part("file", PICTURE, fields["fileName"], _LABEL), *text_parts(fields)]


def _swift(fields: Mapping[str, str]) -> list[Part]:
    return [Part("file", PICTURE, fields["fileName"], _LABEL, type_first=True), *text_parts(fields)]


def _ask_on_ios_2(service: Service) -> dict[str, str]:
    empty = dict.fromkeys(("tags", "folder", "customCoordinates", "responseFields"), "")
    more = {"fileName": "a.png", "useUniqueFileName": "true", "isPrivateFile": "false"}
    return v1_fields(service, read_on_ios_2(fetch_v1(service))) | more | empty


def _ios(version: str) -> Replay:
    path = "/api/v1/files/upload"
    return Replay(
        "imagekit-ios",
        version,
        "SDK: `GET`",
        _ask_on_ios_2,
        path,
        _alamofire,
        read_upload_on_ios,
        ("message", "help"),
        NOTHING,
    )


def _ask_on_ios_3(service: Service) -> dict[str, str]:
    payload = {"fileName": "a.png", "useUniqueFileName": "true", "customMetadata": r'{"place":"home\/garden"}'}
    return {"token": read_as_map_of_strings(fetch_v2(service, payload)), **payload}


# The rest


def _ask_in_dart(service: Service) -> dict[str, str]:
    return v1_fields(service, read_in_dart(fetch_v1(service))) | {"fileName": "a.png", "folder": "/from/dart"}


def _file_last(fields: Mapping[str, str]) -> list[Part]:
    return [*text_parts(fields), Part("file", PICTURE, fields["fileName"], "application/octet-stream")]


def _ask_in_angular(service: Service) -> dict[str, str]:
    """Its validation calls the authenticator once and drops what came; the upload calls it again."""
    dropped = require_success(fetch_v1(service))
    credential = require_success(fetch_v1(service))
    assert dropped["token"] != credential["token"]
    return {"fileName": "a.png", "tags": "a,b", **v1_fields(service, credential)}


REPLAYS: Final = (
    *map(_android, ("0.2", "1.0.0", "1.2.0", "2.0.0", "2.0.1")),
    Replay(
        "imagekit-android",
        "3.0.1",
        "app: `POST`",
        _ask_on_android_3,
        "/api/v2/files/upload",
        _okhttp,
        require_success,
        ("message",),
        _APP_DECIDES,
    ),
    *map(_ios, ("1.0.0", "1.1.1", "2.0.0", "2.0.1")),
    Replay(
        "imagekit-ios",
        "3.0.0",
        "app: `POST`",
        _ask_on_ios_3,
        "/api/v2/files/upload",
        _swift,
        read_upload_on_ios,
        ("message", "help"),
        _APP_DECIDES,
    ),
    Replay(
        "imagekitio-angular",
        "5.1.0",
        "app: `GET`, `GET`",
        _ask_in_angular,
        "/api/v1/files/upload",
        _alamofire,
        require_success,
        ("message", "help", "status"),
        "message, status",
    ),
    Replay(
        "imagekit (Dart, unofficial)",
        "0.0.5",
        "SDK: `GET`",
        _ask_in_dart,
        "/api/v1/files/upload",
        _file_last,
        require_success,
        ("message",),
    ),
)
