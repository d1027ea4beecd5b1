"""What a request shows of its caller, for the caller sources; and whether it is for this host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit
from wsgiref.types import WSGIEnvironment

from flask import current_app, request
from werkzeug.exceptions import SecurityError
from werkzeug.sansio.utils import get_current_url
from werkzeug.wrappers import Request
from werkzeug.wsgi import get_host

from tokensvc.core.addresses import NOBODY, Peers, address_to_slow_down
from tokensvc.core.callers import Presented
from tokensvc.core.hosts import HostNames

_NO_COOKIES: Final[Mapping[str, str]] = MappingProxyType({})


def presented() -> Presented:
    """Flask's current request as caller sources see it."""
    return presented_by(request.environ, _proxies())


def _proxies() -> Peers:
    proxies: Peers = current_app.config.get("PROXIES", NOBODY)
    return proxies


def presented_by(environ: WSGIEnvironment, proxies: Peers) -> Presented:
    """A request as caller sources see it. `proxies` are those that may say whom they ask for."""
    cookies = Request(environ, populate_request=False).cookies if "HTTP_COOKIE" in environ else _NO_COOKIES
    own = own_origin(environ) if "HTTP_ORIGIN" in environ else None
    return Presented(_Headers(environ), cookies, _peer(environ), client_address(environ, proxies), own)


class _Headers(Mapping[str, str]):
    """The headers of a request by their lower-case names. Few of them are ever asked for, so each is looked up then."""

    __slots__ = ("_environ",)

    def __init__(self, environ: WSGIEnvironment) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        text: str = self._environ[_key(name)]
        return text

    def __iter__(self) -> Iterator[str]:
        return (_name(key) for key in self._environ if key.startswith("HTTP_"))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@lru_cache(maxsize=256)
def _key(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_")


def _name(key: str) -> str:
    return key.removeprefix("HTTP_").replace("_", "-").lower()


def _peer(environ: WSGIEnvironment) -> str:
    return environ.get("REMOTE_ADDR") or "unix"


def client_address(environ: WSGIEnvironment, proxies: Peers) -> str:
    """Whom a request comes from, for slowing down."""
    return address_to_slow_down(_peer(environ), environ.get("HTTP_X_FORWARDED_FOR", ""), proxies)


def host_check(hosts: Iterable[str]) -> Callable[[WSGIEnvironment], None]:
    """Refuses requests to other hosts than these, on any port; without any, none.

    DNS rebinding is what this is against. Flask's TRUSTED_HOSTS would cut a listed `[::1]` at its first colon.
    """
    known = HostNames.of(hosts)

    def check_host(environ: WSGIEnvironment) -> None:
        if known and _host_name(get_host(environ)) not in known:
            raise SecurityError

    return check_host


def _host_name(host: str) -> str | None:
    """The name without port and brackets; None for no host, which `get_host` answers too if it is not well-formed."""
    return urlsplit(f"//{host}").hostname


def own_url(environ: WSGIEnvironment) -> str:
    """This service's own address, as the request has it and Flask spells it, without a slash at its end."""
    return _own_url(environ["wsgi.url_scheme"], get_host(environ))


@lru_cache(maxsize=256)
def _own_url(scheme: str, host: str) -> str:
    return get_current_url(scheme, host).rstrip("/")


def own_origin(environ: WSGIEnvironment) -> str:
    """This service's own origin, as the request has it and a browser writes it.

    Flask's `host_url` would spell an international name in its own script.
    """
    return f"{environ['wsgi.url_scheme']}://{get_host(environ)}"
