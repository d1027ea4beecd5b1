"""What the parameters of an upload do, and that the answers are such as ImageKit's SDK reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from imagekitio import ImageKit
from imagekitio.types import FileUploadResponse
from imagekitio.types.beta.v2 import FileUploadResponse as FileUploadResponseV2

from tests.support import films
from tests.support.app import BOUNDARY, KEPT_NONE, KEPT_ONE, basic, form, png

from .conftest import assert_problem
from .imagekit_answers import assert_kept, assert_refused, assert_success, used_v1

if TYPE_CHECKING:
    from tests.support.app import Service, Tables

    from .conftest import ServiceMaker

EVERYTHING: dict[str, Any] = {
    "useUniqueFileName": "false",
    "tags": "a,b",
    "folder": "/x",
    "isPrivateFile": "false",
    "isPublished": "true",
    "customCoordinates": "1,2,3,4",
    "responseFields": (
        "tags,customCoordinates,isPrivateFile,isPublished,embeddedMetadata,customMetadata,metadata,selectedFieldsSchema"
    ),
    "extensions": json.dumps(
        [{"name": "google-auto-tagging", "maxTags": 5, "minConfidence": 95}, {"name": "remove-bg"}]
    ),
    "webhookUrl": "https://app.example/hook",
    "overwriteFile": "true",
    "overwriteAITags": "true",
    "overwriteTags": "true",
    "overwriteCustomMetadata": "true",
    "customMetadata": '{"price": 10, "sizes": ["S"]}',
    "transformation": '{"pre":"w-100","post":[{"type":"transformation","value":"w-10"}]}',
    "checks": '"file.size" < 100000',
    "description": "A picture.",
}
GIF = b"GIF89a\1\0\1\0\0\0\0;"
MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(64)


def upload(service: Service, content: bytes = b"", version: Any = "v1", **fields: Any) -> Any:
    """With the private key, which may ask for everything."""
    parameters = {"fileName": "a.png", **fields}
    return service.upload(version, parameters, content, Authorization=basic(service.private_key))


@pytest.mark.parametrize(("version", "model"), [("v1", FileUploadResponse), ("v2", FileUploadResponseV2)])
def test_every_parameter_has_its_effect_and_the_sdk_reads_the_answer(
    service: Service, version: str, model: Any
) -> None:
    body = assert_kept(upload(service, version=version, **EVERYTHING))
    assert body == {
        "fileId": body["fileId"],
        "name": "a.png",
        "size": len(png()),
        "versionInfo": body["versionInfo"],
        "filePath": "/x/a.png",
        "url": "http://localhost/files/x/a.png",
        "fileType": "image",
        "height": 2,
        "width": 3,
        "thumbnailUrl": "http://localhost/files/tr:n-ik_ml_thumbnail/x/a.png",
        "AITags": None,
        "description": "A picture.",
        "extensionStatus": {"google-auto-tagging": "pending", "remove-bg": "pending"},
        "tags": ["a", "b"],
        "customCoordinates": "1,2,3,4",
        "isPrivateFile": False,
        "isPublished": True,
        "customMetadata": {"price": 10, "sizes": ["S"]},
        "embeddedMetadata": {},
        "metadata": {"size": len(png()), "format": "png", "height": 2, "width": 3},
    }
    read = model.model_validate(body, strict=True)
    assert not read.model_extra
    assert read.extension_status.google_auto_tagging == "pending"
    assert json.loads(read.model_dump_json(by_alias=True, exclude_unset=True)) == body


@pytest.mark.parametrize(("version", "model"), [("v1", FileUploadResponse), ("v2", FileUploadResponseV2)])
@pytest.mark.parametrize("content", [png(), b"text", GIF, MP4])
def test_the_sdk_reads_the_answer_for_files_of_all_kinds(
    service: Service, version: str, model: Any, content: bytes
) -> None:
    body = assert_kept(upload(service, content, version, responseFields=EVERYTHING["responseFields"]))
    assert not model.model_validate(body, strict=True).model_extra
    assert (body["tags"], body["customMetadata"], "extensionStatus" in body) == (None, {}, False)


def test_all_that_was_asked_is_recorded_with_the_file(service: Service) -> None:
    assert_kept(upload(service, **EVERYTHING))
    found = service.files.find("default", "/x/a.png")
    assert found is not None
    found[1].close()
    assert found[0].fields == {"fileName": "a.png", **EVERYTHING}


# Old spellings


def test_response_fields_may_be_a_json_array(service: Service) -> None:
    body = assert_kept(upload(service, responseFields='["tags","isPrivateFile"]', tags="a"))
    assert (body["tags"], body["isPrivateFile"]) == (["a"], False)


def test_tags_of_old_android_are_bare_when_kept(service: Service) -> None:
    body = assert_kept(upload(service, responseFields="tags", tags="'a', 'b'"))
    assert body["tags"] == ["a", "b"]


@pytest.mark.parametrize("text", ["", "null", "undefined"])
def test_texts_for_unset_are_unset_on_v1(service: Service, text: str) -> None:
    unset: dict[str, Any] = dict.fromkeys(set(EVERYTHING) - {"responseFields"}, text)
    body = assert_kept(upload(service, **unset, responseFields=EVERYTHING["responseFields"]))
    assert (body["filePath"], body["tags"], body["customCoordinates"]) == (f"/{body['name']}", None, None)
    assert not {"description", "extensionStatus"} & body.keys()


def test_on_v2_a_text_that_was_signed_is_kept(service: Service) -> None:
    payload = {"fileName": "a.png", "description": "null"}
    assert assert_kept(service.upload_v2(service.jwt(payload), **payload))["description"] == "null"


def send_to_the_old_path(service: Service, fields: dict[str, str]) -> Any:
    content_type = f"multipart/form-data; boundary={BOUNDARY}"
    body = form({"fileName": "a.png", **fields}.items(), png())
    path = "/v1/files/upload?sdk-version=android-2.0.1"
    return service.send("POST", path, {"Content-Type": content_type}, data=body)


def test_the_old_path_is_that_of_v1(service: Service) -> None:
    credential = service.credential()
    assert_success(service, send_to_the_old_path(service, credential), png())
    assert_refused(send_to_the_old_path(service, credential), 400, "credential.replayed", used_v1(credential["token"]))


def test_android_2_uploads_in_its_own_words_to_its_own_path(service: Service) -> None:
    fields = {"isPrivateFile": "null", "useUniqueFileName": "null", "tags": "'a', 'b'", "responseFields": "tags"}
    body = assert_kept(send_to_the_old_path(service, {**service.credential(), **fields}))
    assert body["tags"] == ["a", "b"]


# Transformations


@pytest.mark.parametrize("text", ["[object Object]", "{}", '{"pre":""}', '{"post":{}}', '{"post":[{"type":"x"}]}'])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_transformation_of_another_shape_is_refused(service: Service, text: str, version: str) -> None:
    message = "The file could not be uploaded because the transformation field is invalid."
    assert_refused(upload(service, version=version, transformation=text), 400, "parameter.invalid", message)
    assert service.on_disk() == KEPT_NONE


def test_only_images_and_videos_are_transformed(service: Service) -> None:
    message = "The file could not be uploaded because transformations are supported only for image and video files."
    answer = upload(service, b"text", fileName="a.txt", transformation='{"pre":"w-1"}')
    assert_refused(answer, 400, "parameter.invalid", message)
    assert service.on_disk() == KEPT_NONE


@pytest.mark.parametrize("content", [png(), GIF, MP4])
@pytest.mark.parametrize("kind", ["gif-to-video", "thumbnail", "abs", "transformation"])
def test_a_post_transformation_must_suit_the_file(service: Service, content: bytes, kind: str) -> None:
    suits = {"gif-to-video": [GIF], "thumbnail": [MP4], "abs": [MP4], "transformation": [png(), GIF, MP4]}
    text = json.dumps({"post": [{"type": kind, "value": "w-1"}]})
    answer = upload(service, content, transformation=text)
    if content in suits[kind]:
        assert_kept(answer)
        return
    message = "The file could not be uploaded because the detected file type & post-transformation are incompatible."
    assert_refused(answer, 400, "parameter.invalid", message)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_video_that_would_be_transformed_first_is_queued(service: Service, version: str) -> None:
    answer = upload(service, MP4, version, transformation='{"pre":"w-1"}')
    assert answer.status_code == 202
    assert answer.get_json() == {"message": "The pre-transformation has been queued successfully."}
    assert len(answer.headers["x-ik-requestid"]) == 24
    assert service.on_disk() == KEPT_ONE


def test_a_picture_and_a_post_transformation_are_not_queued(service: Service) -> None:
    assert_kept(upload(service, transformation='{"pre":"w-1"}'))
    assert_kept(upload(service, MP4, transformation='{"post":[{"type":"thumbnail"}]}'))


# Who may see a file


def path_of(url: str) -> str:
    return url.removeprefix("http://localhost")


PRIVATE = (403, "caller.forbidden", "The file is private, and the URL is not signed, or no longer.")
REMEDY = "Sign the URL with the account's private key, as ImageKit's SDKs do."


@pytest.mark.parametrize("name", ["a.png", "ä b.png"])
def test_a_private_file_is_served_under_a_url_that_the_sdk_signed(service: Service, name: str) -> None:
    body = assert_kept(upload(service, isPrivateFile="true", fileName=name, folder="/x"))
    assert_problem(service.send("GET", path_of(body["url"])), *PRIVATE, REMEDY)
    sdk = ImageKit(private_key=service.private_key)
    for options in ({}, {"expires_in": 100}, {"query_parameters": {"v": "1"}}, {"transformation": [{"width": 10}]}):
        for position in ("path", "query"):
            url = sdk.helper.build_url(
                src=body["filePath"],
                url_endpoint="http://localhost/files",
                transformation_position=position,
                signed=True,
                **options,
            )
            answer = service.send("GET", path_of(url))
            assert (answer.status_code, answer.get_data()) == (200, png()), url
            assert answer.headers["Cache-Control"] == "private, no-store"


def test_a_signed_url_is_good_for_one_file_one_query_and_until_its_time(service: Service) -> None:
    paths = [path_of(assert_kept(upload(service, isPrivateFile="true"))["url"]) for _ in range(2)]
    sdk = ImageKit(private_key=service.private_key)

    def signature(path: str, **options: Any) -> str:
        return sdk.helper.build_url(
            src=path.removeprefix("/files/"), url_endpoint="http://localhost/files", signed=True, **options
        ).partition("?")[2]

    until = signature(paths[0], expires_in=100)
    assert service.send("GET", f"{paths[0]}?{until}").status_code == 200
    ever = signature(paths[0])
    expiry = until.partition("&")[0]
    for path, query in [
        (paths[1], until),
        (paths[0], f"{until}&v=1"),
        (paths[0], until.partition("&")[2]),
        (paths[0], f"{expiry}&{ever}"),
        (paths[0], f"{until}&{expiry}"),
        (paths[0], f"{ever}&{ever}"),
        (paths[0], ever[:-1]),
        (paths[0], "ik-s="),
        (paths[0], "ik-s=%ff&ik-t=x"),
        (paths[0], f"{ever}&ik-t=²"),
    ]:
        assert_problem(service.send("GET", f"{path}?{query}"), *PRIVATE, REMEDY)
    service.clock.now += 101
    assert_problem(service.send("GET", f"{paths[0]}?{until}"), *PRIVATE, REMEDY)
    assert service.send("GET", f"{paths[0]}?{ever}").status_code == 200


def test_another_key_opens_nothing(service: Service) -> None:
    body = assert_kept(upload(service, isPrivateFile="true"))
    sdk = ImageKit(private_key="private_other")
    url = sdk.helper.build_url(src=body["filePath"], url_endpoint="http://localhost/files", signed=True)
    assert_problem(service.send("GET", path_of(url)), *PRIVATE, REMEDY)


def test_an_unpublished_file_is_kept_and_not_served(service: Service) -> None:
    body = assert_kept(upload(service, isPublished="false"))
    assert service.send("GET", path_of(body["url"])).status_code == 404
    assert service.on_disk() == KEPT_ONE


# Declared custom metadata


def declare(tables: Tables) -> None:
    tables["accounts"]["default"]["metadata_fields"] = {
        "price": {"type": "Number", "min_value": 0, "required": True},
        "sizes": {"type": "MultiSelect", "options": ["S", "M"]},
    }


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_declared_custom_metadata_is_held_to_its_types(make_service: ServiceMaker, version: str) -> None:
    service = make_service(change=declare)
    sent = {"price": 10, "sizes": ["S"]}
    body = assert_kept(
        upload(service, version=version, customMetadata=json.dumps(sent), responseFields="customMetadata")
    )
    assert body["customMetadata"] == sent
    assert_kept(upload(service, version=version))


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ({"price": -1}, "customMetadata: price is below 0. Send a value for a field of type Number."),
        ({"sizes": []}, "customMetadata lacks price. Send a value for each field that is required."),
        (
            {"price": 1, "colour": "red"},
            (
                "customMetadata has 'colour', which is no field of the account. "
                "Use some of price, sizes, or declare it under metadata_fields."
            ),
        ),
    ],
)
def test_other_custom_metadata_is_refused_as_imagekit_does(
    make_service: ServiceMaker, sent: dict[str, Any], why: str
) -> None:
    service = make_service(change=declare)
    answer = upload(service, customMetadata=json.dumps(sent))
    assert answer.status_code == 400
    assert answer.get_json() == {
        "message": "Your request contains invalid value for customMetadata parameter.",
        "help": why,
    }
    assert service.on_disk() == {"incoming": 0, "objects": 0, "index": 0}


def test_no_credential_is_signed_for_custom_metadata_that_would_be_refused(make_service: ServiceMaker) -> None:
    service = make_service(change=declare)
    answer = service.post({"uploadPayload": {"fileName": "a.png", "customMetadata": {"price": "10"}}}, profile="open")
    detail, remedy = "customMetadata: price is no number.", "Send a value for a field of type Number."
    assert_problem(answer, 422, "parameter.invalid", detail, remedy)
    assert service.jwt({"fileName": "a.png", "customMetadata": {"price": 10}})


# Films


@pytest.mark.parametrize(("version", "model"), [("v1", FileUploadResponse), ("v2", FileUploadResponseV2)])
def test_a_film_is_answered_with_what_it_says_of_itself(service: Service, version: str, model: Any) -> None:
    body = assert_kept(upload(service, films.MP4, version))
    told = {name: body[name] for name in ("width", "height", "bitRate", "duration", "videoCodec", "audioCodec")}
    assert told == {
        "width": 32,
        "height": 24,
        "bitRate": 31,
        "duration": 1,
        "videoCodec": "h264",
        "audioCodec": "aac",
    }
    assert not model.model_validate(body, strict=True).model_extra


@pytest.mark.parametrize(
    ("checks", "status"),
    [
        ('"mediaMetadata.duration" <= 1 AND "mediaMetadata.videoCodec" = "h264"', 200),
        ('"mediaMetadata.duration" > 1', 400),
        ('"mediaMetadata.audioCodec" = "opus"', 400),
    ],
)
def test_checks_know_what_a_film_says_of_itself(service: Service, checks: str, status: int) -> None:
    assert upload(service, films.MP4, checks=checks).status_code == status
