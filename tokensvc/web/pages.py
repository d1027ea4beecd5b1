"""Pages to read, at `/docs` and below it.

Each is one answer: it has no script, and its style is in it, allowed by its hash. So it needs no other host, and
nothing on it can be made to ask one.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from pathlib import Path
from typing import Final

from flask import Response, render_template
from markupsafe import Markup, escape

from .problems import STATUS

_STATIC: Final = Path(__file__).with_name("static")
_NO_MORE: Final = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_CODE: Final = re.compile(r"`([^`]+)`")


def page(template: str, **told: object) -> Response:
    """The answer that shows what is `told` by that template, which extends `page.html`."""
    style = _style()
    answer = Response(render_template(template, style=Markup(style), **told), mimetype="text/html")  # noqa: S704 - our own file
    guard(answer)
    return answer


def guard(answer: Response) -> None:
    """A cache asks before it shows it; the page does nothing but look as it does."""
    answer.headers["Cache-Control"] = "no-cache"
    answer.headers["Content-Security-Policy"] = f"default-src 'none'; style-src '{_hash(_style())}'; {_NO_MORE}"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Referrer-Policy"] = "no-referrer"


def prose(text: str) -> Markup:
    """A sentence, with what is between backticks as code; an error's code leads to its page."""
    return Markup(_CODE.sub(_code, str(escape(text))))  # noqa: S704 - escaped


def _code(match: re.Match[str]) -> str:
    if match[1] not in STATUS:
        return f"<code>{match[1]}</code>"
    return f'<a href="/docs/errors/{match[1]}"><code>{match[1]}</code></a>'


@functools.cache
def _style() -> str:
    return "".join((_STATIC / name).read_text() for name in ("palette.css", "page.css"))


def _hash(style: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}"
