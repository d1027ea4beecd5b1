"""The application in this process: wired as in production, on a real Valkey and a real disk.

Only its clock is set by the test. Every answer that passes through `Service.send` is held to what must be true of all.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import secrets
import struct
import time
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from tests.support.canaries import require_silence
from tests.support.documented import require_documented
from tokensvc import use_cases, wiring
from tokensvc.adapters.demo_sign_in import COOKIE
from tokensvc.adapters.logs import about
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.application import uploads_of
from tokensvc.config import Settings
from tokensvc.core import jws, v1
from tokensvc.core.addresses import Peers
from tokensvc.core.mac import Keyed
from tokensvc.web import Demo, Doors, Measured, Redeeming, create_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from werkzeug.test import TestResponse

    from tokensvc.core.nonces import Version

Tables = dict[str, Any]

ORIGIN = "https://app.example"
MAX_FILE_BYTES = 100_000
BOUNDARY = "AaB03x"
FILE = object()
"""Stands for the file in a list of form fields."""


def png(width: int = 3, height: int = 2, padding: int = 0) -> bytes:
    """A small picture; `padding` makes it longer by that many bytes, which readers pass over."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + b"\x10\x20\x30" * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return whole + bytes(padding)


def form(fields: Iterable[tuple[str, Any]], content: bytes | None = None) -> bytes:
    """A form of these fields in this order; the file stands where `("file", FILE)` does, or last."""
    fields = list(fields)
    if content is not None and ("file", FILE) not in fields:
        fields.append(("file", FILE))
    parts = []
    for name, value in fields:
        head = f'Content-Disposition: form-data; name="{name}"'
        if value is FILE:
            head += '; filename="picked.png"\r\nContent-Type: image/png'
        body = (content or b"") if value is FILE else str(value).encode()
        parts.append(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + body + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def basic(private_key: str, password: str = "") -> str:
    """The Authorization header of ImageKit's server SDKs."""
    return "Basic " + base64.b64encode(f"{private_key}:{password}".encode()).decode()


def b64(part: bytes) -> str:
    """URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


@dataclass
class Clock:
    """A clock that stands still at a second close to now, until a test moves it."""

    now: int

    def __call__(self) -> int:
        return self.now


def tables() -> Tables:
    """A configuration with new keys, for a test to change: all that `tokensvc.toml` may hold."""
    backend, reader, stranger = (f"tsk_CANARY{secrets.token_urlsafe(18)}" for _ in range(3))
    public = f"public_{secrets.token_hex(12)}"

    def key(name: str, text: str, *may: str) -> Tables:
        digest = hashlib.sha256(text.encode()).hexdigest()
        return {"id": name, "sha256": digest, "subject": name, "may": list(may)}

    return {
        "accounts": {
            "default": {
                "active": public,
                "keys": [{"public_key": public, "private_key": f"private_CANARY{secrets.token_hex(14)}"}],
            }
        },
        "cors": {"origins": [ORIGIN]},
        "callers": {
            "backend": {"kind": "api_key", "keys": [key("ci", backend, "issue"), key("reader", reader, "redeem")]},
            "partner": {"kind": "api_key", "keys": [key("stranger", stranger, "issue")]},
            "demo": {"kind": "demo", "secret_key": f"CANARY{secrets.token_hex(20)}"},
        },
        "profiles": {
            "default": {"callers": ["backend", "demo"]},
            "short": {"callers": ["backend"], "lifetime": 60},
            "only-v1": {"callers": ["backend"], "versions": ["v1"]},
            "only-v2": {"callers": ["backend"], "versions": ["v2"]},
            "closed": {"callers": ["partner"]},
            "open": {"callers": ["backend"], "allow": dict.fromkeys(_OPEN, True)},
        },
        "upload": {"plan": {"max_bytes": MAX_FILE_BYTES}},
        # What tests present, not configuration: taken out by `Service`.
        "presented": {"backend": backend, "reader": reader, "stranger": stranger},
    }


_OPEN = (
    *("fileName", "useUniqueFileName", "tags", "folder", "isPrivateFile", "isPublished", "customCoordinates"),
    *("responseFields", "overwriteFile", "customMetadata", "description"),
)


class Service:
    """The application, and what a test may look at behind it."""

    def __init__(
        self,
        store_url: str,
        root: Path,
        *,
        change: Callable[[Tables], None] | None = None,
        on_fence: Literal["rotate", "wait"] = "rotate",
    ) -> None:
        configured = tables()
        if change is not None:
            change(configured)
        presented: dict[str, str] = configured.pop("presented")
        self.api_key, self.reader_key, self.stranger_key = (
            presented[name] for name in ("backend", "reader", "stranger")
        )
        self.settings = Settings.model_validate({**configured, "redis_url": store_url, "data_dir": root})
        self.private_key: str = configured["accounts"]["default"]["keys"][0]["private_key"]
        self.public_key: str = configured["accounts"]["default"]["active"]
        self.sign_in_secret: str = configured["callers"]["demo"]["secret_key"]
        self.clock = Clock(int(time.time()))
        self.root = root / "files"
        self.redis = connect(store_url, connections=8)
        self.nonces = RedisNonces(
            self.redis,
            chance=secrets.token_bytes,
            on_fence=on_fence,
            audit=use_cases.audit(),
            observe=use_cases.metrics().store_answered,
        )
        throttle = use_cases.throttle(self.settings)
        sources = use_cases.caller_sources(self.settings)
        self.rights = use_cases.rights(sources, throttle)
        self.issue = replace(use_cases.issue(self.settings, self.nonces, sources, throttle), clock=self.clock)
        self.files = wiring.file_store(self.settings)
        self.accept = replace(use_cases.accept(self.settings, self.nonces, self.files, throttle), clock=self.clock)
        self.redeem = replace(use_cases.redeem(self.settings, self.nonces), clock=self.clock)
        self.introspect = replace(use_cases.introspect(self.settings, self.nonces), clock=self.clock)
        self.revoke = replace(use_cases.revoke(self.settings, self.nonces), clock=self.clock)
        self.explain = replace(use_cases.explain(self.settings, self.nonces), clock=self.clock)
        self.rights = use_cases.rights(sources, throttle)
        self.app = create_app(self.doors())
        self.client = self.app.test_client()

    def doors(self, **changed: Any) -> Doors:
        """All that the application is made of, or with something changed."""
        demo: Any = self.issue.sources["demo"]
        doors = Doors(
            issue=self.issue,
            ready=self.nonces.ready,
            origins=self.settings.cors.origins,
            preflight_max_age=self.settings.cors.max_age,
            hosts=self.settings.hosts,
            proxies=Peers.parse(self.settings.proxies),
            redeeming=Redeeming(
                self.redeem,
                self.introspect,
                self.revoke,
                self.explain,
                self.rights,
                Peers.parse(self.settings.forward_auth.trusted),
                self.accept.throttle,
            ),
            uploads=uploads_of(self.settings, self.accept, self.files),
            demo=Demo(demo, COOKIE),
            audit=use_cases.audit(),
            measured=Measured(functools.partial(use_cases.metrics().text, self.nonces.outstanding), self.rights),
            begin=about.begin,
            stopping=lambda: False,
        )
        return replace(doors, **changed)

    def close(self) -> None:
        """Close the connections to the store."""
        with contextlib.suppress(OSError):
            self.redis.close()

    # What a client does.

    def send(self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any) -> TestResponse:
        """One request, and what is true of every answer."""
        answer = self.client.open(path, method=method, headers=dict(headers or {}), **options)
        for name, value in answer.headers:
            assert value.strip(), f"{name} has an empty value"
        assert "Origin" in answer.vary, answer.headers
        assert answer.headers.get("Access-Control-Allow-Origin", ORIGIN) == ORIGIN
        assert "Access-Control-Allow-Credentials" not in answer.headers
        require_documented(method, path, answer)
        whole = answer.get_data() + str(answer.headers).encode()
        answer.close()  # as every server does
        require_silence(whole, f"The answer to {method} {path}", log=path == "/metrics")
        return answer

    @property
    def bearer(self) -> dict[str, str]:
        """The headers of a caller that may fetch credentials."""
        return {"Authorization": f"Bearer {self.api_key}"}

    def get(self, query: str = "", *, profile: str = "", **headers: str) -> TestResponse:
        """Ask for a v1 credential."""
        path = f"/auth{'/' + profile if profile else ''}{'?' + query if query else ''}"
        return self.send("GET", path, {**self.bearer, **headers})

    def post(self, body: Any, *, profile: str = "", **headers: str) -> TestResponse:
        """Ask for a v2 credential; `body` is bytes, or an object to be sent as JSON."""
        how: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
        return self.send("POST", f"/auth{'/' + profile if profile else ''}", {**self.bearer, **headers}, **how)

    def credential(self) -> dict[str, str]:
        """The form fields of a fresh v1 credential."""
        answer = self.get()
        assert answer.status_code == 200, answer.get_data()
        return {name: str(value) for name, value in answer.get_json().items()}

    def own_credential(self, token: str, expire: int | str) -> dict[str, str]:
        """The form fields of a v1 credential that is genuine, whatever its texts, and not on record."""
        signature = v1.sign(Keyed(self.private_key.encode()), token, expire)
        return {"token": token, "expire": str(expire), "signature": signature, "publicKey": self.public_key}

    def jwt(self, payload: Mapping[str, Any]) -> str:
        """The token of a fresh v2 credential under a profile that lets the client choose much."""
        answer = self.post({"uploadPayload": payload}, profile="open")
        assert answer.status_code == 200, answer.get_data()
        return str(answer.get_json()["token"])

    def own_jwt(self, claims: bytes) -> str:
        """A JWT that is genuine, whatever its payload, and not on record."""
        return jws.sign(claims, key=Keyed(self.private_key.encode()), kid=self.public_key)

    def upload(
        self,
        version: Version,
        fields: Mapping[str, Any] | Iterable[tuple[str, Any]],
        content: bytes | None = b"",
        **headers: str,
    ) -> TestResponse:
        """Send a form; `content` is the file (a small picture if it is empty), None for a form without one."""
        return self.upload_at(f"/api/{version}/files/upload", fields, content, **headers)

    def upload_at(
        self,
        path: str,
        fields: Mapping[str, Any] | Iterable[tuple[str, Any]],
        content: bytes | None = b"",
        **headers: str,
    ) -> TestResponse:
        """The same, at any path of the upload API."""
        pairs = list(fields.items()) if hasattr(fields, "items") else list(fields)
        body = form(pairs, png() if content == b"" else content)
        return self.send(
            "POST",
            path,
            {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **headers},
            data=body,
        )

    def upload_v1(self, credential: Mapping[str, str], content: bytes | None = b"", **fields: Any) -> TestResponse:
        """An ordinary v1 upload, with further fields."""
        return self.upload("v1", {"fileName": "a.png", **credential, **fields}, content)

    def upload_v2(self, token: str, content: bytes | None = b"", /, **fields: Any) -> TestResponse:
        """A v2 upload with these fields."""
        return self.upload("v2", {**fields, "token": token}, content)

    # What is behind it.

    def on_record(self) -> set[bytes]:
        """The keys of all nonces in the store."""
        return {key for key in self.redis.scan_iter(count=1000) if b":n:" in key}

    def on_disk(self) -> dict[str, int]:
        """How many files each folder of the file store holds."""
        folders = ("incoming", "objects", "index")
        counts = {name: sum(1 for path in (self.root / name).rglob("*") if path.is_file()) for name in folders}
        everything = sum(1 for path in self.root.rglob("*") if path.is_file())
        assert everything == sum(counts.values()), "a file lies elsewhere"
        return counts


KEPT_ONE = {"incoming": 0, "objects": 1, "index": 1}
KEPT_NONE = {"incoming": 0, "objects": 0, "index": 0}
