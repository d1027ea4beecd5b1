"""The page's own origin: an app's web server, which has the pages, the SDKs from npm, and a small back end.

The back end is the documented recipe for SDKs that cannot send a header: the app knows its user (here:
everybody) and asks the service with its own api key. `/api/cached-upload-auth` is the same behind a cache
that ignores `no-store`: it answers with the credential that it saw before. `/api/stranger-upload-auth` asks without
a key. `/client/NAME` is a page for the bundle of that name.
"""

from __future__ import annotations

import contextlib
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.support.server import Service

HERE: Final = Path(__file__).parent
NODE_MODULES: Final = HERE / "node_modules"
_SDKS: Final = {
    "/sdk/imagekit-1.js": NODE_MODULES / "imagekit-javascript-1.5.5/dist/imagekit.min.js",
    "/sdk/imagekit-4.js": NODE_MODULES / "imagekit-javascript-4.0.1/dist/imagekit.min.js",
    "/sdk/imagekit-5.js": NODE_MODULES / "@imagekit/javascript/dist/imagekit.min.js",
    "/sdk/jquery.js": NODE_MODULES / "jquery/dist/jquery.min.js",
}
_PAGES: Final = {f"/{path.name}": path for path in (HERE / "pages").iterdir()}
_CLIENT_PAGE: Final = (
    '<!doctype html><title>{name}</title><div id="app"></div><script src="/bundle/{name}.js"></script>'
)
_TYPES: Final = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


@dataclass(slots=True)
class App:
    """Where the pages are, and the service that the back end asks once there is one."""

    port: int
    service: Service | None = None
    bundles: Path | None = None
    cached: bytes = field(default=b"", repr=False)

    @property
    def url(self) -> str:
        """The origin of the pages, as it stands in `cors.origins`."""
        return f"http://127.0.0.1:{self.port}"

    def fetch_credential(self, query: str, *, stranger: bool = False) -> tuple[int, bytes]:
        """Ask the service for a credential as the app's back end; the SDK's query goes along."""
        if self.service is None:
            return 503, b"{}"
        headers = {} if stranger else {"Authorization": self.service.secrets.bearer}
        request = urllib.request.Request(f"{self.service.url}/auth?{query}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.service.trust()) as answer:
                self.cached = answer.read()
                return answer.status, self.cached
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read()


@contextlib.contextmanager
def app_origin(bundles: Path | None = None) -> Iterator[App]:
    """Serve the pages, and those of `bundles`, on a free loopback port while the block lasts."""

    class Requests(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, query = urlsplit(self.path).path, urlsplit(self.path).query
            if path in {"/api/upload-auth", "/api/stranger-upload-auth"}:
                status, body = app.fetch_credential(query, stranger="stranger" in path)
                self._answer(status, body, "application/json")
            elif path.startswith("/client/"):
                page = _CLIENT_PAGE.format(name=path.removeprefix("/client/"))
                self._answer(200, page.encode(), _TYPES[".html"])
            elif app.bundles and path.startswith("/bundle/"):
                self._answer(200, (app.bundles / path.rpartition("/")[2]).read_bytes(), _TYPES[".js"])
            elif path == "/api/cached-upload-auth":
                self._answer(200, app.cached, "application/json")
            elif (file := _SDKS.get(path) or _PAGES.get(path)) is not None:
                self._answer(200, file.read_bytes(), _TYPES[file.suffix])
            else:
                self._answer(404, b"not here", "text/plain")

        def _answer(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            """Say nothing: what matters is asserted."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Requests) as server:
        app = App(server.server_address[1], bundles=bundles)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield app
        finally:
            server.shutdown()
            thread.join()
