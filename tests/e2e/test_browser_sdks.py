"""ImageKit's own browser SDKs, as npm has them, upload to the service from a page of another origin.

Nothing of an SDK is patched or shimmed: the browser resolves upload.imagekit.io to the service, that is all.
"""

from __future__ import annotations

import hashlib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.browsing import chromium
from tests.e2e.origin import App, app_origin
from tests.support.pictures import BIG_FILE_BYTES, big_file, png
from tests.support.server import Service, serving
from tests.support.tls import make_certificate

pytestmark = pytest.mark.usefixtures("node_modules")

V1_SDKS = pytest.mark.parametrize("sdk", ["sdk-1", "sdk-4", "sdk-5"])


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with app_origin() as app:
        yield app


@pytest.fixture(scope="module")
def service(app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("browser")
    with serving(directory, origins=[app.url], certificate=make_certificate(directory)) as service:
        app.service = service
        yield service


@pytest.fixture(scope="module")
def browser(service: Service) -> Iterator[Browser]:
    with chromium(upload_port=service.port) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "stripes.png"
    path.write_bytes(png(321, 123))
    return path


def settings(service: Service, **more: object) -> dict[str, object]:
    """What a page is configured with."""
    return {
        "auth": f"{service.url}/auth",
        "bearer": service.secrets.bearer,
        "publicKey": service.secrets.public_key,
        "urlEndpoint": f"{service.url}/files",
        "fileName": "stripes.png",
        **more,
    }


def upload(page: Page, **wanted: object) -> dict[str, Any]:
    """Let the page upload the chosen file; return what its SDK said."""
    said: dict[str, Any] = page.evaluate("settings => upload(settings)", wanted)
    return said


def served(service: Service, answer: dict[str, Any]) -> bytes:
    """Fetch the bytes from the address in the answer."""
    with urllib.request.urlopen(answer["url"], timeout=20, context=service.trust()) as response:
        body: bytes = response.read()
        return body


@V1_SDKS
def test_an_sdk_uploads_a_picture(page: Page, app: App, service: Service, picture: Path, sdk: str) -> None:
    """Width and height are right in the answer, and the very bytes are served back."""
    page.goto(f"{app.url}/{sdk}.html")
    page.set_input_files("#file", picture)

    answer = upload(page, **settings(service))["answer"]

    assert answer["fileType"] == "image"
    assert (answer["width"], answer["height"], answer["size"]) == (321, 123, picture.stat().st_size)
    assert answer["filePath"] == f"/{answer['name']}"
    assert answer["url"] == f"{service.url}/files{answer['filePath']}"
    assert served(service, answer) == picture.read_bytes()


@V1_SDKS
def test_an_sdk_uploads_20_megabytes(page: Page, app: App, service: Service, tmp_path: Path, sdk: str) -> None:
    """The body is far larger than any buffer on the way; not a bit of it is lost."""
    content = big_file()
    path = tmp_path / "big.bin"
    path.write_bytes(content)
    page.goto(f"{app.url}/{sdk}.html")
    page.set_input_files("#file", path)

    answer = upload(page, **settings(service, fileName="big.bin"))["answer"]

    assert answer["size"] == BIG_FILE_BYTES
    assert answer["fileType"] == "non-image"
    assert hashlib.sha256(served(service, answer)).digest() == hashlib.sha256(content).digest()


@V1_SDKS
def test_an_sdk_says_that_a_credential_was_used_before(
    page: Page, app: App, service: Service, picture: Path, sdk: str
) -> None:
    """The second upload with one credential stores nothing, and the page gets our sentence to show."""
    page.goto(f"{app.url}/{sdk}.html")
    page.set_input_files("#file", picture)
    first = upload(page, **settings(service))
    stored = service.stored_objects()

    second = upload(page, **settings(service, again=True))

    assert "answer" in first
    assert "has been used before" in second["refusal"]
    assert service.stored_objects() == stored


def test_the_newest_sdk_can_tell_a_refusal_from_an_outage(
    page: Page, app: App, service: Service, picture: Path
) -> None:
    """A used credential is an "invalid request" to it, with status and request id readable across origins."""
    page.goto(f"{app.url}/sdk-5.html")
    page.set_input_files("#file", picture)
    first = upload(page, **settings(service))

    second = upload(page, **settings(service, again=True))

    assert (second["error"], second["status"]) == ("invalid request", 400)
    assert first["requestId"]
    assert second["requestId"]
    assert first["requestId"] != second["requestId"]


def test_the_newest_sdk_reports_progress(page: Page, app: App, service: Service, tmp_path: Path) -> None:
    """Over a line of 8 MB/s: several events, never backwards, the last one at the end of the body."""
    path = tmp_path / "some.bin"
    path.write_bytes(big_file(size=4_000_000))
    line = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 8_000_000}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", line)
    page.goto(f"{app.url}/sdk-5.html")
    page.set_input_files("#file", path)

    events = upload(page, **settings(service, fileName="some.bin"))["progress"]

    loaded = [event["loaded"] for event in events]
    assert len(loaded) > 2
    assert loaded == sorted(loaded)
    assert loaded[-1] == events[-1]["total"] > 4_000_000


def test_a_page_of_an_unlisted_origin_gets_no_credential(page: Page, app: App, service: Service) -> None:
    """The same page under another name is another origin: the browser keeps the answer from it."""
    page.goto(f"{app.url.replace('127.0.0.1', 'localhost')}/sdk-5.html")

    assert upload(page, **settings(service))["refusal"] == "Failed to fetch"


def test_jquery_fetches_a_v2_token_with_a_mislabelled_body_and_uploads(
    page: Page, app: App, service: Service, picture: Path
) -> None:
    """The documented v2 page sends JSON that it calls a form, after a preflight for its two headers."""
    asked = []
    page.on("request", lambda request: asked.append(request) if request.url.startswith(service.url) else None)
    page.goto(f"{app.url}/jquery.html")
    page.set_input_files("#file", picture)

    answer = upload(page, **settings(service, auth=f"{service.url}/auth/hour"))["answer"]

    posted = [request for request in asked if request.method == "POST"]
    assert [request.headers["content-type"] for request in posted] == [
        "application/x-www-form-urlencoded; charset=UTF-8"
    ]
    assert (answer["width"], answer["height"]) == (321, 123)
    assert served(service, answer) == picture.read_bytes()


def test_jquery_says_that_a_v2_token_was_used_before(page: Page, app: App, service: Service, picture: Path) -> None:
    """One JWT is one upload."""
    page.goto(f"{app.url}/jquery.html")
    page.set_input_files("#file", picture)
    hour = settings(service, auth=f"{service.url}/auth/hour")
    assert "answer" in upload(page, **hour)
    stored = service.stored_objects()

    second = upload(page, **hour, again=True)

    assert "has been used before" in second["refusal"]
    assert second["status"] == 400
    assert service.stored_objects() == stored


def test_jquery_cannot_add_a_field_that_was_not_signed(page: Page, app: App, service: Service, picture: Path) -> None:
    """v2 binds the whole form."""
    page.goto(f"{app.url}/jquery.html")
    page.set_input_files("#file", picture)
    hour = settings(service, auth=f"{service.url}/auth/hour", unsigned={"folder": "/somebody-else"})

    refused = upload(page, **hour)

    assert "does not match with the payload used to generate token" in refused["refusal"]
    assert refused["status"] == 400
