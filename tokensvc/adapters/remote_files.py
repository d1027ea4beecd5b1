"""Fetches a file from a URL that a stranger chose: resolve, check, pin; over https alone.

The name is looked up once a hop, and the connection goes to an address of that answer: a second look-up could be
answered otherwise (DNS rebinding). A socket's time-out is for one read at a time, so a server could go on for hours
with a byte a second: another thread cuts the connection when the time is over. Under gevent that thread is a greenlet.
"""

from __future__ import annotations

import contextlib
import http.client
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator
from typing import Final

from tokensvc.core.addresses import parse_address
from tokensvc.core.hosts import HostNames
from tokensvc.core.remote import HTTPS_PORT, Permit, RemoteUrl, are_public, not_fetched, require_listed
from tokensvc.ports import Audit

HEADER_SECONDS: Final = 8.0
"""Until the headers of the answer are here, look-ups and redirects included: ImageKit's own time."""

MOST_REDIRECTS: Final = 3
PIECE_BYTES: Final = 64 * 1024

_MOST_ADDRESSES: Final = 4
_CONNECT_SECONDS: Final = 3.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_HEADERS: Final = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "tokensvc",
}
_UNREACHED: Final = "cannot be fetched: its host has no public address, or does not answer"
_SLOW: Final = "cannot be fetched: its host does not answer in time"
_CUT_OFF: Final = "cannot be fetched: it did not come whole"

Resolve = Callable[[str, int], list[str]]
"""The addresses of a host name, as texts; OSError if there are none. May take its time."""

Dial = Callable[[str, int, float], socket.socket]
"""A connection to an address and port within so many seconds; OSError if there is none."""


def look_up(host: str, port: int) -> list[str]:
    """Ask the system's resolver, in its order."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def dial(address: str, port: int, seconds: float) -> socket.socket:
    """Connect to that very address: what is no address is looked up by nobody."""
    return socket.create_connection((str(parse_address(address)), port), timeout=seconds)


class HttpsFiles:
    """`ports.RemoteFiles`. The arguments after `ports` are what a test replaces: nothing else can."""

    def __init__(
        self,
        *,
        hosts: HostNames,
        seconds: float,
        audit: Audit,
        ports: Collection[int] = (HTTPS_PORT,),
        resolve: Resolve = look_up,
        connect: Dial = dial,
        tls: ssl.SSLContext | None = None,
        header_seconds: float = HEADER_SECONDS,
    ) -> None:
        """`seconds` is for all of it. `tls` is for an authority of one's own."""
        self._hosts, self._seconds, self._header_seconds, self._audit = hosts, seconds, header_seconds, audit
        self._ports, self._resolve, self._connect = frozenset(ports), resolve, connect
        self._tls = tls or ssl.create_default_context()

    @contextlib.contextmanager
    def open(self, url: str, *, permit: Permit) -> Iterator[Iterator[bytes]]:
        """The file's bytes in pieces, or a refusal; also while they come. `permit` is asked of each redirect too.

        The pieces are good only if they are read to their end.
        """
        deadline = _Deadline(self._seconds)
        host = ""
        try:
            remote = RemoteUrl.parse(url)
            for _ in range(MOST_REDIRECTS + 1):
                host = remote.host
                self._require(remote, permit)
                with contextlib.closing(_Hop(remote, deadline, self._tls)) as hop:
                    location = self._ask(hop)
                    if location is None:
                        with contextlib.closing(hop.pieces()) as pieces:
                            yield pieces
                        return
                remote = remote.join(location)
            raise not_fetched(f"cannot be fetched: it is redirected more than {MOST_REDIRECTS} times")
        except _Unfetched as fault:
            self._audit.note("unfetched", {"host": host, "reason": fault.reason})
            raise not_fetched(fault.told, "Send the file itself, or another URL.") from None

    def _require(self, remote: RemoteUrl, permit: Permit) -> None:
        permit(str(remote))
        require_listed(remote.host, self._hosts)
        if remote.port not in self._ports:
            raise not_fetched("is a URL with a port from which nothing is fetched", "Leave the port out.")

    def _ask(self, hop: _Hop) -> str | None:
        """Send the request; return where it is redirected to, or None if the file is about to come."""
        addresses = self._addresses(hop)
        with hop.within(self._header_seconds):
            hop.connect(addresses, self._connect)
            return hop.ask()

    def _addresses(self, hop: _Hop) -> list[str]:
        """All of the host's, if all are public."""
        host, port = hop.remote.host, hop.remote.port
        found: list[list[str]] = []

        def ask() -> None:
            with contextlib.suppress(OSError, UnicodeError):
                found.append(self._resolve(host, port))

        asking = threading.Thread(target=ask, name="look up", daemon=True)  # it has no time-out of its own
        asking.start()
        asking.join(hop.deadline.left(self._header_seconds))
        if not found:
            raise _Unfetched(_UNREACHED, "no address in time" if asking.is_alive() else "no address")
        try:
            parsed = [parse_address(text) for text in found[0]]
        except ValueError:
            raise _Unfetched(_UNREACHED, "no address") from None
        if not are_public(parsed):
            raise _Unfetched(_UNREACHED, "an address that is not public")
        return [str(address) for address in parsed[:_MOST_ADDRESSES]]


class _Unfetched(Exception):  # noqa: N818 - an answer to be acted on
    """What is told to the client, and the reason for the log."""

    def __init__(self, told: str, reason: str) -> None:
        super().__init__(reason)
        self.told, self.reason = told, reason


class _Deadline:
    """When all has to be over."""

    def __init__(self, seconds: float) -> None:
        self._started = time.monotonic()
        self._seconds = seconds

    def left(self, at_most: float = math.inf) -> float:
        """Seconds that are left of the first `at_most`, and of all; never quite none, which would mean no limit."""
        return max(0.001, min(at_most, self._seconds) - (time.monotonic() - self._started))


class _Hop:
    """One connection, one request, one answer."""

    def __init__(self, remote: RemoteUrl, deadline: _Deadline, tls: ssl.SSLContext) -> None:
        self.remote, self.deadline, self._tls = remote, deadline, tls
        self._socket: socket.socket | None = None
        self._is_cut = False
        self._connection = http.client.HTTPSConnection(remote.host, remote.port, context=tls)
        self._connection.auto_open = 0  # it would look the name up
        self._answer: http.client.HTTPResponse | None = None

    @contextlib.contextmanager
    def within(self, seconds: float = math.inf) -> Iterator[None]:
        """Cut the connection when so many seconds since the start, or all, are over; then that is the fault."""
        timer = threading.Timer(self.deadline.left(seconds), self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, ValueError, http.client.HTTPException) as exc:
            if self._is_cut:
                raise _Unfetched(_SLOW if self._answer is None else _CUT_OFF, "too slow") from None
            told = _UNREACHED if self._answer is None else _CUT_OFF
            raise _Unfetched(told, type(exc).__name__) from None
        finally:
            timer.cancel()
        if self._is_cut:
            raise _Unfetched(_SLOW if self._answer is None else _CUT_OFF, "too slow")

    def _cut(self) -> None:
        self._is_cut = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not the TLS socket's own, which would go on to read in the clear.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def connect(self, addresses: list[str], dial: Dial) -> None:
        """Connect to the first address that answers, and see that it is who it should be."""
        plain = self._dialled(addresses, dial)
        plain.settimeout(self.deadline.left())
        try:
            self._socket = self._tls.wrap_socket(
                plain, server_hostname=self.remote.host, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
        except BaseException:
            plain.close()
            raise
        if self._is_cut:
            raise TimeoutError
        self._socket.do_handshake()
        self._connection.sock = self._socket

    def _dialled(self, addresses: list[str], dial: Dial) -> socket.socket:
        for number, address in enumerate(addresses, 1):
            try:
                return dial(address, self.remote.port, min(_CONNECT_SECONDS, self.deadline.left()))
            except OSError:
                if number == len(addresses) or self._is_cut:
                    raise
        raise OSError("no address")

    def ask(self) -> str | None:
        """Send the request, and read the answer's headers; see `RemoteFiles._ask`."""
        self._connection.request("GET", self.remote.target, headers=_HEADERS)
        answer = self._answer = self._connection.getresponse()
        headers, status = answer.headers, answer.status
        if status in _REDIRECTS and (location := headers.get("Location")):
            return location
        if status != http.client.OK:
            raise _Unfetched(f"cannot be fetched: its host answers with status {status}", f"status {status}")
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            raise _Unfetched("cannot be fetched: its host sends it compressed, which it was asked not to", "compressed")
        coding = headers.get("Transfer-Encoding", "chunked").lower()
        lengths = headers.get_all("Content-Length", [])
        if coding != "chunked" or len(lengths) > 1 or not all(text.isascii() and text.isdigit() for text in lengths):
            raise _Unfetched(_CUT_OFF, "unclear length")
        return None

    def pieces(self) -> Generator[bytes, None, None]:
        """What comes, to the end that was announced."""
        if (answer := self._answer) is None:
            raise ValueError("nothing has been asked for yet")
        left = answer.length
        with self.within():
            while piece := answer.read(PIECE_BYTES):
                left = None if left is None else left - len(piece)
                yield piece
        if left:
            raise _Unfetched(_CUT_OFF, "shorter than announced")

    def close(self) -> None:
        """End the connection; an answer has its own hold on it."""
        if self._answer is not None:
            self._answer.close()
        self._connection.close()
        if self._socket is not None:
            self._socket.close()
