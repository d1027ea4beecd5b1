"""ImageKit's own server SDKs upload with the private key, to v1 and to v2."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.request
from typing import Any, Final

import imagekitio
import pytest

from tests.e2e.origin import HERE
from tests.support.pictures import png
from tests.support.server import Service

pytestmark = pytest.mark.xdist_group("plain")

PICTURE: Final = png(64, 48)
NO_ACCOUNT: Final = "Your account cannot be authenticated."
VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])


def upload_with_python(service: Service, private_key: str, version: str) -> dict[str, Any]:
    """Upload the picture with `imagekitio` and return the answer as JSON has it."""
    with imagekitio.ImageKit(private_key=private_key, base_url=service.url, max_retries=0) as client:
        files: Any = client.files if version == "v1" else client.beta.v2.files
        answer = files.upload(
            file=("stripes.png", PICTURE),
            file_name="stripes.png",
            folder="/from/python",
            tags=["summer", "dress"],
            response_fields=["tags"],
        )
        said: dict[str, Any] = answer.to_dict(mode="json")
        return said


def upload_with_node(service: Service, private_key: str, version: str) -> dict[str, Any]:
    """Upload the picture with `@imagekit/nodejs`; return what the script says, `answer` or `error`."""
    wanted = {
        "baseURL": service.url,
        "privateKey": private_key,
        "version": version,
        "content": base64.b64encode(PICTURE).decode(),
    }
    done = subprocess.run(
        ["node", HERE / "server_sdk.mjs"],
        input=json.dumps(wanted),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def require_stored(service: Service, answer: dict[str, Any], folder: str) -> None:
    assert (answer["width"], answer["height"], answer["size"]) == (64, 48, len(PICTURE))
    assert answer["filePath"] == f"{folder}/{answer['name']}"
    assert answer["tags"] == ["summer", "dress"]
    with urllib.request.urlopen(f"{service.url}/files{answer['filePath']}", timeout=10) as served:
        assert served.read() == PICTURE


@VERSIONS
def test_the_python_sdk_uploads(plain_service: Service, version: str) -> None:
    """Basic auth with the SDK's own odd password, form fields before the file."""
    answer = upload_with_python(plain_service, plain_service.secrets.private_key, version)

    require_stored(plain_service, answer, "/from/python")


@VERSIONS
def test_the_python_sdk_raises_its_own_error_for_a_wrong_private_key(plain_service: Service, version: str) -> None:
    """403 is a permission error to it, and its body is our sentence."""
    stored = plain_service.stored_objects()

    with pytest.raises(imagekitio.PermissionDeniedError) as refused:
        upload_with_python(plain_service, "private_of_somebody_else=", version)

    assert isinstance(refused.value.body, dict)
    assert refused.value.body["message"] == NO_ACCOUNT
    assert plain_service.stored_objects() == stored


@VERSIONS
@pytest.mark.usefixtures("node_modules")
def test_the_node_sdk_uploads(plain_service: Service, version: str) -> None:
    """As the Python SDK, with the other order of parts."""
    said = upload_with_node(plain_service, plain_service.secrets.private_key, version)

    assert said.keys() == {"answer"}, said
    require_stored(plain_service, said["answer"], "/from/node")


@VERSIONS
@pytest.mark.usefixtures("node_modules")
def test_the_node_sdk_raises_its_own_error_for_a_wrong_private_key(plain_service: Service, version: str) -> None:
    """403 is a permission error to it too."""
    said = upload_with_node(plain_service, "private_of_somebody_else=", version)

    assert said == {"error": "PermissionDeniedError", "status": 403, "message": NO_ACCOUNT}
