"""What a request shows of its caller, for the caller sources; and the origins whose pages may ask."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import MethodNotAllowed, NotFound, SecurityError
from werkzeug.wrappers import Request

from tokensvc.core.addresses import NOBODY, Peers, address_to_slow_down
from tokensvc.core.callers import Presented
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.hosts import HostNames

_EXPOSED: Final = (
    "x-request-id, x-ik-requestid, X-Tokensvc-Code, X-Tokensvc-Untracked, Retry-After, RateLimit, RateLimit-Policy"
)
_HEADER_LIST: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{0,1024}", re.ASCII)


_NO_COOKIES: Final[Mapping[str, str]] = MappingProxyType({})


def presented() -> Presented:
    """Flask's current request as caller sources see it."""
    return presented_by(request, _proxies())


def client_address() -> str:
    """Whom Flask's current request comes from, for slowing down."""
    return _client_address(request, _proxies())


def _proxies() -> Peers:
    proxies: Peers = current_app.config.get("PROXIES", NOBODY)
    return proxies


def presented_by(request: Request, proxies: Peers) -> Presented:
    """A request as caller sources see it. `proxies` are those that may say whom they ask for."""
    headers = {_header_name(key): text for key, text in request.environ.items() if key.startswith("HTTP_")}
    cookies = request.cookies if "cookie" in headers else _NO_COOKIES
    return Presented(headers, cookies, request.remote_addr or "unix", _client_address(request, proxies))


@lru_cache(maxsize=256)
def _header_name(key: str) -> str:
    return key.removeprefix("HTTP_").replace("_", "-").lower()


def _client_address(request: Request, proxies: Peers) -> str:
    forwarded_for = request.environ.get("HTTP_X_FORWARDED_FOR", "")
    return address_to_slow_down(request.remote_addr or "unix", forwarded_for, proxies)


def host_check(hosts: Iterable[str]) -> Callable[[Request], None]:
    """Refuses requests to other hosts than these, on any port; without any, none.

    DNS rebinding is what this is against. Flask's TRUSTED_HOSTS would cut a listed `[::1]` at its first colon.
    """
    known = HostNames.of(hosts)

    def check_host(request: Request) -> None:
        if known and _host_name(request.host) not in known:
            raise SecurityError

    return check_host


def _host_name(host: str) -> str | None:
    """The name without port and brackets; None for no host, which `request.host` is too if it is not well-formed."""
    return urlsplit(f"//{host}").hostname


def install_cors(app: Flask, origins: Iterable[str], max_age: int, *, cookies: bool) -> None:
    """Answer preflights, and let pages of exactly these origins read what is answered.

    A request that a browser sends for another site's page is refused before anything is issued: it would be of no use
    to that page, but it would use up what the caller may have. `cookies` says that these pages may ask with the cookies
    that the browser has for us. ValueError for the wildcard, which is no origin.
    """
    allowed = frozenset(origins)
    if "*" in allowed:
        raise ValueError("origins are exact: * would let every page ask")

    @app.before_request
    def check_origin() -> Response | None:
        origin = request.headers.get("Origin")
        if request.method == "OPTIONS":
            return _preflight(origin, allowed, max_age)
        if origin is not None and origin not in allowed and origin != own_origin():
            raise Refusal(
                Code.ORIGIN_FORBIDDEN,
                "Pages of this origin may not use the service.",
                "Add the exact origin (scheme, host, port) to [cors] origins.",
            )
        return None

    @app.after_request
    def show_to_origin(answer: Response) -> Response:
        if answer.headers.get("Vary") is None:
            answer.headers["Vary"] = "Origin"
        elif not answer.headers["Vary"].startswith("Origin,"):  # of most answers it does, and to read it takes longer
            answer.vary.add("Origin")
        origin = request.headers.get("Origin") if allowed else None
        if origin in allowed:
            answer.headers["Access-Control-Allow-Origin"] = origin
            answer.headers["Access-Control-Expose-Headers"] = _EXPOSED
            if cookies:
                answer.headers["Access-Control-Allow-Credentials"] = "true"
        return answer


def own_origin() -> str:
    """This service's own origin, as the current request has it and a browser writes it.

    `request.host_url` would spell an international name in its own script.
    """
    return f"{request.scheme}://{request.host}"


def _preflight(origin: str | None, allowed: frozenset[str], max_age: int) -> Response:
    """Answer OPTIONS. It issues nothing, whatever it asks for."""
    adapter = current_app.create_url_adapter(request)
    methods = [] if adapter is None else sorted(set(adapter.allowed_methods()) - {"OPTIONS", "HEAD"})
    if not methods:
        raise NotFound
    if origin is None or "Access-Control-Request-Method" not in request.headers:
        raise MethodNotAllowed(valid_methods=methods)
    if origin not in allowed:
        raise Refusal(
            Code.ORIGIN_FORBIDDEN,
            "Pages of this origin may not use the service.",
            "Add the exact origin (scheme, host, port) to [cors] origins.",
        )
    answer = Response(status=204)
    answer.headers["Access-Control-Allow-Methods"] = ", ".join(methods)
    asked = request.headers.get("Access-Control-Request-Headers", "")
    if asked and _HEADER_LIST.fullmatch(asked):  # any header may be sent; it is the origin that decides
        answer.headers["Access-Control-Allow-Headers"] = asked
    answer.headers["Access-Control-Max-Age"] = str(max_age)
    answer.vary.add("Access-Control-Request-Headers")
    return answer
