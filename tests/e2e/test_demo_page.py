"""The page of `tokensvc dev`, used as a visitor does: sign in, drop pictures, watch, use a credential twice."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect

from tests.e2e.browsing import chromium
from tests.e2e.wire import send
from tests.support.pictures import JPEG_8_BY_8, big_file, png
from tests.support.server import Service, developing

PICTURES: Final = {
    "wide.png": (png(300, 100, 1), (300, 100)),
    "tall.png": (png(90, 270, 2), (90, 270)),
    "grey.jpg": (JPEG_8_BY_8, (8, 8)),
    "square.png": (png(128, 128, 3), (128, 128)),
}
SLOW_LINE: Final = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 4_000_000}
VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])

# Runs in the page: makes real File objects and drops them where a visitor would.
DROP: Final = """([zone, files]) => {
  const dropped = new DataTransfer();
  for (const [name, type, text] of files) {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    dropped.items.add(new File([bytes], name, {type}));
  }
  for (const kind of ["dragenter", "dragover", "drop"]) {
    zone.dispatchEvent(new DragEvent(kind, {dataTransfer: dropped, bubbles: true, cancelable: true}));
  }
}"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with developing(tmp_path_factory.mktemp("demo")) as service:
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def complaints() -> list[ConsoleMessage]:
    """What the browser's console said in red."""
    return []


@pytest.fixture
def hosts() -> set[str]:
    """The hosts that the page made requests to."""
    return set()


@pytest.fixture
def page(browser: Browser, service: Service, complaints: list[ConsoleMessage], hosts: set[str]) -> Iterator[Page]:
    """The demo page, signed in."""
    context = browser.new_context()
    context.set_default_timeout(20_000)
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: pytest.fail(f"An exception on the page: {error}"))
    page.on("request", lambda asked: hosts.add(urlsplit(asked.url).netloc))
    page.goto(service.url)
    page.get_by_test_id("sign-in").click()
    expect(page.get_by_test_id("sign-in")).to_be_hidden()
    yield page
    context.close()


def choose(page: Page, version: str) -> None:
    page.get_by_test_id(f"version-{version}").check(force=True)


def drop(page: Page, files: Mapping[str, bytes]) -> None:
    kinds = {"png": "image/png", "jpg": "image/jpeg"}
    listed = [[name, kinds[name[-3:]], base64.b64encode(content).decode()] for name, content in files.items()]
    zone = page.get_by_test_id("dropzone").element_handle()
    page.evaluate(DROP, [zone, listed])


def await_stored(page: Page, count: int) -> Locator:
    rows = page.locator("[data-testid=file-row][data-state=done]")
    expect(rows).to_have_count(count, timeout=20_000)
    return rows


@VERSIONS
def test_dropped_pictures_are_stored_and_shown(
    page: Page, service: Service, complaints: list[ConsoleMessage], hosts: set[str], version: str
) -> None:
    """Each gets a thumbnail that is the stored picture itself. The console is quiet, and nobody else is called."""
    choose(page, version)
    drop(page, {name: content for name, (content, _) in PICTURES.items()})

    rows = await_stored(page, len(PICTURES))

    for name, (_, size) in PICTURES.items():
        thumbnail = rows.get_by_alt_text(f"The stored picture {name}")
        thumbnail.scroll_into_view_if_needed()
        expect(thumbnail).to_have_js_property("naturalWidth", size[0])
        expect(thumbnail).to_have_js_property("naturalHeight", size[1])
        assert urlsplit(thumbnail.get_attribute("src") or "").path.startswith("/files/")
    expect(page.get_by_test_id("total-progress")).to_have_js_property("value", 1)
    assert [said.text for said in complaints] == []
    assert hosts == {f"127.0.0.1:{service.port}"}


@VERSIONS
def test_using_the_same_credential_again_shows_the_refusal_in_words(
    page: Page, complaints: list[ConsoleMessage], version: str
) -> None:
    """The button of a stored file sends it again; the answer's sentence is on the page, and on the wire panel."""
    choose(page, version)
    drop(page, {"wide.png": PICTURES["wide.png"][0]})
    row = await_stored(page, 1)

    row.get_by_test_id("use-again").click()

    result = row.get_by_test_id("again-result")
    expect(result).to_contain_text("has been used before")
    expect(result).to_contain_text("credential.replayed")
    expect(result).to_have_attribute("data-outcome", "good")
    row.get_by_test_id("wire").locator("summary").click()
    wire = row.get_by_test_id("wire")
    expect(wire).to_contain_text("GET" if version == "v1" else "uploadPayload")
    expect(wire).to_contain_text(f"/api/{version}/files/upload")
    expect(wire).to_contain_text("has been used before")
    # The browser itself reports the refused request; nothing else may be in red.
    assert [urlsplit(said.location["url"]).path for said in complaints] == [f"/api/{version}/files/upload"]


def test_progress_is_seen_on_the_way(page: Page, tmp_path: Path) -> None:
    """Over a slow line the bars of the file and of all files stand between nothing and everything."""
    path = tmp_path / "big.bin"
    path.write_bytes(big_file(size=6_000_000))
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", SLOW_LINE)

    page.get_by_test_id("file-input").set_input_files([path])

    for bar in ("file-progress", "total-progress"):
        value = f"document.querySelector('[data-testid={bar}]').value"
        page.wait_for_function(f"() => {value} > 0 && {value} < 1", polling=20)
    expect(page.locator("[data-testid=file-row]")).to_have_attribute("data-state", "uploading")
    await_stored(page, 1)


def test_nobody_gets_a_credential_of_the_development_server_without_signing_in(service: Service) -> None:
    """The demo has a door too."""
    answer = send(service, "GET", "/auth")

    assert (answer.status, answer.json()["code"]) == (401, "caller.missing")
