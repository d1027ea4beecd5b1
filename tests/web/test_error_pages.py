from __future__ import annotations

from pathlib import Path

from tokensvc.core.errors import Code
from tokensvc.web.error_pages import PAGES, whole_page
from tokensvc.web.problems import STATUS


def test_every_code_has_a_status_and_a_page() -> None:
    assert set(Code) <= STATUS.keys()
    assert STATUS.keys() == PAGES.keys()


def test_the_documentation_holds_the_very_pages() -> None:
    """`make docs` writes it."""
    assert Path(__file__).parents[2].joinpath("docs/errors.md").read_text() == whole_page()
