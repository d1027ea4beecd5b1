"""CORS: the pages of exactly these origins may ask, and read what is answered.

A request that a browser sends for another site's page is refused before anything is issued: it would be of no use to
that page, but it would use up what the caller may have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from wsgiref.types import WSGIEnvironment

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import MethodNotAllowed, NotFound

from tokensvc.core.errors import Code, Refusal

from .identity import own_origin
from .rate_headers import Header

_EXPOSED: Final = (
    "x-request-id, x-ik-requestid, X-Tokensvc-Code, X-Tokensvc-Untracked, Retry-After, RateLimit, RateLimit-Policy"
)
_HEADER_LIST: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{0,1024}", re.ASCII)


class Origins:
    """The origins whose pages may ask. `cookies` says that they may with the cookies that the browser has for us.

    ValueError for the wildcard, which is no origin.
    """

    def __init__(self, origins: Iterable[str], *, cookies: bool) -> None:
        allowed = frozenset(origins)
        if "*" in allowed:
            raise ValueError("origins are exact: * would let every page ask")
        credentials = (("Access-Control-Allow-Credentials", "true"),) if cookies else ()
        self._leave: dict[str, tuple[Header, ...]] = {
            origin: (
                ("Access-Control-Allow-Origin", origin),
                ("Access-Control-Expose-Headers", _EXPOSED),
                *credentials,
            )
            for origin in allowed
        }

    def check(self, environ: WSGIEnvironment) -> None:
        """Refuse a request of a page that is neither of one of these nor of the service itself."""
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and origin not in self._leave and origin != own_origin(environ):
            raise _unlisted()

    def require(self, origin: str) -> None:
        """Refuse any but these."""
        if origin not in self._leave:
            raise _unlisted()

    def leave(self, environ: WSGIEnvironment) -> tuple[Header, ...]:
        """The headers by which the page that asked may read the answer."""
        return self._leave.get(environ.get("HTTP_ORIGIN", ""), ())


def _unlisted() -> Refusal:
    return Refusal(
        Code.ORIGIN_FORBIDDEN,
        "Pages of this origin may not use the service.",
        "Add the exact origin (scheme, host, port) to [cors] origins.",
    )


def install_cors(app: Flask, origins: Origins, max_age: int) -> None:
    """Answer preflights, which are good for `max_age` seconds, and hold all requests and answers to `origins`."""

    @app.before_request
    def check_origin() -> Response | None:
        if request.method == "OPTIONS":
            return _preflight(request.headers.get("Origin"), origins, max_age)
        origins.check(request.environ)
        return None

    @app.after_request
    def show_to_origin(answer: Response) -> Response:
        if answer.headers.get("Vary") is None:
            answer.headers["Vary"] = "Origin"
        elif not answer.headers["Vary"].startswith("Origin,"):  # of most answers it does, and to read it takes longer
            answer.vary.add("Origin")
        for name, text in origins.leave(request.environ):
            answer.headers[name] = text
        return answer


def _preflight(origin: str | None, origins: Origins, max_age: int) -> Response:
    """Answer OPTIONS. It issues nothing, whatever it asks for."""
    adapter = current_app.create_url_adapter(request)
    methods = [] if adapter is None else sorted(set(adapter.allowed_methods()) - {"OPTIONS", "HEAD"})
    if not methods:
        raise NotFound
    if origin is None or "Access-Control-Request-Method" not in request.headers:
        raise MethodNotAllowed(valid_methods=methods)
    origins.require(origin)
    answer = Response(status=204)
    answer.headers["Access-Control-Allow-Methods"] = ", ".join(methods)
    asked = request.headers.get("Access-Control-Request-Headers", "")
    if asked and _HEADER_LIST.fullmatch(asked):  # any header may be sent; it is the origin that decides
        answer.headers["Access-Control-Allow-Headers"] = asked
    answer.headers["Access-Control-Max-Age"] = str(max_age)
    answer.vary.add("Access-Control-Request-Headers")
    return answer
