"""The documentation as files: README, docs/ and what else there is to read, and the blocks of code in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tests.support.service import ROOT

PAGES: Final = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")]
}


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: str
    language: str
    text: str

    @property
    def first(self) -> str:
        """Its first line, by which it is called."""
        return self.text.partition("\n")[0]


def blocks(*languages: str) -> list[Block]:
    """All blocks of all pages, or those in these languages."""
    found = [
        Block(page, language, text)
        for page, content in sorted(PAGES.items())
        for language, text in re.findall(r"^```(\S*)\n(.*?)^```$", content, re.MULTILINE | re.DOTALL)
    ]
    return [block for block in found if not languages or block.language in languages]


def block(page: str, language: str, begins: str = "") -> Block:
    """The one block of a page that begins so."""
    (found,) = [each for each in blocks(language) if each.page == page and each.text.startswith(begins)]
    return found
