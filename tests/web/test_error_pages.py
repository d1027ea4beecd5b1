from __future__ import annotations

import json
from pathlib import Path

from tests.support.app import Service
from tokensvc.core.errors import Code
from tokensvc.web.error_pages import PAGES, page_of, whole_page
from tokensvc.web.problems import STATUS


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
