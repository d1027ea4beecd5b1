from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Final

import pytest
from werkzeug.test import TestResponse

from tests.support.app import Service
from tokensvc.core.errors import Code
from tokensvc.web.error_pages import PAGES, page_of, whole_page
from tokensvc.web.problems import STATUS

BROWSER: Final = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def test_every_code_has_a_status_and_a_page() -> None:
    assert set(Code) <= STATUS.keys()
    assert STATUS.keys() == PAGES.keys()


def test_the_documentation_holds_the_very_pages() -> None:
    """`make docs` writes it."""
    docs = Path(__file__).parents[2] / "docs"
    assert (docs / "errors.md").read_text() == whole_page()
    assert {path.stem: path.read_text() for path in (docs / "errors").glob("*.md")} == {
        code: page_of(code) for code in PAGES
    }


def test_the_example_of_the_page_is_an_answer(service: Service) -> None:
    shown = json.loads(whole_page().partition("```json\n")[2].partition("```")[0])
    answer = service.send("GET", "/auth", {})
    assert answer.get_json() == {**shown, "request_id": answer.headers["X-Request-Id"]}
    assert len(shown["request_id"]) == len(answer.headers["X-Request-Id"])


def words(answer: TestResponse) -> str:
    """What a reader sees of a page."""
    text = answer.get_data(as_text=True).partition("<main>")[2]
    return " ".join(unescape(re.sub("<[^>]+>", "", text)).split())


@pytest.mark.parametrize("code", STATUS)
def test_a_browser_is_shown_a_page_with_cause_and_remedy(service: Service, code: str) -> None:
    answer = service.send("GET", f"/docs/errors/{code}", {"Accept": BROWSER})
    assert answer.content_type == "text/html; charset=utf-8"
    for sentence in PAGES[code]:
        assert sentence.replace("`", "") in words(answer)
    docs = service.send("GET", "/docs")
    for name in ("Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cache-Control"):
        assert answer.headers[name] == docs.headers[name]
    assert not re.search("<(script|link|img|iframe)|//", answer.get_data(as_text=True).partition("</style>")[2])


def test_every_link_of_every_page_leads_somewhere_here(service: Service) -> None:
    def opened(path: str) -> str:
        answer = service.send("GET", path, {"Accept": BROWSER})
        assert answer.status_code == 200, path
        return answer.get_data(as_text=True)

    pages = {path: opened(path) for path in ("/docs", *(f"/docs/errors/{code}" for code in STATUS))}
    links = {link for path in pages if path != "/docs" for link in re.findall(r'href="([^"]+)"', pages[path])}
    for link in links:
        path, _, place = link.partition("#")
        assert not place or f'id="{place}"' in pages[path], link
    assert {link.partition("#")[0] for link in links} == pages.keys()


@pytest.mark.parametrize("accept", ["*/*", "text/plain", "application/json", "text/html;q=0.5, text/plain", None])
def test_who_does_not_ask_for_html_gets_text(service: Service, accept: str | None) -> None:
    answer = service.send("GET", "/docs/errors/caller.missing", {} if accept is None else {"Accept": accept})
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.get_data(as_text=True).startswith("## caller.missing\n\n401: ")
    assert "Accept" in answer.vary


def test_a_page_says_which_paths_answer_so_and_with_which_status(service: Service) -> None:
    held = words(service.send("GET", "/docs/errors/credential.replayed", {"Accept": BROWSER}))
    assert "POST /api/v1/files/upload 400" in held
    assert "POST /redeem 409" in held
    assert "GET /auth" not in held
    assert "Any path." in words(service.send("GET", "/docs/errors/internal", {"Accept": BROWSER}))


def test_the_type_of_a_problem_is_the_address_of_its_page(service: Service) -> None:
    for path, method in (("/auth", "GET"), ("/auth", "PUT"), ("/nowhere", "GET"), ("/redeem", "POST")):
        problem = service.send(method, path).get_json()
        page = service.send("GET", problem["type"], {"Accept": BROWSER})
        assert page.content_type.startswith("text/html")
        assert f"<title>{problem['code']}: tokensvc</title>" in page.get_data(as_text=True)


def test_a_code_that_does_not_exist_has_no_page(service: Service) -> None:
    assert service.send("GET", "/docs/errors/caller.unknown", {"Accept": BROWSER}).status_code == 404
