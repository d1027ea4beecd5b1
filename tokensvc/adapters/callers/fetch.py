"""One GET with one deadline for all of it: the name's look-up, the handshake, and every byte.

A socket's time-out is for one read at a time, so a server that sends a byte a second would hold a request for hours;
and a look-up has none. So the GET runs in a thread of its own, whose connection is cut when the time is over. It
follows no redirect and uses no proxy: what is fetched is believed because of where it comes from.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import threading
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

MAX_BYTES: Final = 256 * 1024
"""The longest body that is read."""

_HEADERS: Final = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
_TOO_LATE: Final = "no whole answer in time"


class NotFetched(Exception):  # noqa: N818 - an answer to be acted on
    """There is no answer of the kind that was asked for; the text says why."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A body of at most `MAX_BYTES`, and the `Cache-Control` it came with."""

    body: bytes
    cache_control: str


def check_url(url: str) -> None:
    """Raise ValueError unless this is a URL to fetch keys from: https, or http on this machine."""
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None or parts.fragment or not re.fullmatch(r"[!-~]+", url):
        raise ValueError("must be a URL with a host, without user, blank or fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_this_machine(parts.hostname)):
        raise ValueError("must start with https:// (http:// only for this machine): keys must come unchanged")
    _ = parts.port  # raises, if it is none


def fetch(url: str, *, seconds: float, tls: ssl.SSLContext | None = None) -> Fetched:
    """Return the answer to a GET if it is a 200 and here within so many seconds; otherwise raise NotFetched."""
    get = _Get(urlsplit(url), seconds, tls)
    get.start()
    get.join(seconds)
    if get.is_alive():
        get.give_up()
        raise NotFetched(_TOO_LATE)
    if get.fetched is None:
        raise NotFetched(get.fault)
    return get.fetched


class _Get(threading.Thread):
    def __init__(self, url: SplitResult, seconds: float, tls: ssl.SSLContext | None) -> None:
        super().__init__(name="fetch keys", daemon=True)
        host, self._path = url.hostname or "", f"{url.path or '/'}{'?' if url.query else ''}{url.query}"
        self._connection = (
            http.client.HTTPConnection(host, url.port, timeout=seconds)
            if url.scheme == "http"
            else http.client.HTTPSConnection(
                host, url.port, timeout=seconds, context=tls or ssl.create_default_context()
            )
        )
        self._socket: socket.socket | None = None
        self._is_given_up = False
        self.fetched: Fetched | None = None
        self.fault = ""

    def run(self) -> None:
        try:
            self.fetched = self._get()
        except NotFetched as exc:
            self.fault = str(exc)
        except TimeoutError:
            self.fault = _TOO_LATE
        except (OSError, ValueError, http.client.HTTPException) as exc:  # ValueError: a host that is no name
            self.fault = f"{type(exc).__name__} instead of an answer"
        finally:
            self._connection.close()

    def give_up(self) -> None:
        """Cut the connection, so that the thread ends."""
        self._is_given_up = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _get(self) -> Fetched:
        self._connection.connect()
        self._socket = self._connection.sock
        if self._is_given_up:
            raise NotFetched(_TOO_LATE)
        self._connection.request("GET", self._path, headers=_HEADERS)
        response = self._connection.getresponse()
        if response.status != http.client.OK:
            raise NotFetched(f"status {response.status}")
        body = response.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise NotFetched(f"more than {MAX_BYTES} bytes")
        return Fetched(body, response.headers.get("Cache-Control", ""))


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
