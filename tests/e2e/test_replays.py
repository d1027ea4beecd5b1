"""Mobile SDKs that cannot run here: their requests are replayed, and the answers read as strictly as they do.

The old ones send no header of their own, so the api key stands for the app's gateway, which adds it.
Sources of the shapes: the public repositories of the SDKs at the versions in the names of the tests.
"""

from __future__ import annotations

import time

import pytest

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
    upload,
    v1_fields,
)
from tests.e2e.wire import Part, text_parts
from tests.support.pictures import JPEG_8_BY_8
from tests.support.server import Service


@pytest.fixture
def service(plain_service: Service) -> Service:
    return plain_service


def test_android_2_0_0_uploads_its_own_expire(service: Service) -> None:
    """It asks for now + 2700 and uploads that, whatever the answer says: so the answer must say the same."""
    expire = int(time.time()) + ANDROID_LIFETIME
    query = {"expire": expire, "sdk-version": "android-2.0.0"}
    credential = read_on_android_2(fetch_v1(service, "/hour", **query))
    fields = v1_fields(service, {**credential, "expire": expire})
    more = {"fileName": "a.png", "tags": "'a', 'b'", "isPrivateFile": "null", "responseFields": "tags"}

    answer = upload(
        service,
        "v1",
        [Part("file", PICTURE, "a.png", "image/png"), *text_parts(fields | more)],
        "?sdk-version=android-2.0.0",
    )

    assert credential["expire"] == expire
    stored = require_success(answer)
    require_picture(stored)
    assert len(stored["tags"]) == 2


def test_android_2_0_0_is_told_of_a_profile_that_is_too_short_for_it(service: Service) -> None:
    """A shorter value would be signed, but not be uploaded: refusing is the only honest answer."""
    answer = fetch_v1(service, expire=int(time.time()) + ANDROID_LIFETIME)

    assert (answer.status, answer.json()["code"]) == (400, "expire.invalid")


def test_android_2_0_1_uploads_the_expire_of_the_answer(service: Service) -> None:
    """It still asks with its own, but sends what it was answered."""
    expire = int(time.time()) + ANDROID_LIFETIME
    query = {"expire": expire, "sdk-version": "android-2.0.1"}
    credential = read_on_android_2(fetch_v1(service, "/hour", **query))
    fields = v1_fields(service, credential) | {"fileName": "a.png", "useUniqueFileName": "true"}

    answer = upload(service, "v1", [Part("file", PICTURE, "a.png", "image/png"), *text_parts(fields)])

    require_picture(require_success(answer))


def test_ios_2_0_1_uploads_with_empty_fields(service: Service) -> None:
    """It leaves out nothing: what the app did not set is an empty text."""
    credential = read_on_ios_2(fetch_v1(service))
    fields = v1_fields(service, credential) | {
        "fileName": "a.jpg",
        "useUniqueFileName": "true",
        "tags": "",
        "folder": "",
        "isPrivateFile": "false",
        "customCoordinates": "",
        "responseFields": "",
    }

    answer = upload(service, "v1", [Part("file", JPEG_8_BY_8, "a.jpg", "image/jpeg"), *text_parts(fields)])

    stored = read_upload_on_ios(answer)
    assert (stored["width"], stored["height"]) == (8, 8)
    assert stored["filePath"] == f"/{stored['name']}"


def test_ios_2_0_1_gets_an_answer_that_no_cache_may_keep(service: Service) -> None:
    """URLSession's default policy uses a cacheable answer again, and with it a used credential."""
    answer = fetch_v1(service)

    assert "no-store" in answer.headers["cache-control"]
    assert "etag" not in answer.headers


def test_ios_3_0_0_uploads_with_a_v2_token(service: Service) -> None:
    """Its JSON text escapes slashes: what was signed is that very text."""
    payload = {
        "fileName": "a.png",
        "useUniqueFileName": "true",
        "tags": "summer,dress",
        "customMetadata": r'{"place":"home\/garden"}',
    }
    token = read_as_map_of_strings(fetch_v2(service, payload))

    answer = upload(
        service,
        "v2",
        [Part("file", PICTURE, "a.png", "image/png"), Part("token", token), *text_parts(payload)],
    )

    require_picture(read_upload_on_ios(answer))


def test_ios_3_0_0_cannot_try_again_with_fewer_fields(service: Service) -> None:
    """Its retry drops fields and keeps the token: that form was not signed, and is refused."""
    payload = {"fileName": "a.png", "useUniqueFileName": "true", "customCoordinates": "0,0,10,10"}
    token = read_as_map_of_strings(fetch_v2(service, payload))
    kept = {name: payload[name] for name in ("fileName", "useUniqueFileName")}
    stored = service.stored_objects()

    answer = upload(
        service, "v2", [Part("file", PICTURE, "a.png", "image/png"), Part("token", token), *text_parts(kept)]
    )

    assert answer.status == 400
    assert answer.json()["message"] == (
        "Your request contains invalid payload. It does not match with the payload used to generate token."
    )
    assert type(answer.json().get("help")) in {str, type(None)}
    assert service.stored_objects() == stored


def test_android_3_0_1_uploads_with_a_v2_token(service: Service) -> None:
    """Gson escapes what HTML would mind; the label of the file is image/png whatever it is."""
    payload = {
        "fileName": "a.jpg",
        "useUniqueFileName": "true",
        "customMetadata": r'{"text":"salt \u0026 pepper \u003d good"}',
    }
    token = read_as_map_of_strings(fetch_v2(service, payload))

    answer = upload(
        service,
        "v2",
        [Part("file", JPEG_8_BY_8, "a.jpg", "image/png"), Part("token", token), *text_parts(payload)],
    )

    stored = require_success(answer)
    assert (stored["width"], stored["height"]) == (8, 8)


def test_android_3_0_1_retries_with_the_same_token_in_vain(service: Service) -> None:
    """Its retries repeat the whole request; a 4xx makes it stop, which is what a used token has to answer."""
    payload = {"fileName": "a.png"}
    token = read_as_map_of_strings(fetch_v2(service, payload))
    parts = [Part("file", PICTURE, "a.png", "image/png"), Part("token", token), *text_parts(payload)]
    require_success(upload(service, "v2", parts))
    stored = service.stored_objects()

    again = upload(service, "v2", parts)

    assert again.status == 400
    assert "has been used before" in again.json()["message"]
    assert service.stored_objects() == stored


def test_dart_uploads_with_the_file_last(service: Service) -> None:
    """The unofficial Dart package sends the fields first."""
    credential = read_in_dart(fetch_v1(service))
    fields = v1_fields(service, credential) | {"fileName": "a.png", "folder": "/from/dart"}

    answer = upload(service, "v1", [*text_parts(fields), Part("file", PICTURE, "a.png", "application/octet-stream")])

    stored = require_success(answer)
    require_picture(stored)
    assert stored["filePath"].startswith("/from/dart/")
