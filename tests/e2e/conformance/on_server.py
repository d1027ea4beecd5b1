"""SDKs for servers: they upload with the private key, and sign credentials as the service does."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import imagekitio

from tests.e2e.origin import HERE
from tests.e2e.wire import MULTIPART, Answer, Part, multipart, send
from tests.support.pictures import png
from tests.support.server import Service

from .in_browser import installed_version
from .rows import NOT_SPOKEN, STORED, Row, shown

PICTURE: Final = png(64, 48)
SIGNS_ALIKE: Final = "the same signature"
WRONG_KEY: Final = "private_of_somebody_else="
PYTHON_4: Final = HERE / ".python"
_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class ServerClient:
    """One SDK. `speaks` are the versions of the upload API that it has a method for."""

    client: str
    version: str
    runner: Literal["node", "python", "python-4"]
    package: str
    speaks: tuple[str, ...]


def run(client: ServerClient, service: Service, wanted: Mapping[str, object]) -> dict[str, Any]:
    """Let the SDK `do` what is wanted; return `answer`, or the refusal as its error has it."""
    if client.runner == "python":
        return _run_newest_python(service, wanted)
    asked = {
        "sdk": client.package,
        "baseURL": service.url,
        "privateKey": service.secrets.private_key,
        "publicKey": service.secrets.public_key,
        "content": base64.b64encode(PICTURE).decode(),
        **wanted,
    }
    node: list[str | Path] = ["node", HERE / "server_sdk.mjs"]
    python: list[str | Path] = [sys.executable, "-W", "ignore", HERE / "clients/python_4.py"]
    done = subprocess.run(
        node if client.runner == "node" else python,
        env=os.environ | ({} if client.runner == "node" else {"PYTHONPATH": str(PYTHON_4)}),
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _run_newest_python(service: Service, wanted: Mapping[str, Any]) -> dict[str, Any]:
    key = wanted.get("privateKey", service.secrets.private_key)
    with imagekitio.ImageKit(private_key=key, base_url=service.url, max_retries=0) as client:
        if wanted["do"] == "sign":
            return {"answer": client.helper.get_authentication_parameters(wanted["token"], wanted["expire"])}
        files: Any = client.files if wanted["version"] == "v1" else client.beta.v2.files
        try:
            answer = files.upload(
                file=("stripes.png", PICTURE),
                file_name="stripes.png",
                folder="/from/python",
                tags=["summer", "dress"],
                response_fields=["tags"],
            )
        except imagekitio.APIStatusError as refused:
            body: Any = refused.body
            said = {"message": body["message"], "help": body.get("help")}
            return {"error": type(refused).__name__, "status": refused.status_code, **said}
        return {"answer": answer.to_dict(mode="json")}


def observe(service: Service, client: ServerClient) -> Row:
    """Compare a signature, upload to what it speaks, and upload with a wrong key."""
    assert _installed(client) == client.version
    _require_same_signature(service, client)
    cells = {version: _upload(service, client, version) for version in ("v1", "v2")}
    return Row(
        client.client,
        client.version,
        SIGNS_ALIKE,
        cells["v1"],
        cells["v2"],
        _refused(service, client) if client.speaks else NOT_SPOKEN,
        NOT_SPOKEN,
    )


def _installed(client: ServerClient) -> str:
    if client.runner == "node":
        return installed_version(client.package)
    if client.runner == "python":
        return imagekitio.__version__
    (metadata,) = PYTHON_4.glob("imagekitio-*.dist-info")
    return metadata.name.removeprefix("imagekitio-").removesuffix(".dist-info")


def _require_same_signature(service: Service, client: ServerClient) -> None:
    ours = send(service, "GET", "/auth", {"Authorization": service.secrets.bearer}).json()
    theirs = run(client, service, {"do": "sign", "token": ours["token"], "expire": ours["expire"]})["answer"]
    assert {name: ours[name] for name in theirs} == theirs, (ours, theirs)


def _upload(service: Service, client: ServerClient, version: str) -> str:
    if version not in client.speaks:
        return NOT_SPOKEN
    said = run(client, service, {"do": "upload", "version": version})
    assert "answer" in said, said
    require_stored(service, said["answer"])
    return STORED


def require_stored(service: Service, answer: Mapping[str, Any]) -> None:
    """The picture is there, with the tags, below the folder `/from`."""
    assert (answer["width"], answer["height"], answer["size"]) == (64, 48, len(PICTURE))
    assert answer["filePath"].startswith("/from/")
    assert answer["filePath"].endswith(f"/{answer['name']}")
    assert answer["tags"] == ["summer", "dress"]
    with urllib.request.urlopen(f"{service.url}/files{answer['filePath']}", timeout=10) as served:
        assert served.read() == PICTURE


def _refused(service: Service, client: ServerClient) -> str:
    stored = service.stored_objects()
    wanted = {"do": "upload", "version": client.speaks[0], "privateKey": WRONG_KEY}
    said = run(client, service, wanted)
    assert service.stored_objects() == stored
    answer = _refuse_wrong_key(service)
    return shown(said, answer.status, answer.json(), answer.headers["x-request-id"])


def _refuse_wrong_key(service: Service) -> Answer:
    """What the service says to a wrong private key, without an SDK between."""
    basic = "Basic " + base64.b64encode(f"{WRONG_KEY}:".encode()).decode()
    form = multipart([Part("file", PICTURE, "stripes.png", "image/png"), Part("fileName", "stripes.png")])
    answer = send(service, "POST", "/api/v1/files/upload", {**MULTIPART, "Authorization": basic}, form)
    assert answer.status == 403
    return answer
