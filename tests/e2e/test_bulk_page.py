"""200 files at once on the page of `tokensvc dev`: a few at a time, credentials in small batches, nothing twice."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
from playwright.sync_api import Browser, FilePayload, Page, Request, Route, expect

from tests.e2e.browsing import chromium
from tests.support.pictures import png
from tests.support.server import Service, developing

FILES: Final = 200
PATIENCE_MS: Final = 120_000
MOST_IN_A_BATCH: Final = 10
AT_A_TIME: Final = 3
VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])
PICTURES: Final[list[FilePayload]] = [
    {"name": f"picture-{number:03}.png", "mimeType": "image/png", "buffer": png(8, 8, number)}
    for number in range(FILES)
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with developing(tmp_path_factory.mktemp("bulk")) as service:
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """The page, signed in."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("pageerror", lambda error: pytest.fail(f"An exception on the page: {error}"))
        page.goto(service.url)
        page.get_by_test_id("sign-in").click()
        expect(page.get_by_test_id("sign-in")).to_be_hidden()
        yield page


def choose(page: Page, version: str, pictures: list[FilePayload]) -> None:
    page.get_by_test_id(f"version-{version}").check(force=True)
    page.get_by_test_id("file-input").set_input_files(pictures)


def await_rows(page: Page, state: str, count: int) -> None:
    rows = page.locator(f"[data-testid=file-row][data-state={state}]")
    expect(rows).to_have_count(count, timeout=PATIENCE_MS)


def contents(paths: set[Path]) -> Counter[bytes]:
    """What was stored, and how often."""
    return Counter(path.read_bytes() for path in paths)


def each_once(pictures: list[FilePayload]) -> Counter[bytes]:
    return Counter(picture["buffer"] for picture in pictures)


@VERSIONS
def test_200_files_are_stored_by_one_page_each_once(page: Page, service: Service, version: str) -> None:
    """The bar of all files grows to its end, no more than three uploads run at once, none before its credential."""
    before = service.stored_objects()
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if request.method == "POST" else None)
    page.evaluate(WATCH)

    choose(page, version, PICTURES)
    await_rows(page, "done", FILES)

    assert contents(service.stored_objects() - before) == each_once(PICTURES)
    expect(page.get_by_test_id("total-progress")).to_have_js_property("value", 1)
    expect(page.locator("#total-words")).to_contain_text(f"{FILES} of {FILES} files stored")
    seen: dict[str, Any] = page.evaluate("() => seen")
    assert seen["mostRunning"] <= AT_A_TIME
    assert seen["bar"] == sorted(seen["bar"])
    assert len(seen["bar"]) > 20
    sizes = batch_sizes(asked)
    assert sum(sizes) <= FILES
    assert len(sizes) >= FILES // MOST_IN_A_BATCH
    assert max(sizes) == MOST_IN_A_BATCH


WATCH: Final = """() => {
  window.seen = {mostRunning: 0, bar: []};
  const bar = document.querySelector("[data-testid=total-progress]");
  const look = () => {
    const running = document.querySelectorAll("[data-state=fetching], [data-state=uploading]").length;
    seen.mostRunning = Math.max(seen.mostRunning, running);
    if (bar.value !== seen.bar.at(-1)) seen.bar.push(bar.value);
  };
  const all = {attributes: true, subtree: true, childList: true};
  new MutationObserver(look).observe(document.getElementById("files"), all);
}"""


def batch_sizes(asked: list[Request]) -> list[int]:
    """How many credentials each batch asked for."""
    posted = [json.loads(one.post_data or "{}") for one in asked if one.url.endswith("/auth/batch")]
    return [body["count"] if body["version"] == "v1" else len(body["uploads"]) for body in posted]


@VERSIONS
@pytest.mark.parametrize(("place", "refusals"), [(0, ["credential.expired"]), (2, [])], ids=["in use", "waiting"])
def test_an_expired_credential_is_replaced_by_a_new_one(
    page: Page, service: Service, version: str, place: int, refusals: list[str]
) -> None:
    """One of a batch is old. The page drops it if it waited, or hears so from the server; each file is stored once."""
    before = service.stored_objects()
    pictures = PICTURES[:24]
    expired: list[str] = []
    refused: list[str] = []

    def let_one_expire(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        if not expired:
            body["credentials"][place] = expire(service, body["credentials"][place])
            expired.append(body["credentials"][place]["token"])
        route.fulfill(response=answer, json=body)

    page.route("**/auth/batch", let_one_expire)
    page.on("response", lambda one: refused.append(one.headers["x-tokensvc-code"]) if one.status == 400 else None)

    choose(page, version, pictures)
    await_rows(page, "done", len(pictures))

    assert len(expired) == 1
    assert refused == refusals
    assert contents(service.stored_objects() - before) == each_once(pictures)


@VERSIONS
def test_what_an_outage_left_over_is_stored_by_retrying(page: Page, service: Service, version: str) -> None:
    """One batch is answered with 503. Its files fail in words, are found in the list, and are stored at a click."""
    before = service.stored_objects()
    pictures = PICTURES[:40]
    outages: list[str] = []

    def fail_once(route: Route) -> None:
        if outages:
            route.continue_()
            return
        outages.append(route.request.url)
        route.fulfill(status=503, json={"detail": "The nonce store does not answer.", "code": "store.unavailable"})

    page.route("**/auth/batch", fail_once)

    choose(page, version, pictures)
    await_rows(page, "failed", MOST_IN_A_BATCH)
    await_rows(page, "done", len(pictures) - MOST_IN_A_BATCH)
    rows = page.get_by_test_id("file-row")
    page.get_by_test_id("only-unstored").click()
    expect(rows.filter(visible=True)).to_have_count(MOST_IN_A_BATCH)
    expect(rows.filter(visible=True).first).to_contain_text("The nonce store does not answer.")
    page.get_by_test_id("retry-all").click()
    await_rows(page, "done", len(pictures))

    expect(rows.filter(visible=True)).to_have_count(len(pictures))
    assert contents(service.stored_objects() - before) == each_once(pictures)


def expire(service: Service, credential: dict[str, Any]) -> dict[str, Any]:
    """The same credential as it would have been issued two hours ago, signed with the key of the service."""
    private_key = (service.data_dir / "dev/private-key").read_text().strip()
    ago = int(time.time()) - 7200
    if "signature" in credential:
        signature = hmac.new(private_key.encode(), f"{credential['token']}{ago}".encode(), hashlib.sha1).hexdigest()
        return credential | {"expire": ago, "signature": signature}
    head = jwt.get_unverified_header(credential["token"])
    claims = jwt.decode(credential["token"], options={"verify_signature": False})
    claims |= {"iat": ago - 600, "exp": ago}
    return {"token": jwt.encode(claims, private_key, "HS256", headers=head)}
