"""A host on the Internet, as far as the fetching of files can tell: TLS with an own authority, and every bad habit.

It listens on the loopback. A resolver and a dialler that are made here stand between: names have public addresses, and
a connection to one of these comes here. So the checks of addresses are those of production.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.identity_provider import Notes
from tokensvc.adapters.remote_files import HttpsFiles
from tokensvc.core.hosts import HostNames

HOST: Final = "files.example"
OTHER: Final = "other.example"
UNNAMED: Final = "unnamed.example"
"""It leads here too, and no certificate names it."""

PUBLIC: Final = "93.184.215.14"
DAY: Final = dt.timedelta(days=1)

Answer = Callable[["RemoteHost", ssl.SSLSocket], None]


def ok(body: bytes, *headers: str) -> bytes:
    """A whole answer of status 200."""
    return head("200 OK", f"Content-Length: {len(body)}", *headers) + body


def head(status: str, *headers: str) -> bytes:
    """An answer's first part."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


@dataclass
class Authority:
    """Signs certificates; `trust` believes it, and nobody else."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def certificate(self, *names: str, of: ec.EllipticCurvePrivateKey | None = None) -> x509.Certificate:
        """One for these host names, or without any the authority's own."""
        now, name = dt.datetime.now(dt.UTC), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests' authority")])
        own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]) if names else name
        builder = (
            x509.CertificateBuilder()
            .subject_name(own)
            .issuer_name(name)
            .public_key((of or self.key).public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
        )
        if names:
            alternatives = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def trust(self) -> ssl.SSLContext:
        """What a client has that believes this authority."""
        pem = self.certificate().public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=pem)

    def server(self, *names: str) -> ssl.SSLContext:
        """What a server has that is these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pem"
            path.touch(mode=0o600)
            path.write_bytes(
                self.certificate(*names, of=key).public_bytes(serialization.Encoding.PEM)
                + key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )
            context.load_cert_chain(path)
        return context


class RemoteHost:
    """Serves from when it is made until it is left. `answers` are by path: bytes, or what talks to the connection."""

    def __init__(self, authority: Authority | None = None) -> None:
        self.authority = authority or Authority()
        self.answers: dict[str, bytes | Answer] = {}
        self.requests: list[bytes] = []
        self.connections = 0
        self.closing = threading.Event()
        self.notes = Notes()
        self.addresses: dict[str, list[list[str]]] = {}
        """What a name's look-ups are answered with, in turn; the last for ever. Else it has one public address."""
        self.looked_up: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self._tls = self.authority.server(HOST, OTHER)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                connection, _ = self._listener.accept()
                if self.closing.is_set():
                    connection.close()
                    return
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(5)
        with (
            contextlib.suppress(OSError, ValueError),
            plain,
            self._tls.wrap_socket(plain, server_side=True) as connection,
        ):
            request = b""
            while b"\r\n\r\n" not in request and (piece := connection.recv(65536)):
                request += piece
            self.requests.append(request)
            answer = self.answers.get(request.split(b" ")[1].decode(), head("404 Not Found", "Content-Length: 0"))
            if callable(answer):
                answer(self, connection)
            else:
                connection.sendall(answer)
            with contextlib.suppress(OSError, ValueError):  # it may be gone
                connection.unwrap()  # the end is said, as servers do

    def resolve(self, host: str, _port: int) -> list[str]:
        """The addresses of a name, or of an address as it is written in any way that a resolver takes."""
        self.looked_up.append(host)
        if host in self.addresses:
            turns = self.addresses[host]
            return turns.pop(0) if len(turns) > 1 else turns[0]
        if host in (HOST, OTHER, UNNAMED):
            return [PUBLIC]
        answers = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [str(answer[4][0]) for answer in answers]

    def dial(self, address: str, port: int, seconds: float) -> socket.socket:
        """A connection to here, whatever the address, which is noted."""
        self.dialled.append((address, port))
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    def files(self, **changed: Any) -> HttpsFiles:
        """What fetches files from here, with some arguments changed."""
        arguments: dict[str, Any] = {
            "hosts": HostNames(),
            "seconds": 10,
            "audit": self.notes,
            "resolve": self.resolve,
            "connect": self.dial,
            "tls": self.authority.trust(),
        }
        return HttpsFiles(**{**arguments, **changed})

    def drip(self, connection: ssl.SSLSocket, what: bytes = b"x") -> None:
        """Send a little, again and again, until nobody listens."""
        while not self.closing.wait(0.02):
            connection.sendall(what)

    def close(self) -> None:
        """Stop serving, and end every thread."""
        self.closing.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        for thread in self._threads:
            thread.join(15)
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def canary() -> Iterator[tuple[int, list[object]]]:
    """A port of the loopback at which nobody should call, and who did."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        calls: list[object] = []
        listener.settimeout(0.05)
        yield int(listener.getsockname()[1]), calls
        with contextlib.suppress(TimeoutError):
            calls.append(listener.accept()[1])
