"""Proxies as an operator runs them, from the files of deploy/: only addresses and names of certificates are put in."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.processes import PATIENCE_SECONDS, until
from tests.support.service import ROOT, free_port

DEPLOY: Final = ROOT / "deploy"
_NGINX: Final = """\
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/recipe.conf;
}}
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as the handler behind the proxy got it; names of headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Handler:
    """A plain server of one's own on a port of its own. `answer` may give another status and headers than 200."""

    port: int
    seen: list[Seen] = field(default_factory=list)
    answer: Callable[[Seen], tuple[int, Mapping[str, str]]] = lambda _seen: (200, {})


@contextlib.contextmanager
def handling() -> Iterator[Handler]:
    """A handler, while the block lasts."""

    class Plain(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen = Seen(self.command, self.path, {name.lower(): text for name, text in self.headers.items()}, body)
            handler.seen.append(seen)
            status, headers = handler.answer(seen)
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name, text)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"taken")

        do_GET = do_POST = do_PUT = _any  # noqa: N815 - the names that http.server calls

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Plain) as server:
        server.daemon_threads = True
        handler = Handler(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield handler
        finally:
            server.shutdown()
            thread.join()


def recipe(path: str, replaced: Mapping[str, str]) -> str:
    """A file of deploy/ with other addresses. Each must stand in it, so that a test cannot pass by missing it."""
    text = (DEPLOY / path).read_text()
    for old, new in replaced.items():
        assert old in text, f"{path} does not say {old!r}"
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def nginx(folder: Path, text: str, port: int) -> Iterator[None]:
    """Debian's nginx with this recipe in its http block, once it listens, while the block lasts."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert program, "nginx is not installed: `make test` does that on Debian"
    (folder / "recipe.conf").write_text(text)
    configuration = folder / "nginx.conf"
    configuration.write_text(_NGINX.format(folder=folder))
    with _running(
        [program, "-p", str(folder), "-c", str(configuration), "-e", str(folder / "error.log")], folder, port
    ):
        yield


@contextlib.contextmanager
def envoy(folder: Path, text: str, port: int) -> Iterator[None]:
    """Envoy with this configuration, once it listens, while the block lasts."""
    configuration = folder / "envoy.yaml"
    configuration.write_text(text)
    command = [str(Path(sys.executable).with_name("envoy")), "-c", str(configuration), "--log-level", "warning"]
    with _running([*command, "--concurrency", "1", "--disable-hot-restart"], folder, port):
        yield


@contextlib.contextmanager
def _running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    log = folder / "proxy.log"
    with log.open("wb") as output, subprocess.Popen(command, cwd=folder, stdout=output, stderr=output) as process:
        try:

            def listens() -> bool:
                assert process.poll() is None, log.read_text() + _errors(folder)
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
                with contextlib.closing(connection), contextlib.suppress(ConnectionRefusedError):
                    connection.connect()
                    return True
                return False

            until(listens)
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def _errors(folder: Path) -> str:
    path = folder / "error.log"
    return path.read_text() if path.exists() else ""


__all__ = ["DEPLOY", "Handler", "Seen", "envoy", "free_port", "handling", "nginx", "recipe"]
