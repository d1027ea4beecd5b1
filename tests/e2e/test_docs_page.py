"""`/docs` and the pages of the errors in a real browser: nothing is asked of another host, and they fit a phone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.browsing import chromium
from tests.support.server import Service
from tokensvc.web.openapi import document
from tokensvc.web.openapi.page import operations

SIZES: Final = {"phone": (360, 740), "desk": (1280, 900)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    """As the reader has set the system."""
    return str(request.param)


@pytest.fixture(params=SIZES)
def page(
    request: pytest.FixtureRequest, plain_service: Service, browser: Browser, scheme: Literal["light", "dark"]
) -> Iterator[Page]:
    """A browser's page, which may ask only the service; it must look as it should."""
    width, height = SIZES[request.param]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    asked, complaints = [], []
    try:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda said: complaints.append(said.text))
        yield page
        assert not [url for url in asked if not url.startswith(f"{plain_service.url}/")]
        assert not [said for said in complaints if "favicon" not in said and "404" not in said]
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0, "it has to be scrolled sideways"
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert colour == {"light": "rgb(245, 246, 248)", "dark": "rgb(15, 19, 25)"}[scheme], "the style is not allowed"
    finally:
        context.close()


def test_it_shows_every_operation(plain_service: Service, page: Page) -> None:
    page.goto(f"{plain_service.url}/docs", wait_until="networkidle")
    for path, method, operation in operations(document()):
        heading = page.locator(f"#{operation['operationId']} h3")
        assert heading.inner_text().split() == [method.upper(), path]


def test_an_error_code_leads_to_its_page_and_that_to_the_operations_that_answer_so(
    plain_service: Service, page: Page
) -> None:
    page.goto(f"{plain_service.url}/docs", wait_until="networkidle")
    page.locator("#redeem a", has_text="credential.replayed").click()
    page.wait_for_url(f"{plain_service.url}/docs/errors/credential.replayed")
    assert page.locator("h1").inner_text() == "credential.replayed"
    page.locator("main a", has_text="/redeem").click()
    page.wait_for_url(f"{plain_service.url}/docs#redeem")
