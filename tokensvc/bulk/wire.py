"""HTTP as far as uploads need it: one connection a thread, a form out, an answer back.

A server may answer before it has read all, and close: then sending fails, and the answer is there all the same.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from .addresses import Address, is_this_machine
from .form import Form

_MOST_ANSWER_BYTES: Final = 8 * 1024 * 1024
_PATIENCE_SECONDS: Final = 60.0
_REUSED_WITHIN_SECONDS: Final = 1.5
"""Servers close a connection that nobody uses; ours after five seconds."""


class Unanswered(Exception):  # noqa: N818 - an outage, not a mistake of ours
    """No answer came, so nothing is known. `begun` is whether anything was sent."""

    def __init__(self, why: str, *, begun: bool) -> None:
        super().__init__(why)
        self.begun = begun


@dataclass(frozen=True, slots=True)
class Answer:
    """Header names are in lower case; `body` is empty if it is no JSON object."""

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def retry_after(self) -> float:
        """Seconds, if the answer says so in seconds."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isascii() and text.isdigit() else 0.0


class Wire:
    """Connections to one server, one a thread. `abort` ends all that is under way, for good."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._own = threading.local()
        self._open: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()
        self._aborted = False

    def upload(self, form: Form, on_bytes: Callable[[int], None]) -> Answer:
        """POST the form; Unanswered if no answer comes, ChangedError if the file is not as long as it was."""
        headers = {"Content-Type": form.content_type, "Content-Length": str(form.length)}
        return self._post(self._address.path, headers, form.chunks(on_bytes))

    def ask(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        """POST an object as JSON; Unanswered if no answer comes."""
        text = json.dumps(body).encode()
        kind = {"Content-Type": "application/json", "Content-Length": str(len(text))}
        return self._post(path, {**kind, **headers}, iter([text]))

    def abort(self) -> None:
        """Cut every connection."""
        with self._lock:
            self._aborted = True
            connections = list(self._open)
        for connection in connections:
            sock = connection.sock
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(2)

    def close(self) -> None:
        """Close what is open. For when no thread uses it any more."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()

    def _post(self, path: str, headers: Mapping[str, str], chunks: Iterator[bytes]) -> Answer:
        begun = False
        connection = self._connection()
        try:
            connection.putrequest("POST", path)
            for name, text in headers.items():
                connection.putheader(name, text)
            connection.putheader("Accept", "application/json")
            connection.endheaders()
            begun = True
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for chunk in chunks:
                    connection.send(chunk)
            return self._read(connection)
        except (OSError, http.client.HTTPException) as exc:
            self._close(connection)
            raise Unanswered(_in_words(exc), begun=begun) from None
        except BaseException:
            self._close(connection)
            raise

    def _read(self, connection: http.client.HTTPConnection) -> Answer:
        answer = connection.getresponse()
        text = answer.read(_MOST_ANSWER_BYTES)
        headers = {name.lower(): value for name, value in answer.getheaders()}
        if answer.will_close or not answer.isclosed():
            self._close(connection)
        else:
            self._own.used_at = time.monotonic()
        try:
            body = json.loads(text)
        except ValueError:
            body = {}
        return Answer(answer.status, headers, body if isinstance(body, dict) else {})

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if connection is not None and time.monotonic() - self._own.used_at > _REUSED_WITHIN_SECONDS:
            self._close(connection)
            connection = None
        if connection is None or connection.sock is None:
            connection = self._connect()
        return connection

    def _connect(self) -> http.client.HTTPConnection:
        connection = _connection_to(self._address)
        with self._lock:
            if self._aborted:
                raise Unanswered("it was ended", begun=False)
            self._open.add(connection)
        self._own.connection, self._own.used_at = connection, time.monotonic()
        return connection

    def _close(self, connection: http.client.HTTPConnection) -> None:
        connection.close()
        self._own.connection = None
        with self._lock:
            self._open.discard(connection)


def _connection_to(address: Address) -> http.client.HTTPConnection:
    """To the server, or to the proxy that the environment names for it, which gets to see nothing of an https one."""
    proxy = urllib.request.getproxies().get(address.scheme)
    if proxy and not is_this_machine(address.host) and not urllib.request.proxy_bypass(address.host):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        if address.scheme == "https" and parts.hostname:
            through = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=_PATIENCE_SECONDS, context=ssl.create_default_context()
            )
            through.set_tunnel(address.host, address.port)
            return through
    if address.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(address.host, address.port, timeout=_PATIENCE_SECONDS, context=context)
    return http.client.HTTPConnection(address.host, address.port, timeout=_PATIENCE_SECONDS)


def _in_words(exc: Exception) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, ssl.SSLError):
        return f"TLS failed: {exc.reason}"
    return getattr(exc, "strerror", None) or "the connection was closed"
