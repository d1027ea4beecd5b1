"""What MkDocs is told to do besides: it takes into the site what lives outside of docs/.

Links are written as they work in the plain files (`../CHANGELOG.md`); only the site has them changed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parents[2]
ELSEWHERE: Final = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "benchmarks/results/latest.md": "benchmarks.md",
    "tokensvc/web/static/demo-mark.svg": "assets/mark.svg",
}
"""Path in the tree to the name in the site."""

_LINK: Final = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take in what there is."""
    for path, name in ELSEWHERE.items():
        if (ROOT / path).is_file():
            files.append(File.generated(config, name, content=(ROOT / path).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Lead links to where the page is in the site; what is not in it becomes plain text."""
    origin = {name: path for path, name in ELSEWHERE.items()}
    place = ROOT / origin.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    up = "../" * page.file.src_uri.count("/")

    def lead(match: re.Match[str]) -> str:
        target, part = (place.parent / match[1]).resolve(), match[2] or ""
        if not target.exists():
            return match[0]  # MkDocs says so, and stops
        path = target.relative_to(ROOT).as_posix()
        if path in ELSEWHERE:
            return f"]({up}{ELSEWHERE[path]}{part})"
        if path == "README.md":
            return f"]({up}index.md{part})"
        if path.startswith("docs/"):
            return f"]({up}{path.removeprefix('docs/')}{part})"
        return "](#)"

    return _LINK.sub(lead, markdown)
