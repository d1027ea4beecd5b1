"""The upload API over HTTP: what is kept and under which name, and the forms that are not kept."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.app import FILE, KEPT_NONE, KEPT_ONE, MAX_FILE_BYTES, basic, png

from .imagekit_answers import (
    NAME_TAKEN,
    NO_FILE,
    TOO_LARGE,
    USED_V2,
    assert_kept,
    assert_refused,
    assert_success,
    used_v1,
)

if TYPE_CHECKING:
    from tests.support.app import Service
    from tokensvc.core.nonces import Version

    from .conftest import ServiceMaker


# What is kept


def test_a_v1_upload_is_kept_and_served(service: Service) -> None:
    assert_success(service, service.upload_v1(service.credential(), png()), png())


def test_a_v2_upload_is_kept_and_served(service: Service) -> None:
    token = service.jwt({"fileName": "a.png"})
    assert_success(service, service.upload_v2(token, png(), fileName="a.png"), png())


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("password", ["", "do_not_set", "p\xe4ss:word"])
def test_a_server_uploads_with_the_private_key_and_any_password(
    service: Service, version: Version, password: str
) -> None:
    before = service.on_record()
    answer = service.upload(version, {"fileName": "a.png"}, png(), Authorization=basic(service.private_key, password))
    assert_success(service, answer, png())
    assert service.on_record() <= before


def test_a_file_that_is_no_picture_has_no_size_in_pixels(service: Service) -> None:
    body = assert_kept(service.upload_v1(service.credential(), b"hello", fileName="a.txt", description="A text."))
    assert body == {
        "fileId": body["fileId"],
        "name": body["name"],
        "size": 5,
        "versionInfo": body["versionInfo"],
        "filePath": f"/{body['name']}",
        "url": f"http://localhost/files/{body['name']}",
        "fileType": "non-image",
        "AITags": None,
        "description": "A text.",
    }


@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_file_may_stand_anywhere_among_the_fields(service: Service, version: Version, place: str) -> None:
    fields: list[tuple[str, Any]] = [("fileName", "a.png")]
    if version == "v1":
        fields += service.credential().items()
    else:
        fields = [("token", service.jwt({"fileName": "a.png"})), *fields]
    at = {"first": 0, "middle": 1, "last": len(fields)}[place]
    fields.insert(at, ("file", FILE))
    assert_success(service, service.upload(version, fields, png()), png())


def test_response_fields_are_echoed_if_they_are_asked_for(service: Service) -> None:
    wanted = "tags,customCoordinates,isPrivateFile,isPublished,nonsense"
    body = assert_kept(service.upload_v1(service.credential(), responseFields=wanted))
    assert {name: body[name] for name in body.keys() & set(wanted.split(","))} == {
        "tags": None,
        "customCoordinates": None,
        "isPrivateFile": False,
        "isPublished": True,
    }
    wanted = wanted.removesuffix(",nonsense")
    fields = {"tags": "a, b,c", "customCoordinates": "1,2,3,4", "isPrivateFile": "true", "isPublished": "false"}
    payload = {"fileName": "a.png", **fields, "responseFields": wanted}
    body = assert_kept(service.upload_v2(service.jwt(payload), **payload))
    assert {name: body[name] for name in body.keys() & set(wanted.split(","))} == {
        "tags": ["a", "b", "c"],
        "customCoordinates": "1,2,3,4",
        "isPrivateFile": True,
        "isPublished": False,
    }


def test_unasked_fields_are_not_echoed(service: Service) -> None:
    body = assert_kept(service.upload_v1(service.credential(), tags="a,b", isPrivateFile="true"))
    assert not {"tags", "isPrivateFile", "responseFields"} & body.keys()


REACT_2 = {
    "useUniqueFileName": "true",
    "isPrivateFile": "false",
    "customCoordinates": "",
    "tags": "",
    "folder": "/",
    "responseFields": "",
}
VUE_3 = {
    "overwriteFile": "true",
    "overwriteAITags": "true",
    "overwriteTags": "true",
    "overwriteCustomMetadata": "true",
    "folder": "/",
    "customCoordinates": "",
    "useUniqueFileName": "true",
    "isPrivateFile": "false",
}
ANDROID_2 = {"isPrivateFile": "null", "useUniqueFileName": "null", "tags": "'a', 'b'"}
UPPY_1 = {"relativePath": "null", "name": "a.png", "type": "image/png", "createdBy": "me", "customMetadata": "{}"}
JS_1_3 = {
    **dict.fromkeys(("useUniqueFileName", "tags", "folder", "isPrivateFile", "customCoordinates"), "undefined"),
    **dict.fromkeys(("responseFields", "extensions", "webhookUrl", "customMetadata", "transformation"), "null"),
}
IOS_2 = {"useUniqueFileName": "true", "tags": "", "folder": "", "isPrivateFile": "false", "responseFields": ""}


@pytest.mark.parametrize("fields", [REACT_2, VUE_3, ANDROID_2, UPPY_1, JS_1_3, IOS_2])
def test_what_old_sdks_send_besides_is_taken(service: Service, fields: dict[str, str]) -> None:
    assert_success(service, service.upload_v1(service.credential(), png(), **fields), png())


def test_a_folder_becomes_part_of_the_path(service: Service) -> None:
    body = assert_kept(service.upload_v1(service.credential(), png(), folder="a//b-1/ä_/", useUniqueFileName="false"))
    assert (body["filePath"], body["name"]) == ("/a/b-1/ä_/a.png", "a.png")
    assert body["url"] == "http://localhost/files/a/b-1/%C3%A4_/a.png"
    assert service.send("GET", "/files/a/b-1/%C3%A4_/a.png").get_data() == png()


def test_the_outside_address_may_be_configured(make_service: ServiceMaker) -> None:
    service: Service = make_service(change=lambda tables: tables["upload"].update(url="https://cdn.example"))
    body = assert_kept(service.upload_v1(service.credential()))
    assert body["url"] == f"https://cdn.example/files/{body['name']}"


# The file as it was


def test_what_is_served_are_the_bytes_that_were_sent(service: Service) -> None:
    content = bytes(range(256)) * 300
    body = assert_kept(service.upload_v1(service.credential(), content))
    served = service.send("GET", body["url"].removeprefix("http://localhost"))
    assert hashlib.sha256(served.get_data()).digest() == hashlib.sha256(content).digest()
    assert served.content_type == "application/octet-stream"


# Names that are taken


def test_a_unique_name_is_the_default(service: Service) -> None:
    names = {assert_kept(service.upload_v1(service.credential()))["name"] for _ in range(3)}
    assert len(names) == 3


@pytest.mark.parametrize("overwrite", ["true", "", None])
def test_a_file_of_the_same_name_is_replaced_by_default(service: Service, overwrite: str | None) -> None:
    more = {"useUniqueFileName": "false"} | ({} if overwrite is None else {"overwriteFile": overwrite})
    first, second = (assert_kept(service.upload_v1(service.credential(), png(n), **more)) for n in (1, 2))
    assert first["filePath"] == second["filePath"] == "/a.png"
    assert first["fileId"] == second["fileId"]
    assert (first["versionInfo"]["name"], second["versionInfo"]["name"]) == ("Version 1", "Version 2")
    assert first["versionInfo"]["id"] != second["versionInfo"]["id"]
    assert service.send("GET", "/files/a.png").get_data() == png(2)
    earlier = service.send("GET", f"/files/a.png?ik-obj-version={first['versionInfo']['id']}")
    assert earlier.get_data() == png(1)
    assert service.on_disk() == {**KEPT_ONE, "objects": 2}


def test_earlier_tags_stay_if_they_are_not_to_be_overwritten(service: Service) -> None:
    more: Any = {"useUniqueFileName": "false", "responseFields": "tags"}
    assert assert_kept(service.upload_v1(service.credential(), **more, tags="a,b"))["tags"] == ["a", "b"]
    assert assert_kept(service.upload_v1(service.credential(), **more, overwriteTags="false"))["tags"] == ["a", "b"]
    assert assert_kept(service.upload_v1(service.credential(), **more))["tags"] is None


def test_the_101st_version_is_refused(service: Service) -> None:
    more = {"useUniqueFileName": "false"}
    for _ in range(100):
        body = assert_kept(
            service.upload("v1", {"fileName": "a.png", **more}, Authorization=basic(service.private_key))
        )
    assert body["versionInfo"]["name"] == "Version 100"
    assert_refused(
        service.upload_v1(service.credential(), png(2), **more),
        400,
        "parameter.invalid",
        "Your request contains invalid value for fileName parameter.",
        "The file at that path has 100 versions, and may not have more. "
        "Choose another fileName, or leave useUniqueFileName true.",
    )
    assert service.send("GET", "/files/a.png").get_data() == png()
    assert service.on_disk() == {**KEPT_ONE, "objects": 100}


def test_a_name_that_may_be_neither_replaced_nor_varied_is_refused(service: Service) -> None:
    more = {"useUniqueFileName": "false", "overwriteFile": "false"}
    assert_kept(service.upload_v1(service.credential(), png(1), **more))
    assert_refused(
        service.upload_v1(service.credential(), png(2), **more),
        400,
        "parameter.invalid",
        NAME_TAKEN,
        "A file of that name exists, and both overwriteFile and useUniqueFileName are false. "
        "Choose another fileName, or let one of the two be true.",
    )
    assert service.send("GET", "/files/a.png").get_data() == png(1)
    assert service.on_disk() == KEPT_ONE


# Size


@pytest.mark.parametrize("method", ["v1", "v2", "basic v1", "basic v2"])
@pytest.mark.parametrize("over", [0, 1])
def test_a_file_may_be_as_large_as_the_plan_says_and_no_larger(service: Service, method: str, over: int) -> None:
    content = png(padding=MAX_FILE_BYTES - len(png()) + over)
    answer = {
        "v1": lambda: service.upload_v1(service.credential(), content),
        "v2": lambda: service.upload_v2(service.jwt({"fileName": "a.png"}), content, fileName="a.png"),
        "basic v1": lambda: service.upload(
            "v1", {"fileName": "a.png"}, content, Authorization=basic(service.private_key)
        ),
        "basic v2": lambda: service.upload(
            "v2", {"fileName": "a.png"}, content, Authorization=basic(service.private_key)
        ),
    }[method]()
    if not over:
        assert_success(service, answer, content)
        return
    assert_refused(answer, 400, "too_large", TOO_LARGE, "The file is larger than 100,000 bytes. Send a smaller file.")
    assert service.on_disk() == KEPT_NONE


def test_a_file_that_is_too_large_does_not_use_up_the_credential(service: Service) -> None:
    """It is refused while it comes in, before there is a credential to look at."""
    credential = service.credential()
    assert service.upload_v1(credential, bytes(MAX_FILE_BYTES + 1)).status_code == 400
    assert_kept(service.upload_v1(credential))


def test_a_field_that_occurs_twice_is_refused(service: Service) -> None:
    credential = service.credential()
    for name in ("token", "fileName", "file", "tags"):
        fields = [("tags", "a"), ("fileName", "a.png"), *credential.items(), ("file", FILE)]
        fields.append((name, FILE if name == "file" else "other"))
        answer = service.upload("v1", fields)
        assert_refused(
            answer,
            400,
            "request.malformed",
            NO_FILE if name == "file" else "Your request could not be read.",
            f"The field {name} occurs twice. Send each field once.",
        )
    assert service.on_disk() == KEPT_NONE
    assert_kept(service.upload_v1(credential))


# Refusals of a form whose credential is good: they spend it, as ImageKit does


FORMS: dict[str, tuple[dict[str, str], bytes | None, str, str]] = {
    "no file": ({}, None, "request.malformed", NO_FILE),
    "no name": ({"fileName": ""}, b"x", "parameter.invalid", "fileName"),
    "long name": ({"fileName": "x" * 300}, b"x", "parameter.invalid", "fileName"),
    "folder up": ({"folder": "../x"}, b"x", "parameter.invalid", "folder"),
    "folder up inside": ({"folder": "/a/../../x"}, b"x", "parameter.invalid", "folder"),
    "folder with a backslash": ({"folder": "..\\x"}, b"x", "parameter.invalid", "folder"),
    "folder encoded": ({"folder": "%2e%2e/x"}, b"x", "parameter.invalid", "folder"),
    "folder with wide dots": ({"folder": "\uff0e\uff0e\uff0fx"}, b"x", "parameter.invalid", "folder"),
    "folder of another account": ({"folder": "/~other"}, b"x", "parameter.invalid", "folder"),
    "deep folder": ({"folder": "a/" * 51}, b"x", "parameter.invalid", "folder"),
    "odd flag": ({"useUniqueFileName": "yes"}, b"x", "parameter.invalid", "useUniqueFileName"),
    "odd private flag": ({"isPrivateFile": "maybe"}, b"x", "parameter.invalid", "isPrivateFile"),
    "odd published flag": ({"isPublished": "1"}, b"x", "parameter.invalid", "isPublished"),
    "no name but a text for it": ({"fileName": "undefined"}, b"x", "parameter.invalid", "fileName"),
    "tags with %": ({"tags": "a,50%"}, b"x", "parameter.invalid", "tags"),
    "too many tags": ({"tags": "a" * 501}, b"x", "parameter.invalid", "tags"),
    "odd coordinates": ({"customCoordinates": "1,2,3"}, b"x", "parameter.invalid", "customCoordinates"),
    "metadata of Uppy 1": ({"customMetadata": "[object Object]"}, b"x", "parameter.invalid", "customMetadata"),
    "metadata that is a list": ({"customMetadata": "[]"}, b"x", "parameter.invalid", "customMetadata"),
    "unknown extension": ({"extensions": '[{"name":"x"}]'}, b"x", "parameter.invalid", "extensions"),
    "webhook that is no URL": ({"webhookUrl": "app.example"}, b"x", "parameter.invalid", "webhookUrl"),
    "odd flag that nothing reads": ({"overwriteTags": "TRUE"}, b"x", "parameter.invalid", "overwriteTags"),
}


@pytest.mark.parametrize("case", FORMS)
def test_a_form_that_cannot_be_kept_is_refused_and_its_v1_credential_spent(service: Service, case: str) -> None:
    changed, content, code, message = FORMS[case]
    if code == "parameter.invalid":
        message = f"Your request contains invalid value for {message} parameter."
    credential = service.credential()
    assert_refused(service.upload_v1(credential, content, **changed), 400, code, message)
    assert service.on_disk() == KEPT_NONE
    assert_refused(service.upload_v1(credential), 400, "credential.replayed", used_v1(credential["token"]))
    assert service.on_disk() == KEPT_NONE


def test_a_form_that_cannot_be_kept_is_refused_and_its_v2_credential_spent(service: Service) -> None:
    changed, content, code, message = FORMS["no file"]
    payload = {"fileName": "a.png", **changed}
    token = service.jwt(payload)
    assert_refused(service.upload_v2(token, content, **payload), 400, code, message)
    assert_refused(service.upload_v2(token, **payload), 400, "credential.replayed", USED_V2)
    assert service.on_disk() == KEPT_NONE


def test_a_folder_has_at_most_50_levels(service: Service) -> None:
    folder = "/" + "/".join("a" * 50)
    assert assert_kept(service.upload_v1(service.credential(), folder=folder))["filePath"].startswith(f"{folder}/a_")


@pytest.mark.parametrize(
    "name", ["../../x.png", "..\\x.png", "/etc/passwd", "C:\\x.png", "a/b.png", "..", "x\u202egnp"]
)
def test_a_file_name_cannot_lead_elsewhere(service: Service, name: str) -> None:
    body = assert_kept(service.upload_v1(service.credential(), fileName=name, useUniqueFileName="false"))
    assert re.fullmatch(r"/[\w.-]+", body["filePath"])
    assert body["name"] not in (".", "..")
    assert service.on_disk() == KEPT_ONE
