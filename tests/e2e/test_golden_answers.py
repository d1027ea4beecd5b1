"""Real answers of the upload API, held against the types that ImageKit's newest SDKs promise to their users.

TypeScript: each answer is an object literal of the SDK's type, so that a member of a wrong type and one that the type
does not know are errors. Python: the pydantic models in strict mode, with nothing left over.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from imagekitio.types import FileUploadResponse
from pydantic import BaseModel, TypeAdapter

from tests.e2e.origin import NODE_MODULES
from tests.e2e.wire import MULTIPART, Part, multipart, send, text_parts
from tests.support.films import MP4
from tests.support.pictures import png
from tests.support.server import Service

COMPILE_SECONDS: Final = 120
EVERYTHING: Final = (
    "tags,customCoordinates,isPrivateFile,isPublished,embeddedMetadata,customMetadata,metadata,selectedFieldsSchema"
)
ALWAYS: Final = {"fileId", "name", "size", "versionInfo", "filePath", "url", "fileType", "AITags"}
OF_PICTURES: Final = {"height", "width", "thumbnailUrl"}
ASKED: Final = {
    "tags",
    "customCoordinates",
    "isPrivateFile",
    "isPublished",
    "embeddedMetadata",
    "customMetadata",
    "metadata",
}
UPLOADS: Final[dict[str, tuple[bytes, dict[str, str], set[str]]]] = {
    "picture": (png(30, 20), {"fileName": "a.png"}, OF_PICTURES),
    "text": (b"hello", {"fileName": "a.txt"}, set()),
    "film": (MP4, {"fileName": "a.mp4"}, {"height", "width", "bitRate", "duration", "videoCodec", "audioCodec"}),
    "unset": (png(30, 20), {"fileName": "b.png", "responseFields": EVERYTHING}, OF_PICTURES | ASKED),
    "all": (
        png(30, 20),
        {
            "fileName": "c.png",
            "folder": "/golden",
            "tags": "summer,dress",
            "customCoordinates": "0,0,10,10",
            "isPrivateFile": "false",
            "isPublished": "true",
            "description": "A picture.",
            "customMetadata": '{"brand":"none","sizes":[1,2.5],"old":true}',
            "extensions": '[{"name":"google-auto-tagging","minConfidence":80,"maxTags":5},{"name":"remove-bg"}]',
            "webhookUrl": "https://hooks.example/done",
            "responseFields": EVERYTHING,
        },
        OF_PICTURES | ASKED | {"description", "extensionStatus"},
    ),
}
"""What is sent, and what its answer has besides that which every answer has."""


@pytest.fixture(scope="module")
def answers(plain_service: Service) -> dict[str, Any]:
    """The answer to each of `UPLOADS`."""
    key = base64.b64encode(f"{plain_service.secrets.private_key}:".encode()).decode()
    given: dict[str, Any] = {}
    for name, (content, fields, _) in UPLOADS.items():
        form = multipart([*text_parts(fields), Part("file", content, fields["fileName"], "image/png")])
        headers = {**MULTIPART, "Authorization": f"Basic {key}"}
        answer = send(plain_service, "POST", "/api/v1/files/upload", headers, form)
        assert answer.status == 200, answer.body
        given[name] = answer.json()
    return given


@pytest.mark.parametrize("name", UPLOADS)
def test_an_answer_has_all_that_is_documented_for_it(answers: Mapping[str, Any], name: str) -> None:
    """An SDK's types let nearly every member be absent, so what must be there is said here."""
    assert answers[name].keys() >= ALWAYS | UPLOADS[name][2]


@pytest.mark.parametrize("name", UPLOADS)
def test_the_python_sdk_reads_an_answer_in_strict_mode(answers: Mapping[str, Any], name: str) -> None:
    """No text where a number is promised; nothing that the model does not know, at any depth."""
    read = TypeAdapter(FileUploadResponse).validate_json(json.dumps(answers[name]), strict=True)

    assert left_over(read) == {}
    assert read.to_dict(mode="json") == answers[name]


def left_over(model: BaseModel, at: str = "") -> dict[str, object]:
    """Members that a model took in without knowing them, by their path."""
    found = {f"{at}{name}": value for name, value in (model.model_extra or {}).items()}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            found |= left_over(value, f"{at}{name}.")
    return found


def test_the_python_sdk_would_mind_a_wrong_type(answers: Mapping[str, Any]) -> None:
    """The guard of the guard: strict mode is on."""
    with pytest.raises(ValueError, match="valid number"):
        TypeAdapter(FileUploadResponse).validate_json(json.dumps(answers["picture"] | {"size": "112"}), strict=True)


def test_typescript_accepts_the_answers_as_the_types_of_the_sdks(
    answers: Mapping[str, Any], node_modules: Path, tmp_path: Path
) -> None:
    """`tsc --strict` has no complaint about any of them, for the browser's SDK and for the server's."""
    assert compile_answers(answers, node_modules, tmp_path) == ""


def test_typescript_would_mind_a_wrong_type_and_an_unknown_member(
    answers: Mapping[str, Any], node_modules: Path, tmp_path: Path
) -> None:
    """The guard of the guard: both are found, in both SDKs."""
    wrong = {"type": answers["text"] | {"size": "112"}, "member": answers["text"] | {"sise": 1}}

    said = compile_answers(wrong, node_modules, tmp_path)

    assert said.count("'string' is not assignable to type 'number'") == 2, said
    assert said.count("'\"sise\"' does not exist in type") == 2, said


def compile_answers(answers: Mapping[str, Any], node_modules: Path, directory: Path) -> str:
    """What the compiler says about a module that has each answer as a literal of both SDKs' types."""
    (directory / "node_modules").symlink_to(node_modules)
    lines = [
        'import type { UploadResponse } from "@imagekit/javascript";',
        'import type { FileUploadResponse } from "@imagekit/nodejs/resources/files/files";',
        'type Body = Omit<UploadResponse, "$ResponseMetadata">; // the SDK adds that member itself',
    ]
    for number, answer in enumerate(answers.values()):
        literal = json.dumps(answer, ensure_ascii=False)
        lines += [
            f"export const page{number}: Body = {literal};",
            f"export const server{number}: FileUploadResponse = {literal};",
        ]
    module = directory / "answers.ts"
    module.write_text("\n".join(lines) + "\n")
    # The SDKs' own files are not ours to check; `dom` and not Node's types, for no code runs.
    options = [
        "--noEmit",
        "--strict",
        "--skipLibCheck",
        "--target",
        "es2022",
        "--module",
        "nodenext",
        "--lib",
        "es2022,dom",
    ]
    done = subprocess.run(
        ["node", NODE_MODULES / "typescript/bin/tsc", *options, module.name],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=COMPILE_SECONDS,
        check=False,
    )
    return done.stdout
