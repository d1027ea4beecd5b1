"""Clients that run in Chromium: each a page of its own, bundled from npm, which uploads one picture.

Nothing of a client is patched. The browser resolves ImageKit's upload hosts to the service, that is all.
"""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import FilePayload, Page, Request, Response

from tests.e2e.origin import HERE, NODE_MODULES, App
from tests.support.pictures import png
from tests.support.server import Service

from .rows import FAULT, NOT_SPOKEN, STORED, Row, shown

PICTURE: Final = png(60, 40)
BUNDLE_SECONDS: Final = 60
OUTCOME_SECONDS: Final = 20

_AWAIT_OUTCOME: Final = """seconds => Promise.race([
  outcome,
  new Promise((_, reject) => setTimeout(() => reject(new Error("the client said nothing")), seconds * 1000)),
])"""


@dataclass(frozen=True, slots=True)
class PageClient:
    """One version of a browser SDK. `imports` says which installed package an import in `entry` means."""

    client: str
    version: str
    entry: str
    package: str
    imports: Mapping[str, str] = field(default_factory=dict)
    sdk_asks: bool = False
    api: str = "v1"

    @property
    def name(self) -> str:
        """Of its bundle and its page."""
        return re.sub(r"[^a-z0-9.]+", "-", f"{self.client}-{self.version}".lower()).strip("-")


def bundle(clients: Iterable[PageClient], directory: Path) -> None:
    """Write a bundle for each client into `directory`."""
    bundles = [{"name": client.name, "entry": client.entry, "alias": dict(client.imports)} for client in clients]
    subprocess.run(
        ["node", HERE / "clients/bundle.mjs"],
        input=json.dumps({"outdir": str(directory), "bundles": bundles}),
        text=True,
        check=True,
        timeout=BUNDLE_SECONDS,
    )


def installed_version(package: str) -> str:
    """The version in node_modules."""
    version: str = json.loads((NODE_MODULES / package / "package.json").read_text())["version"]
    return version


def observe(page: Page, app: App, service: Service, client: PageClient) -> Row:
    """Let the client fetch and upload, use its credential again, and ask without being allowed to."""
    assert not client.package or installed_version(client.package) == client.version
    asked: list[Request] = []
    uploads: list[Response] = []
    refusals: list[Response] = []
    page.on("request", lambda request: asked.append(request) if _asks(request) else None)
    page.on("response", lambda response: uploads.append(response) if "/files/upload" in response.url else None)
    page.on("response", lambda answer: refusals.append(answer) if answer.status == 401 else None)
    settings = {
        "auth": f"{service.url}/auth{'/hour' if client.api == 'v2' else ''}",
        "endpoint": f"{app.url}/api/upload-auth",
        "bearer": service.secrets.bearer,
        "publicKey": service.secrets.public_key,
        "urlEndpoint": f"{service.url}/files",
        "fileName": "stripes.png",
        "sdkAsks": client.sdk_asks,
    }
    page.goto(f"{app.url}/client/{client.name}")

    first = _attempt(page, settings)
    _require_stored(service, first)
    fetch = _fetch_cell(client, asked)
    kept = service.stored_objects()

    again = _attempt(page, settings | {"again": True, "endpoint": f"{app.url}/api/cached-upload-auth"})
    used = uploads[-1]
    assert "has been used before" in used.json()["message"], used.text()

    stranger = {"endpoint": f"{app.url}/api/stranger-upload-auth", "bearer": "Bearer of-nobody"}
    sent = len(uploads)
    unknown = _attempt(page, settings | stranger)
    assert len(uploads) == sent, "nothing is sent without a credential"
    assert service.stored_objects() == kept

    return Row(
        client.client,
        client.version,
        fetch,
        STORED if client.api == "v1" else NOT_SPOKEN,
        STORED if client.api == "v2" else NOT_SPOKEN,
        _shown(again, used),
        _shown(unknown, refusals[-1]),
    )


def _asks(request: Request) -> bool:
    return request.method in {"GET", "POST"} and bool(re.search(r"/auth(/hour)?$|-auth$", urlsplit(request.url).path))


def _attempt(page: Page, settings: Mapping[str, object]) -> dict[str, Any]:
    page.evaluate("settings => begin(settings)", settings)
    picture: FilePayload = {"name": "stripes.png", "mimeType": "image/png", "buffer": PICTURE}
    page.set_input_files("#app input[type=file]", picture)
    said: dict[str, Any] = page.evaluate(_AWAIT_OUTCOME, OUTCOME_SECONDS)
    return said


def _require_stored(service: Service, said: Mapping[str, Any]) -> None:
    answer = said.get("answer")
    assert answer, said
    assert (answer["width"], answer["height"], answer["size"]) == (60, 40, len(PICTURE))
    with urllib.request.urlopen(answer["url"], timeout=20, context=service.trust()) as served:
        assert served.read() == PICTURE


def _fetch_cell(client: PageClient, asked: Iterable[Request]) -> str:
    kinds = ["`GET ?t=`" if "t" in parse_qs(urlsplit(one.url).query) else f"`{one.method}`" for one in asked]
    return f"{'SDK' if client.sdk_asks else 'app'}: {', '.join(kinds)}"


def _shown(said: Mapping[str, Any], answer: Response) -> str:
    if "fault" in said:
        return FAULT
    assert "refusal" in said, said
    request_id = answer.headers.get("x-request-id")
    return shown(said["refusal"], answer.status, answer.json(), request_id)
