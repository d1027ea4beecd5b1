"""A small OpenID provider on the loopback: discovery, a JWK set, tokens; and the ways in which a provider fails.

Its keys and signatures are joserfc's, not those of the library that verifies them.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from joserfc import jwt as jose
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from tokensvc.adapters.callers.fetch import MAX_BYTES
from tokensvc.adapters.callers.jwks import Jwks
from tokensvc.ports import Audit

NOW: Final = 1_800_000_000
AUDIENCE: Final = "uploads"
SUBJECT: Final = "u1"
LIFETIME_SECONDS: Final = 600


class Way(Enum):
    """How the JWK set is served."""

    WELL = auto()
    STATUS_503 = auto()
    REDIRECTING = auto()
    HUGE = auto()
    GARBAGE = auto()
    A_LIST = auto()
    NO_KEYS = auto()
    HANGING_UP = auto()
    SILENT = auto()
    DRIPPING_HEADERS = auto()
    DRIPPING_BODY = auto()


QUICK_FAILURES: Final = (
    Way.STATUS_503,
    Way.REDIRECTING,
    Way.HUGE,
    Way.GARBAGE,
    Way.A_LIST,
    Way.NO_KEYS,
    Way.HANGING_UP,
)
SLOW_FAILURES: Final = (Way.SILENT, Way.DRIPPING_HEADERS, Way.DRIPPING_BODY)


class Hand:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Notes(Audit):
    """An audit that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, str | int | None]]] = []

    def note(self, event: str, facts: Mapping[str, str | int | None]) -> None:
        self.events.append((event, facts))


@cache
def new_key(algorithm: str, name: str) -> Key:
    """Return a key pair for that algorithm; the same one for the same name, as RSA keys take a while to make."""
    kinds: dict[str, Any] = {
        "RS256": lambda: RSAKey.generate_key(2048),
        "ES256": lambda: ECKey.generate_key("P-256"),
        "EdDSA": lambda: OKPKey.generate_key("Ed25519"),
        "HS256": lambda: OctKey.generate_key(256),
    }
    kinds["PS256"] = kinds["RS256"]
    made: Key = kinds[algorithm]()
    return type(made).import_key({**made.as_dict(private=True), "kid": name, "alg": algorithm, "use": "sig"})


def b64(part: bytes) -> str:
    """URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def sign(header: Any, payload: Any, key: Key, algorithm: str) -> str:
    """Return a token of any header and payload (objects, or raw bytes), signed by the library but not checked by it."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    text = f"{b64(parts[0])}.{b64(parts[1])}"
    return f"{text}.{b64(JWSRegistry.algorithms[algorithm].sign(text.encode(), key))}"


class IdentityProvider:
    """Serves from when it is made until `close`. The newest key signs; all are published until withdrawn."""

    def __init__(self, *, now: int = NOW, algorithm: str = "RS256", tls: ssl.SSLContext | None = None) -> None:
        self.now = now
        self.way = Way.WELL
        self.cache_control = ""
        self.pad_to = 0
        """Blanks make the JWK set as long as this, in bytes."""
        self.more_keys: list[Any] = []
        """Members of the JWK set that are not its own keys."""
        self.hits = 0
        """How often the JWK set was asked for."""
        self.elsewhere = 0
        """How often anything else was, such as what it redirects to."""
        self.gate = threading.Event()
        """While it is not set, the JWK set is not served yet."""
        self.gate.set()
        self._keys: dict[str, Key] = {}
        self._algorithm = algorithm
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.rotate(algorithm)
        self._server = _Server(("127.0.0.1", 0), self._handler())
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.issuer = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self.jwks_url = f"{self.issuer}/.well-known/jwks.json"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def rotate(self, algorithm: str = "RS256") -> str:
        """Publish a new key, sign with it from now on, and return its `kid`."""
        kid = f"key-{len(self._keys) + 1}-{algorithm}"
        self._keys = {**self._keys, kid: new_key(algorithm, kid)}
        self._algorithm = algorithm
        return kid

    def withdraw(self, kid: str) -> None:
        """Publish a key no longer."""
        self._keys = {name: key for name, key in self._keys.items() if name != kid}

    @property
    def signing(self) -> tuple[str, str, Key]:
        """The `kid`, `alg` and key that sign now."""
        kid = list(self._keys)[-1]
        return kid, self._algorithm, self._keys[kid]

    def claims(self, **changed: Any) -> dict[str, Any]:
        """The claims of a good token; with a claim changed, or left out if its new value is `...`."""
        good = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": SUBJECT,
            "iat": self.now,
            "exp": self.now + LIFETIME_SECONDS,
        }
        return {name: value for name, value in {**good, **changed}.items() if value is not ...}

    def token(self, **changed: Any) -> str:
        """Issue a token as `claims` says."""
        kid, algorithm, key = self.signing
        if algorithm == "EdDSA":  # the library warns of the name, which RFC 9864 replaced
            return sign({"alg": algorithm, "kid": kid, "typ": "JWT"}, self.claims(**changed), key, algorithm)
        return jose.encode({"alg": algorithm, "kid": kid}, self.claims(**changed), key, algorithms=[algorithm])

    def token_with_header(self, **changed: Any) -> str:
        """Issue a good token but for a header member that is changed, or left out if its new value is `...`."""
        kid, algorithm, key = self.signing
        header = {"alg": algorithm, "kid": kid, "typ": "JWT", **changed}
        return sign({name: value for name, value in header.items() if value is not ...}, self.claims(), key, algorithm)

    def public_pem(self) -> str:
        """The key that signs now, as a provider's administrator would hand it out."""
        key = self.signing[2]
        assert isinstance(key, RSAKey | ECKey | OKPKey)
        return key.as_pem(private=False).decode()

    def jwks(self) -> bytes:
        """The JWK set's text."""
        published = [key.as_dict(private=False) for key in self._keys.values()]
        return json.dumps({"keys": [*published, *self.more_keys]}).encode().ljust(self.pad_to)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/.well-known/jwks.json":
                    provider._count()
                    provider.gate.wait(10)
                    provider._serve_keys(self)
                    return
                provider.elsewhere += 1
                found = {
                    "/.well-known/openid-configuration": provider.discovery(),
                    "/moved.json": provider.jwks(),
                }.get(self.path)
                answer(self, 404 if found is None else 200, found or b"")

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has there
                pass

        return Handler

    def discovery(self) -> bytes:
        """The text of OpenID Connect Discovery's document."""
        known = {"issuer": self.issuer, "jwks_uri": self.jwks_url, "subject_types_supported": ["public"]}
        return json.dumps(known).encode()

    def _count(self) -> None:
        with self._lock:
            self.hits += 1

    def _serve_keys(self, to: BaseHTTPRequestHandler) -> None:
        match self.way:
            case Way.WELL:
                answer(to, 200, self.jwks(), cache_control=self.cache_control)
            case Way.STATUS_503:
                answer(to, 503, self.jwks())
            case Way.REDIRECTING:
                answer(to, 302, self.jwks(), location="/moved.json")
            case Way.HANGING_UP:
                to.connection.shutdown(socket.SHUT_RDWR)
            case Way.SILENT:
                self._closing.wait(10)
            case Way.DRIPPING_HEADERS | Way.DRIPPING_BODY:
                self._drip(to)
            case odd:
                answer(to, 200, self._odd_bodies()[odd])

    def _odd_bodies(self) -> dict[Way, bytes]:
        return {
            Way.HUGE: self.jwks().ljust(MAX_BYTES + 1),
            Way.GARBAGE: b"<html>",
            Way.A_LIST: b"[]",
            Way.NO_KEYS: b'{"keys": []}',
        }

    def _drip(self, to: BaseHTTPRequestHandler) -> None:
        to.wfile.write(b"HTTP/1.0 200 OK\r\n" + (b"X-Slow: " if self.way is Way.DRIPPING_HEADERS else b"\r\n"))
        while not self._closing.wait(0.02):
            to.wfile.write(b" ")

    def close(self) -> None:
        """Stop serving, and end every thread."""
        self.gate.set()
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asks may hang up."""


def answer(
    to: BaseHTTPRequestHandler, status: int, body: bytes, *, cache_control: str = "", location: str = ""
) -> None:
    """Send a whole answer."""
    to.send_response(status)
    to.send_header("Content-Type", "application/json")
    to.send_header("Content-Length", str(len(body)))
    for name, value in {"Cache-Control": cache_control, "Location": location}.items():
        if value:
            to.send_header(name, value)
    to.end_headers()
    with contextlib.suppress(OSError):
        to.wfile.write(body)


@contextlib.contextmanager
def no_one_there() -> Iterator[str]:
    """A URL on a port that nobody serves, and that nobody else gets meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/jwks.json"


def keys_of(provider: IdentityProvider, clock: Hand | None = None, notes: Notes | None = None) -> Jwks:
    """The provider's published keys, as the service sees them."""
    return Jwks(provider.jwks_url, monotonic=clock or Hand(), audit=notes or Notes())
