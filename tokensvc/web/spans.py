"""A span around each request that issues, redeems or uploads. Installed only if somebody wants spans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flask import Flask, Response, g, request

from tokensvc.core.trail import Trail

from .problems import trail_in

Begin = Callable[[str, Trail], Callable[[int], None]]
"""Begins a span of that name in that trace; what it returns ends it, with the status of the answer."""

NAMES: Final = {
    "credentials": "issue",
    "batch": "issue batch",
    "redeem": "redeem",
    "forward_auth": "redeem",
    "uploads": "upload",
}
"""What the requests to each blueprint are called."""


def install_spans(app: Flask, begin: Begin) -> None:
    """Begin a span when such a request is there and has its name, and end it when its answer is made."""

    @app.before_request
    def begin_span() -> None:
        name = NAMES.get(request.blueprint or "")
        if name is not None:
            g.end_span, g.status = begin(name, trail_in(request.environ)), 500

    @app.after_request
    def note_status(answer: Response) -> Response:
        g.status = answer.status_code
        return answer

    @app.teardown_request
    def end_span(_exc: BaseException | None) -> None:
        if "end_span" in g:
            g.pop("end_span")(g.status)
