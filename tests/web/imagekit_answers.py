"""The upload API's answers, whole: ImageKit's texts as they stand in its documentation, and our help beside them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.support.app import KEPT_ONE

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

    from tests.support.app import Service

AGAIN = "Fetch a new credential for each upload, just before it starts."
UNCHANGED = "Fetch a new credential and send its token unchanged."

EXPIRE = (
    "Your request contains invalid expire parameter. Expire parameter should be a Unix time in less than 1 hour into "
    "the future."
)
SIGNATURE = "Your request contains invalid signature parameter."
PAYLOAD = "Your request contains invalid payload. It does not match with the payload used to generate token."
REFUSED_ACCOUNT = "Your account cannot be authenticated."
USED_V2 = "Your request contains a token that has been used before."
TOO_LARGE = "Your request contains invalid file parameter. The file size exceeds limits."
NO_FILE = "Your request is missing file parameter."
NAME_TAKEN = (
    "A file with the same name already exists at the exact location. We could not overwrite it because both "
    "overwriteFile and useUniqueFileName are set to false."
)
GOOD = "The credential's signature does not verify."


def used_v1(token: str) -> str:
    return (
        f"The token with value '{token}' has been used before. We suggest using V4 UUIDs, or another random string "
        "with enough entropy to avoid collisions."
    )


def assert_refused(answer: TestResponse, status: int, code: str, message: str, help_text: str | None = None) -> None:
    """The whole answer is ImageKit's; our own words are its help, compared if they are given."""
    body = answer.get_json()
    assert body == {"message": message, "help": body["help"] if help_text is None else help_text}
    assert body["help"]
    assert answer.status_code == status
    assert answer.content_type == "application/json"
    assert answer.headers["X-Tokensvc-Code"] == code
    assert answer.headers["Cache-Control"] == "no-store, private"
    assert len(answer.headers["x-ik-requestid"]) == 24
    assert answer.headers["x-request-id"] == answer.headers["x-ik-requestid"]


def assert_kept(answer: TestResponse) -> dict[str, Any]:
    assert answer.status_code == 200, answer.get_data()
    body: dict[str, Any] = answer.get_json()
    return body


def assert_success(service: Service, answer: TestResponse, content: bytes) -> dict[str, Any]:
    body = assert_kept(answer)
    name = body["name"]
    assert re.fullmatch(r"a_[A-Za-z0-9_-]{9}\.png", name)
    assert re.fullmatch(r"[0-9a-f]{24}", body["fileId"])
    assert re.fullmatch(r"[0-9a-f]{24}", body["versionInfo"]["id"])
    assert body == {
        "fileId": body["fileId"],
        "name": name,
        "size": len(content),
        "versionInfo": {"id": body["versionInfo"]["id"], "name": "Version 1"},
        "filePath": f"/{name}",
        "url": f"http://localhost/files/{name}",
        "fileType": "image",
        "height": 2,
        "width": 3,
        "thumbnailUrl": f"http://localhost/files/tr:n-ik_ml_thumbnail/{name}",
        "AITags": None,
    }
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store, private"
    assert len(answer.headers["x-ik-requestid"]) == 24
    assert answer.headers["x-request-id"] == answer.headers["x-ik-requestid"]
    served = service.send("GET", f"/files/{name}")
    assert (served.status_code, served.get_data(), served.content_type) == (200, content, "image/png")
    assert service.on_disk() == KEPT_ONE
    return body
