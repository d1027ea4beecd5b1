"""The site is built as `make site` does; every link in it leads somewhere, and reading it asks no other host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urldefrag

import pytest

from tests.support.pages import PAGES
from tests.support.processes import PATIENCE_SECONDS
from tests.support.service import ROOT, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

LOADING: Final = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "use": "href"}


class Page(HTMLParser):
    """What a built page links to, what a browser fetches for it, and which places it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.places |= {value for name in ("id", "name") if (value := given.get(name))}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        elif LOADING.get(tag) in given:
            self.fetched.append(given[LOADING[tag]] or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    """Each page of the site, by its path. With --quiet MkDocs would not count the warnings that --strict stops at."""
    folder = tmp_path_factory.mktemp("site")
    told = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=clean_environment({"NO_MKDOCS_2_WARNING": "1"}),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return {str(path.relative_to(folder)): Page(path) for path in folder.rglob("*.html")}


def test_every_page_of_the_tree_is_a_page_of_the_site(site: dict[str, Page]) -> None:
    for page in PAGES:
        if page.startswith("docs/"):
            name = page.removeprefix("docs/").removesuffix(".md")
            assert ("index.html" if name == "index" else f"{name}/index.html") in site
    assert {f"{name}/index.html" for name in ("changelog", "contributing", "reporting")} <= site.keys()


def test_every_link_leads_to_a_page_and_to_a_place_on_it(site: dict[str, Page]) -> None:
    pages = {str(page.path): page for page in site.values()}
    for name, page in site.items():
        if name == "404.html":
            continue
        for link in page.links:
            if re.match(r"https?:|mailto:", link):
                continue
            path, place = urldefrag(unquote(link))
            target = os.path.normpath(page.path.parent / path) if path else str(page.path)
            found = pages.get(target) or pages.get(f"{target}/index.html")
            assert found, f"{name}: {link}"
            assert not place or place in found.places or place == "__skip", f"{name}: {link}"


def test_reading_it_asks_no_other_host(site: dict[str, Page]) -> None:
    for name, page in site.items():
        assert [url for url in page.fetched if re.match(r"(https?:)?//", url)] == [], name
    folder = site["index.html"].path.parent
    for style in folder.rglob("*.css"):
        assert not re.search(r"(@import|url\()[\s\"']*(https?:)?//", style.read_text()), style


def test_links_of_the_plain_files_lead_to_files_too() -> None:
    """They are read in the tree as well, and there the hook of the site does not help."""
    for page, text in PAGES.items():
        without_code = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", without_code):
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"
