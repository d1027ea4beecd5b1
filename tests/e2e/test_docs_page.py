"""`/docs` in a real browser: all of it is there, nothing is asked of another host, and it fits a phone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, ViewportSize

from tests.e2e.browsing import chromium
from tests.support.server import Service
from tokensvc.web.openapi import document
from tokensvc.web.openapi.page import operations

SIZES: Final = {"phone": (360, 740), "desk": (1280, 900)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_shows_every_operation_and_asks_nothing_of_another_host(
    plain_service: Service, browser: Browser, size: str, scheme: str
) -> None:
    width, height = SIZES[size]
    room: ViewportSize = {"width": width, "height": height}
    context = browser.new_context(viewport=room, color_scheme=scheme)  # type: ignore[arg-type] # one of its literals
    try:
        page = context.new_page()
        asked, complaints = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda said: complaints.append(said.text))
        page.goto(f"{plain_service.url}/docs", wait_until="networkidle")
        for path, method, operation in operations(document()):
            heading = page.locator(f"#{operation['operationId']} h3")
            assert heading.inner_text().split() == [method.upper(), path]
        assert not [url for url in asked if not url.startswith(f"{plain_service.url}/")]
        assert not [said for said in complaints if "favicon" not in said and "404" not in said]
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0, "it has to be scrolled sideways"
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert colour == {"light": "rgb(245, 246, 248)", "dark": "rgb(15, 19, 25)"}[scheme], "the style is not allowed"
    finally:
        context.close()
